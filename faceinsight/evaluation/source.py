"""The files of a data set, in a folder or read in place out of a zip."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

from faceinsight.errors import MediaError
from faceinsight.media.image import UInt8Array, load_image

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
# What zipfile raises for an archive that is cut short, damaged, encrypted or packed in a way it cannot read.
_READ_ERRORS = (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


class Source:
    """The files of a folder, of a zip archive, or a single file.

    Attributes:
        path: The folder, the archive or the file.
        names: Every file's path within it, sorted, with "/" between folders; hidden files left out.
    """

    def __init__(self, path: str | Path) -> None:
        """Lists the files.

        Args:
            path: A folder, a zip archive, or one file (a table).

        Raises:
            MediaError: If there is nothing at the path, or it is a damaged archive.
        """
        self.path = Path(path).expanduser()
        self._archive: zipfile.ZipFile | None = None
        if self.path.is_dir():
            self._root = self.path
            names = [file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file()]
        elif not self.path.exists():
            raise MediaError(f"There is no {self.path}: give the folder or the zip archive of the data set.")
        elif self.path.suffix.lower() == ".zip":
            try:
                self._archive = zipfile.ZipFile(self.path)
            except _READ_ERRORS as error:
                raise MediaError(f"{self.path} is not a whole zip archive: get another copy of it.") from error
            names = [name for name in self._archive.namelist() if not name.endswith("/")]
        else:
            self._root = self.path.parent
            names = [self.path.name]
        self.names = sorted(name for name in names if not _hidden(name))

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._archive is not None:
            self._archive.close()

    @property
    def pictures(self) -> list[str]:
        """The names that end like a picture's."""
        return [name for name in self.names if name.lower().endswith(_PICTURES)]

    def read(self, name: str) -> bytes:
        """Returns a file's content; raises MediaError where it cannot be read."""
        try:
            with self._open(name) as file:
                return file.read()
        except _READ_ERRORS as error:
            raise _unreadable(name) from error

    def picture(self, name: str) -> UInt8Array:
        """Returns a picture as the app reads it, (H, W, 3) uint8 RGB; raises MediaError where it is none."""
        return load_image(self.read(name), base_name(name)).pixels

    def rows(self, name: str) -> Iterator[dict[str, str]]:
        """Yields the rows of a CSV file, by lower-case column name; raises MediaError where it is none."""
        try:
            with self._open(name) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
                reader = csv.reader(text)
                header = [cell.strip().lower() for cell in next(reader, [])]
                for cells in reader:
                    yield dict(zip(header, cells, strict=False))
        except (*_READ_ERRORS, csv.Error, UnicodeDecodeError) as error:
            raise _unreadable(name) from error

    def _open(self, name: str) -> IO[bytes]:
        return (self._root / name).open("rb") if self._archive is None else self._archive.open(name)


def base_name(name: str) -> str:
    """Returns the part of a name after its last "/"."""
    return name.rpartition("/")[2]


def _unreadable(name: str) -> MediaError:
    return MediaError(f"{name} of the data set cannot be read: get another copy of it.")


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
