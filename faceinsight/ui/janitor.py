"""The janitor: files of visitors go in time, and those of runs that have died go when the next one starts."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from faceinsight.ui.files import FileStore, store
from faceinsight.ui.limits import Limits
from faceinsight.ui.room import Room, names_in

log = logging.getLogger(__name__)

# Seconds between two rounds.
EVERY_S = 20.0
# Seconds that a file is kept after its last use: with a round and its work, half an hour.
KEEP_S = 1750.0
# Seconds that the files of a visitor are kept after the last page was closed: for one that is loaded anew, or lost its
# connection and says twice a minute that it is there (assets/js/presence.js).
LEAVE_S = 120.0

PREFIX = "faceinsight-"
LOCK = "lock"
# What the name of a run's folder ends with when the run has ended.
GONE = "-gone"
# A run of an earlier version, which had no lock.
OLD_S = 86_400.0


class Janitor:
    """Deletes files of visitors, whatever made them: what lies in a visitor's folder has no other keeper.

    What is used now (`FileStore.using`) is spared.
    """

    def __init__(self, store: FileStore) -> None:
        """Begins its work with `at_work`.

        Args:
            store: The files.
        """
        self._store = store
        self._trash = store.root / "trash"

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Makes rounds until the block ends."""
        stop = threading.Event()

        def work() -> None:
            while not stop.wait(EVERY_S):
                try:
                    self.make_round()
                except Exception as error:
                    # Whatever it was, the next round may do better.
                    log.error("Files of visitors could not be deleted: %s", error)

        thread = threading.Thread(target=work, name="janitor", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(1)

    def make_round(self) -> None:
        """Deletes what is due."""
        for name in self._store.gone(LEAVE_S):
            self._remove(self._store.visitors / name)
        now = time.time()
        for name in names_in(self._store.visitors):
            owner = self._store.visitors / name
            for entry in names_in(owner):
                if now - last_use(owner / entry) > KEEP_S:
                    self._remove(owner / entry)
            if not names_in(owner):
                self._remove(owner)
        for name in names_in(self._trash):
            shutil.rmtree(self._trash / name, ignore_errors=True)

    def _remove(self, path: Path) -> None:
        self._trash.mkdir(exist_ok=True)
        # At one blow, so that nobody finds half of it.
        with self._store.lock, suppress(OSError):
            if not self._store.is_used(path):
                path.replace(self._trash / secrets.token_hex(8))


def last_use(path: Path) -> float:
    """Returns when a file, a folder or anything in it was last written or marked as used; in seconds."""
    parts = [str(path)]
    for root, folders, files in os.walk(path):
        parts += [os.path.join(root, name) for name in (*folders, *files)]
    newest = 0.0
    for part in parts:
        with suppress(OSError):
            about = os.lstat(part)
            # A copy has the first file's time; its own is when it came here.
            newest = max(newest, about.st_mtime, about.st_ctime)
    return newest


@contextmanager
def run_files(limits: Limits = Limits()) -> Iterator[FileStore]:
    """Gives the files of one run of the app, in a folder that is removed in the end.

    What runs that were killed have left is removed first; runs that live are told by the lock that they hold.

    Args:
        limits: How much room there is.
    """
    clear_dead_runs(Path(tempfile.gettempdir()))
    folder, lock = _begin()
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    files = store()
    try:
        files.room = Room(files.visitors, limits)
        files.page.mkdir()
        yield files
    finally:
        with files.lock:
            files.closed = True
        lock.release()
        gone = folder.with_name(folder.name + GONE)
        # What still works in the background would write into it as it is removed, and some of it would stay.
        with suppress(OSError):
            folder = folder.rename(gone)
        shutil.rmtree(folder, ignore_errors=True)


def _begin() -> tuple[Path, FileLock]:
    while True:
        folder = Path(os.path.realpath(tempfile.mkdtemp(prefix=PREFIX)))
        lock = FileLock(folder / LOCK, timeout=10, thread_local=False)
        # Another run that starts now may take it for a dead one, before it is locked.
        with suppress(OSError, Timeout):
            lock.acquire()
            if (folder / LOCK).exists():
                return folder, lock
        lock.release()


def clear_dead_runs(temporary: Path) -> None:
    """Removes the folders of runs that are dead.

    Args:
        temporary: The folder that they lie in.
    """
    for folder in temporary.glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            about = folder.lstat()
            # Others may write to this folder too, and not only what they should.
            if not stat.S_ISDIR(about.st_mode) or (hasattr(os, "getuid") and about.st_uid != os.getuid()):
                continue
            if (folder / LOCK).exists():
                with FileLock(folder / LOCK, timeout=0):
                    pass
            elif not folder.name.endswith(GONE) and time.time() - about.st_mtime < OLD_S:
                continue
            shutil.rmtree(folder, ignore_errors=True)
