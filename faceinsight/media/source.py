"""Opens files that strangers name or send: regular files only, and never by what is written in another one."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from faceinsight.errors import MediaError


def open_file(path: Path, label: str) -> BinaryIO:
    """Opens a file to read.

    Args:
        path: The file.
        label: What to call it in messages.

    Returns:
        The open file, which can be sought in.

    Raises:
        MediaError: If it is missing, empty, not to be read, or no regular file: a device or a pipe never ends.
    """
    try:
        # A pipe that nobody writes to would hold up `open` itself.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
        file = os.fdopen(handle, "rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{label} cannot be read ({reason.lower()}): check the path.") from error
    facts = os.fstat(file.fileno())
    if stat.S_ISREG(facts.st_mode) and facts.st_size:
        return file
    file.close()
    if stat.S_ISREG(facts.st_mode):
        raise MediaError(f"{label} is empty: choose another file.")
    raise MediaError(f"{label} is no file but a folder, a device or a pipe: choose a file.")


def reason(error: Exception) -> str:
    """Returns what a library says of a file, short enough for a sentence."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.rstrip(".") if len(text) <= 120 else f"{text[:119]}…"
