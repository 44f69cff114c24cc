"""Gets what the tests need beside Python packages, as far as this machine and its user allow.

What cannot be had is told of and no error here: the tests that need it are skipped, or fail where CI is set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.browser.find_chromium import find_chromium

APT = Path(__file__).resolve().parents[1] / "scripts" / "apt.sh"
TOOLS = {"strace": "what leaves the machine", "curl": "the README's curl commands"}
# Enough where it can be reached at all.
PATIENCE = {"PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "10000"}


def apt(*packages: str) -> bool:
    """Installs Debian packages, and says whether that went well."""
    return subprocess.run(["sh", APT, *packages], check=False).returncode == 0


def playwright(*args: str) -> bool:
    """Runs Playwright's own command, and says whether that went well."""
    command = [sys.executable, "-m", "playwright", *args]
    return subprocess.run(command, env=os.environ | PATIENCE, capture_output=True, check=False).returncode == 0


def main() -> None:
    """Gets a browser with a font, what Playwright runs on, and small programs, where they are missing."""
    drives = playwright("--version") or (apt("libatomic1") and playwright("--version"))
    if drives and find_chromium() is None and not apt("chromium", "fonts-dejavu-core"):
        playwright("install", "chromium")
    if not drives or find_chromium() is None:
        print("No Chromium could be had: the browser tests will be skipped.")
    if sys.platform == "linux":
        for tool, used in TOOLS.items():
            if not shutil.which(tool) and not apt(tool):
                print(f"No {tool} could be had: {used} will not be tested.")


if __name__ == "__main__":
    main()
