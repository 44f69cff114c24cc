"""Where the files that come with FaceInsight lie, in a checkout and when installed."""

from __future__ import annotations

from pathlib import Path


def asset(name: str) -> Path:
    """Returns the path of a file or folder of assets/; it need not exist."""
    package = Path(__file__).resolve().parent
    installed = package / "assets"
    return (installed if installed.is_dir() else package.parent / "assets") / name
