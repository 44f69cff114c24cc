"""Files of visitors: where each one lies, who may use it, and files for visitors to download."""

from __future__ import annotations

import functools
import hmac
import os
import secrets
import shutil
import stat
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path, PurePath
from typing import Any

from gradio.utils import get_upload_folder

from faceinsight.errors import MediaError
from faceinsight.ui.room import Room
from faceinsight.ui.visitors import Visitor
from faceinsight.writing import write_error, write_file

# The one answer to whoever names a file that is not theirs, whether it exists or not.
NOT_YOURS = "This is no file that you uploaded here, or it has been deleted since: upload it again."
MAX_PATH = 4096
MAX_DEPTH = 50
# What Gradio writes beside a file's path, and a data URL for a picture that is no file.
FILE_DATA = {"_type": "gradio.FileData"}
OPEN = "open-"

_folder: ContextVar[Path | None] = ContextVar("folder", default=None)


class FileStore:
    """The files of one run of the app, in a folder that nobody but this process writes to.

    page/...                what the page itself shows; for everybody
    visitors/OWNER/...      files of one visitor: OWNER is a browser's id, or "open-", the id of an
                            address and 128 random bits, whose files are for whoever knows their path

    Visitors send what is in a file; its path is made here, and what they send becomes regular files only.
    So no link can be put between the check of a path and its use.
    """

    def __init__(self, root: str | Path) -> None:
        """Begins with what lies there.

        Args:
            root: The folder.
        """
        self.root = Path(os.path.realpath(root))
        self.page = self.root / "page"
        self.visitors = self.root / "visitors"
        self.lock = threading.Lock()
        self.room = Room(self.visitors)
        # Whether the run has ended, and its folder with it.
        self.closed = False
        self._used: Counter[Path] = Counter()
        self._pages: Counter[str] = Counter()
        self._left: dict[str, float] = {}

    def folder_of(self, visitor: Visitor) -> Path:
        """Returns the folder for files of a visitor; a new one at each call where it is no browser's."""
        return self.visitors / (visitor.id if visitor.browser else f"{OPEN}{visitor.id}-{secrets.token_hex(16)}")

    @contextmanager
    def using(self, paths: Iterable[Path]) -> Iterator[None]:
        """Keeps files or folders from being deleted; their time begins anew when the block ends.

        Args:
            paths: Where they are, or will be; what is no visitor's is left alone.
        """
        paths = [path for path in paths if path.is_relative_to(self.visitors)]
        with self.lock:
            self._used.update(paths)
        try:
            yield
        finally:
            with self.lock:
                for path in paths:
                    self._used[path] -= 1
                    if not self._used[path]:
                        del self._used[path]
                    # The folder's time, as a file's is part of what the browser knows it by.
                    with suppress(OSError):
                        os.utime(path if path.is_dir() else path.parent)

    def is_used(self, folder: Path) -> bool:
        """Says whether a folder, or anything in it, is used now. The caller holds `lock`."""
        return any(path.is_relative_to(folder) for path in self._used)

    @contextmanager
    def visiting(self, visitor: Visitor) -> Iterator[None]:
        """Counts an open page of a visitor while the block runs."""
        with self.lock:
            self._pages[visitor.id] += 1
            self._left.pop(visitor.id, None)
        try:
            yield
        finally:
            with self.lock:
                self._pages[visitor.id] -= 1
                if not self._pages[visitor.id]:
                    del self._pages[visitor.id]
                    self._left[visitor.id] = time.monotonic()

    def heard_of(self, visitor: Visitor) -> None:
        """Notes that a visitor asks for something, whose page is open then although its connection was lost."""
        with self.lock:
            if visitor.id in self._left:
                self._left[visitor.id] = time.monotonic()

    def gone(self, seconds: float) -> list[str]:
        """Returns the names of the folders of visitors of whom nothing was heard since so many seconds ago.

        These closed their last page, or lost their connection.

        Each is returned until there is no such folder, or a page of the visitor is open again.
        """
        with self.lock:
            due = [owner for owner, at in self._left.items() if time.monotonic() - at >= seconds]
            for owner in due:
                if not (self.visitors / owner).exists():
                    del self._left[owner]
            return due

    def find(self, path: object, visitor: Visitor) -> Path:
        """Returns the file that a visitor names.

        Args:
            path: What came for a path.
            visitor: Who sent it.

        Raises:
            MediaError: If it is no regular file that the visitor may use.
        """
        # The disk is asked about nothing that lies elsewhere: neither the answer nor its time tells what is there.
        if not self._may(path, visitor):
            raise MediaError(NOT_YOURS)
        try:
            if stat.S_ISREG(os.lstat(str(path)).st_mode) and os.path.realpath(str(path)) == path:
                return Path(path)
        except (OSError, ValueError):
            pass
        raise MediaError(NOT_YOURS)

    def _may(self, path: object, visitor: Visitor) -> bool:
        """Says, by the letters of a path alone, whether a visitor may use what is there."""
        if not isinstance(path, str) or len(path) > MAX_PATH or "\0" in path or os.path.normpath(path) != path:
            return False
        try:
            room, *parts = PurePath(path).relative_to(self.root).parts
        except ValueError:
            return False
        if room == self.visitors.name and len(parts) > 2:
            own = visitor.browser and hmac.compare_digest(parts[0].encode(errors="replace"), visitor.id.encode())
            return own or parts[0].startswith(OPEN)
        return room == self.page.name

    def admit(self, value: Any, visitor: Visitor) -> tuple[Any, list[Path]]:
        """Checks all files that a request names, however deep.

        Args:
            value: What came, as of JSON.
            visitor: Who sent it.

        Returns:
            The same with nothing in its files but what is known to be true, and the files.

        Raises:
            MediaError: If a file is none that the visitor may use, or is given by a link.
        """
        found: list[Path] = []
        return self._admit(value, visitor, found, MAX_DEPTH), found

    def _admit(self, value: Any, visitor: Visitor, found: list[Path], depth: int) -> Any:
        if not isinstance(value, dict | list | tuple):
            return value
        if depth == 0:
            raise MediaError(NOT_YOURS)
        if not isinstance(value, dict):
            return [self._admit(item, visitor, found, depth - 1) for item in value]
        if not {"path", "url"} & value.keys() and value.get("meta") != FILE_DATA:
            return {key: self._admit(item, visitor, found, depth - 1) for key, item in value.items()}
        path, url = value.get("path"), value.get("url")
        if path is None and isinstance(url, str) and url.startswith("data:"):
            return {"path": None, "url": url}
        found.append(self.find(path, visitor))
        name = value.get("orig_name")
        return {
            "path": path,
            "orig_name": name[:255] if isinstance(name, str) else None,
            "size": found[-1].stat().st_size,
            "meta": FILE_DATA,
        }

    def folder_beside(self, found: list[Path], visitor: Visitor) -> Path:
        """Returns the folder for what is made of files: the visitor's, where there is no cookie the files' own."""
        for path in found:
            if not visitor.browser and path.is_relative_to(self.visitors):
                return self.visitors / path.relative_to(self.visitors).parts[0]
        return self.folder_of(visitor)


