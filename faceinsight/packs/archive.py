"""Single files out of a zip archive of which only some stretches are here."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, cast

from faceinsight.errors import FetchError

# An archive's directory is at its end: first so much of it is read, then as much again as it takes, up to this.
TAIL_BYTES = 1 << 14
_DIRECTORY_BYTES = 1 << 22
# Before a member's bytes: 30, then its name and extra fields; after them, its sizes once more.
_AROUND_MEMBER = 30 + 2 * 0xFFFF + 24
_CHUNK = 1 << 16


class MissingError(Exception):
    """A stretch of the archive that is not here was read.

    Attributes:
        at: Its first byte.
    """

    def __init__(self, at: int) -> None:
        """Says where."""
        super().__init__(at)
        self.at = at


class Stretches:
    """A file to seek in and read from, of which only some stretches are here: what zipfile needs of one."""

    def __init__(self, size: int) -> None:
        """Begins with nothing here.

        Args:
            size: The bytes of the whole file.
        """
        self._size, self._at = size, 0
        self._held: list[tuple[int, int, IO[bytes]]] = []

    def hold(self, start: int, stop: int, content: IO[bytes]) -> None:
        """Adds the stretch from `start` to before `stop`, which `content` holds from its beginning."""
        self._held.append((start, stop, content))

    @contextmanager
    def holding(self, start: int, stop: int, content: IO[bytes]) -> Iterator[None]:
        """Has a stretch, as `hold` adds it, within the block."""
        self.hold(start, stop, content)
        try:
            yield
        finally:
            self._held.pop()

    def seekable(self) -> bool:
        """Says that it can be sought in."""
        return True

    def tell(self) -> int:
        """Returns where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a place, and returns it."""
        place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if place < 0:
            raise OSError("before the beginning of the file")
        self._at = place
        return place

    def read(self, count: int = -1) -> bytes:
        """Returns so many bytes, fewer at the end of the file.

        Raises:
            MissingError: If one of them is not here.
        """
        end = self._size if count < 0 else min(self._size, self._at + count)
        read = []
        while self._at < end:
            read.append(self._read_held(end))
            self._at += len(read[-1])
        return b"".join(read)

    def _read_held(self, end: int) -> bytes:
        for start, stop, content in self._held:
            if start <= self._at < stop:
                content.seek(self._at - start)
                if piece := content.read(min(end, stop) - self._at):
                    return piece
        raise MissingError(self._at)


def open_archive(file: Stretches | IO[bytes], size: int, name: str) -> zipfile.ZipFile:
    """Returns an archive whose directory is read.

    Args:
        file: The archive.
        size: Its bytes.
        name: What to call it.

    Raises:
        MissingError: If more of its end has to be here.
        FetchError: If it is no zip archive.
    """
    with _broken(name):
        try:
            return zipfile.ZipFile(cast(IO[bytes], file))
        except MissingError as missing:
            if size - missing.at > _DIRECTORY_BYTES:
                raise zipfile.BadZipFile("too long a directory") from None
            raise


def find(archive: zipfile.ZipFile, member: str, name: str) -> zipfile.ZipInfo:
    """Returns what an archive says of a file, in whatever folder of it.

    Raises:
        FetchError: If it does not hold the file, or in a way that is not read.
    """
    for info in archive.infolist():
        if PurePosixPath(info.filename).name == member:
            if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise FetchError(f"{name} holds {member} in a way that cannot be read: tell who made the pack.")
            return info
    raise FetchError(f"{name} holds no file called {member}: tell who made the pack.")


def span(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Returns where in an archive a member lies, as (first byte, byte after the last), with what is read before it."""
    start = info.header_offset
    later = [other.header_offset for other in archive.infolist() if other.header_offset > start]
    return start, min([archive.start_dir, *later, start + _AROUND_MEMBER + info.compress_size])


def contents(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Iterator[bytes]:
    """Yields a member's content piece by piece.

    Raises:
        FetchError: If it is damaged.
    """
    with _broken(name, MissingError), archive.open(info) as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


_BROKEN: tuple[type[Exception], ...] = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)


@contextmanager
def _broken(name: str, *more: type[Exception]) -> Iterator[None]:
    """Makes a sentence of whatever is wrong with an archive."""
    try:
        yield
    except (*_BROKEN, *more) as error:
        raise FetchError(f"{name} is no zip archive that can be read, or damaged: try again later.") from error
