"""Asks the page of this machine whether it is well: `python -m faceinsight.healthy`, for a container's health check."""

from __future__ import annotations

import os
import sys
from urllib.error import URLError
from urllib.request import urlopen

WAIT_S = 8.0


def main() -> int:
    """Returns 0 where the page can analyse faces, else 1."""
    port = os.environ.get("FACEINSIGHT_PORT", "7860")
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=WAIT_S) as answer:
            return 0 if answer.status == 200 else 1
    except (URLError, OSError):
        return 1


if __name__ == "__main__":
    sys.exit(main())
