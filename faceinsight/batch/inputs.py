"""Which files a run is about: those that are named, and what folders hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from faceinsight.errors import MediaError
from faceinsight.media.image import SUFFIXES as IMAGE_SUFFIXES
from faceinsight.media.video import SUFFIXES as VIDEO_SUFFIXES
from faceinsight.writing import reason


def find_files(
    paths: Sequence[Path], on_error: Callable[[MediaError], None], leave_out: Path | None = None
) -> list[Path]:
    """Returns the files to analyse, each once.

    Args:
        paths: Files, which are taken whatever they are, and folders, of which all photos and clips are taken, those of
            folders within them too, by their suffix and in the order of their names. What is hidden is not, and
            links to folders are not followed.
        on_error: Told of every folder that holds no photo or clip, or cannot be read.
        leave_out: A folder within those that is not looked into: results go there.
    """

    def unreadable(error: OSError) -> None:
        on_error(MediaError(f"The folder {error.filename} cannot be read ({reason(error)}): check it."))

    found: dict[str, Path] = {}
    for path in paths:
        files = list(_files_in(path, unreadable, leave_out)) if path.is_dir() else [path]
        if not files:
            on_error(MediaError(f"The folder {path} holds no photo or clip: choose another one."))
        for file in files:
            found.setdefault(os.path.abspath(file), file)
    return list(found.values())


def _files_in(folder: Path, unreadable: Callable[[OSError], None], leave_out: Path | None) -> Iterator[Path]:
    for where, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (leave_out is None or not _same(Path(where, name), leave_out))
        )
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
                yield Path(where, name)


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
