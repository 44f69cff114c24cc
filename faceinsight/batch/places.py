"""Where the tables of an archive lie: a folder, or a place in object storage. Files appear there only when whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from faceinsight.errors import MediaError
from faceinsight.media.remote import WEB, public, scheme_of, storage, told
from faceinsight.media.source import reason
from faceinsight.writing import alone, beside, clear_leftovers, make_folder, write_error

LOCK = ".faceinsight.lock"


class Place(Protocol):
    """A folder of files; names in it may hold one `/`."""

    def names(self, folder: str) -> list[str]:
        """Returns the names of the files in a folder within it, sorted; none if it is not there."""

    def opened(self, name: str) -> BinaryIO | None:
        """Opens a file to read, which can be sought in; None if it is not there."""

    def save(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Has a file written, which bears its name once it is whole; raises MediaError where it cannot be."""

    def remove(self, name: str) -> None:
        """Removes a file, or an empty folder, where it is there."""

    def locked(self, folder: str) -> ExitStack:
        """Keeps others from writing into a folder until the stack is closed; raises MediaError where others do."""

    def shown(self, name: str) -> str:
        """Returns a file's name as it is told to a person."""


def place_of(out: str) -> tuple[Place, str]:
    """Returns the place that an output lies in, and its name there.

    Raises:
        MediaError: If it is no name of a Parquet file, or cannot be written to.
    """
    if not out.lower().endswith(".parquet"):
        raise MediaError(f"{out} is no name for the table: choose one that ends with .parquet.")
    scheme = scheme_of(out)
    if scheme in WEB:
        raise MediaError(f"{public(out)} cannot be written to: choose a path, or a place in object storage.")
    if scheme in (None, "file"):
        path = Path(os.path.abspath(out.removeprefix("file://")))
        return LocalPlace(path.parent), path.name
    folder, _, name = out.rpartition("/")
    return StoredPlace(folder), name


class LocalPlace:
    """A folder on this machine, or on a disk that many share."""

    def __init__(self, folder: Path) -> None:
        """Wraps a folder; it need not be there."""
        self._folder = folder

    def names(self, folder: str) -> list[str]:
        """As of Place."""
        try:
            files = (entry.name for entry in os.scandir(self._folder / folder) if entry.is_file())
            # Who begins anew removes all that is named here, and must not let others in.
            return sorted(name for name in files if name != LOCK)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise MediaError(f"{self._folder / folder} cannot be read ({reason(error)}): check it.") from error

    def opened(self, name: str) -> BinaryIO | None:
        """As of Place."""
        try:
            return (self._folder / name).open("rb")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise MediaError(f"{self._folder / name} cannot be read ({reason(error)}): check it.") from error

    def save(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """As of Place."""
        path = self._folder / name
        make_folder(path.parent)
        try:
            with beside(path) as part, part.open("wb") as out:
                write(out)
        except OSError as error:
            raise write_error(error, str(path)) from error

    def remove(self, name: str) -> None:
        """As of Place."""
        path = self._folder / name
        with suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()

    @contextmanager
    def _lock(self, folder: Path) -> Iterator[None]:
        busy = f"Another run is writing into {folder}: wait for it to end, or choose another name."
        try:
            with alone(folder / LOCK, MediaError(busy)):
                clear_leftovers(folder)
                clear_leftovers(self._folder)
                yield
        finally:
            with suppress(OSError):
                folder.rmdir()  # where nothing is left to go on with

    def locked(self, folder: str) -> ExitStack:
        """As of Place."""
        make_folder(self._folder / folder)
        stack = ExitStack()
        stack.enter_context(self._lock(self._folder / folder))
        return stack

    def shown(self, name: str) -> str:
        """As of Place."""
        return str(self._folder / name)


class StoredPlace:
    """A place in object storage, where a file appears when its last byte is there; it knows no locks."""

    def __init__(self, url: str) -> None:
        """Wraps a URL without the `/` at its end; raises MediaError where its driver is not installed."""
        self._url = url
        self._system, self._root = storage(url)

    def names(self, folder: str) -> list[str]:
        """As of Place."""
        with self._told("listed"):
            self._system.invalidate_cache()
            try:
                found = self._system.find(f"{self._root}/{folder}", maxdepth=1)
            except FileNotFoundError:
                return []
            return sorted(path.rpartition("/")[2] for path in found)

    def opened(self, name: str) -> BinaryIO | None:
        """As of Place."""
        with self._told("read"):
            try:
                file: BinaryIO = self._system.open(f"{self._root}/{name}", "rb")
            except FileNotFoundError:
                return None
            return file

    def save(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """As of Place."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "part")
            try:
                with path.open("wb") as out:
                    write(out)
            except OSError as error:
                raise write_error(error, str(path)) from error
            with self._told("written"):
                self._system.put_file(str(path), f"{self._root}/{name}")

    def remove(self, name: str) -> None:
        """As of Place."""
        with suppress(Exception):  # what its library raises; what stays is cleared by the next run
            self._system.rm_file(f"{self._root}/{name}")

    def locked(self, folder: str) -> ExitStack:
        """As of Place, but for the lock."""
        return ExitStack()

    def shown(self, name: str) -> str:
        """As of Place."""
        return public(f"{self._url}/{name}")

    def _told(self, what: str) -> AbstractContextManager[None]:
        return told(self._url, what)
