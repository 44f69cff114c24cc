"""The one way in which FaceInsight writes a file: beside its name, and under its name only when it is whole.

Whatever dies on the way, what bore the name before still bears it.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

from faceinsight.errors import DiskFullError, FaceInsightError, MediaError

_PREFIX, _SUFFIX = ".faceinsight-", ".part"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def make_folder(folder: Path) -> None:
    """Makes a folder where it is not there; raises MediaError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"The folder {folder} cannot be made ({reason(error)}): choose another.") from error


def write_file(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Writes a whole file, in one piece or in many.

    Args:
        path: The file; one that is there is replaced.
        content: What to write.

    Raises:
        MediaError: If it cannot be written; what was there before stays.
    """
    try:
        with beside(path) as part, part.open("wb") as out:
            out.writelines((content,) if isinstance(content, bytes) else content)
    except OSError as error:
        raise write_error(error, str(path)) from error


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Gives a file beside `path` to write into; it takes that name when the block ends without an error.

    Args:
        path: The name to take, links followed. What is no file (a terminal, a pipe) is written to itself.

    Yields:
        The path to write to; its file is empty.

    Raises:
        OSError: If the file cannot be made, or cannot take its name.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    path = Path(os.path.realpath(path))
    descriptor, part = _new_part(path.parent)
    try:
        if path.is_file():
            with suppress(OSError):
                shutil.copymode(path, part)
        yield part
        os.fsync(descriptor)
        if os.name == "nt":  # where no open file can be renamed
            os.close(descriptor)
            descriptor = -1
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _new_part(folder: Path) -> tuple[int, Path]:
    """Returns a new file as (descriptor, path), locked: by that others know that its writer lives."""
    part = folder / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    _lock(descriptor)
    return descriptor, part


def _lock(descriptor: int) -> bool:
    """Locks an open file until it is closed; says whether it could."""
    if os.name == "nt":  # where an open file cannot be removed anyway, and a locked one not be written by name
        return True
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError:  # a file system without locks
        return False


@contextmanager
def alone(lock_file: Path, busy: FaceInsightError) -> Iterator[None]:
    """Holds a lock, which goes with this process.

    Args:
        lock_file: The file that stands for it.
        busy: What is raised where another process holds it.

    Raises:
        MediaError: If the file cannot be made.
    """
    lock = FileLock(lock_file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise busy from None
    except OSError as error:
        raise write_error(error, str(lock_file.parent)) from error
    try:
        yield
    finally:
        if os.name != "nt":  # where the lock itself removes it
            lock_file.unlink(missing_ok=True)
        lock.release()


def clear_leftovers(folder: Path) -> None:
    """Removes what writers that have died left half-written in a folder."""
    for part in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        with suppress(OSError):
            descriptor = os.open(part, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                dead = _lock(descriptor)
            finally:
                os.close(descriptor)
            if dead:
                part.unlink()


def write_error(error: Exception, name: str) -> MediaError:
    """Returns the sentence about a file that could not be written."""
    if getattr(error, "errno", None) in _FULL:
        return DiskFullError(f"{name} cannot be written (the disk is full): free some space and try again.")
    return MediaError(f"{name} cannot be written ({reason(error)}): check the folder.")


def reason(error: Exception) -> str:
    """Returns in a few words what the operating system says of an error."""
    return (getattr(error, "strerror", None) or str(error)).lower()