@functools.lru_cache(maxsize=8)
def _store_at(root: str) -> FileStore:
    return FileStore(root)


def store() -> FileStore:
    """Returns the files of this run."""
    return _store_at(get_upload_folder())


def folder_now() -> Path:
    """Returns where files go that are made now: of the visitor who is served, else of the page."""
    return _folder.get() or store().page


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Makes a folder the one of `folder_now`, for this task and the threads that it starts."""
    before = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(before)


def publish(content: bytes | Iterable[str], name: str) -> str:
    """Puts a file where the visitor who is served may download it, and where it is deleted in time.

    Args:
        content: What is in it; pieces of text become UTF-8.
        name: The name that the visitor sees.

    Returns:
        The path, for a component of the page.

    Raises:
        MediaError: If it cannot be written.
    """
    path = _new_folder() / name
    write_file(path, content if isinstance(content, bytes) else (piece.encode() for piece in content))
    return str(path)


def publish_file(path: Path) -> str:
    """Moves a finished file of a `scratch_folder` to where `publish` puts files.

    Args:
        path: The file; its name is the one that the visitor sees.

    Returns:
        The new path, for a component of the page.
    """
    return str(path.replace(_new_folder() / path.name))


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Gives a folder for a file in the making, and removes it whatever happens."""
    folder = _new_folder("making-")
    with store().using([folder]):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _new_folder(prefix: str = "") -> Path:
    files, root = store(), folder_now()
    # The janitor takes away what is empty, and the end of the run takes all.
    with files.lock:
        if files.closed:
            raise MediaError("The page has been stopped: start it again.")
        try:
            root.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(dir=root, prefix=prefix))
        except OSError as error:
            raise write_error(error, "A folder for files") from error
