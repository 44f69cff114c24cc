"""How much room files of visitors may take on the disk."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Container
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from faceinsight.errors import FaceInsightError
from faceinsight.ui.limits import Limits

# What a file or folder costs beside its content.
ENTRY_BYTES = 4096


class NoRoomError(FaceInsightError):
    """There is no room for a file."""

    def __init__(self, sentence: str, status: HTTPStatus = HTTPStatus.INSUFFICIENT_STORAGE) -> None:
        """Says why.

        Args:
            sentence: What the visitor reads.
            status: What programs read.
        """
        super().__init__(sentence)
        self.status = status


class Room:
    """What files may take: a visitor's, those of an address, and all; uploads count before their first byte comes."""

    def __init__(self, folder: Path, limits: Limits = Limits()) -> None:
        """Begins with what lies there.

        Args:
            folder: Where the folders of all visitors are.
            limits: How many megabytes there are.
        """
        self._folder = folder
        sizes = (limits.visitor_mb, limits.address_mb, limits.disk_mb, limits.free_mb)
        self._visitor, self._address, self._disk, self._free = (1_000_000 * n for n in sizes)
        self._coming: dict[Path, int] = {}
        # The address that each folder's visitor is at.
        self._at: dict[str, str] = {}
        self._lock = threading.Lock()

    def take(self, folder: Path, owner: str, address: str, size: int) -> None:
        """Sets room aside for an upload, until `give_back`.

        Args:
            folder: Where it will lie: a new folder in one of its owner's.
            owner: What the names of all folders of its owner begin with.
            address: Where the owner is.
            size: Its bytes.

        Raises:
            NoRoomError: If there is none.
        """
        size += 4 * ENTRY_BYTES
        with self._lock:
            taken = self._taken()
            self._at = {name: at for name, at in self._at.items() if name in taken}
            own = sum(n for name, n in taken.items() if name.startswith(owner))
            near = sum(n for name, n in taken.items() if self._at.get(name) == address)
            shares = ("Your files", own, self._visitor), ("The files of your address", near, self._address)
            for whose, there, most in shares:
                if there + size > most:
                    raise NoRoomError(
                        f"{whose} take {there / 1e6:.0f} MB here, of at most {most / 1e6:.0f}: this one does not fit "
                        "in. Files are deleted half an hour after their last use, and soon after you close the page.",
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    )
            self._check(sum(taken.values()), size)
            self._coming[folder] = size
            self._at[folder.parent.name] = address

    def give_back(self, folder: Path) -> None:
        """Ends what `take` began: from now on counts what lies there."""
        with self._lock:
            del self._coming[folder]

    def check(self) -> None:
        """Raises NoRoomError where there is no room for what an analysis writes."""
        with self._lock:
            self._check(sum(self._taken().values()), 0)

    def _check(self, taken: int, size: int) -> None:
        coming = sum(self._coming.values())
        if taken + size > self._disk or _free_bytes(self._folder) - coming - size < self._free:
            raise NoRoomError("There is no room for more files on this server now: try again in some minutes.")

    def _taken(self) -> dict[str, int]:
        """Returns the bytes of each owner's folder, by its name."""
        taken = {name: bytes_in(self._folder / name, self._coming) for name in names_in(self._folder)}
        for folder, size in self._coming.items():
            taken[folder.parent.name] = taken.get(folder.parent.name, 0) + size
        return taken


def _free_bytes(folder: Path) -> int:
    """Returns how many bytes are free where a folder is, or will be: to ask makes none, as its run may have ended."""
    for place in (folder, *folder.parents):
        with suppress(FileNotFoundError):
            return shutil.disk_usage(place).free
    return 0


def bytes_in(folder: Path, but: Container[Path] = ()) -> int:
    """Returns the bytes that a folder takes, without those of some folders in it."""
    total = 0
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(root, name) not in but]
        total += ENTRY_BYTES * (1 + len(files))
        for name in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(root, name)).st_size
    return total


def names_in(folder: Path) -> list[str]:
    """Returns the names in a folder; none where it is not there, or is none."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return os.listdir(folder)
    return []
