"""What a run over an archive is about: paths, folders, patterns, lists and URLs become files of a size and a stamp."""

from __future__ import annotations

import codecs
import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from faceinsight.batch.inputs import find_files
from faceinsight.errors import MediaError
from faceinsight.media.image import SUFFIXES as IMAGE_SUFFIXES
from faceinsight.media.remote import WEB, RemoteFile, list_remote, look_up, public, scheme_of
from faceinsight.media.video import SUFFIXES as VIDEO_SUFFIXES
from faceinsight.tables import KINDS, plain_text
from faceinsight.writing import reason

# All names are in memory at once, some hundred bytes each.
MAX_FILES = 10_000_000
_LONGEST_NAME = 8192
_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Source:
    """A photo or clip to analyse.

    Attributes:
        name: Its absolute path, or its URL.
        kind: "photo" or "clip".
        bytes: Its size; None where that is not known yet.
        stamp: What changes with it: its time of change in nanoseconds, or a server's ETag; None as well.
    """

    name: str
    kind: str
    bytes: int | None = None
    stamp: str | None = None

    @property
    def key(self) -> str:
        """Its name in the tables."""
        return plain_text(public(self.name) if "://" in self.name else self.name)


def find_sources(inputs: Sequence[str], on_error: Callable[[MediaError], None]) -> list[Source]:
    """Returns the photos and clips to analyse, each once, in the order of the inputs.

    Args:
        inputs: Files, folders with all photos and clips in and below them, patterns such as `photos/**/*.jpg`, URLs of
            files, and of folders and patterns in object storage, and `@FILE`: a list of files and URLs, one a line,
            `@-` for standard input.
        on_error: Told of every folder that cannot be read or holds nothing.

    Raises:
        MediaError: If something that is named here is not there, or there are too many files.
    """
    found: dict[str, Source] = {}
    for text in inputs:
        for source in _listed(text[1:]) if text.startswith("@") else _named(text, on_error):
            found.setdefault(source.key, source)
            if len(found) > MAX_FILES:
                raise MediaError(f"There are more than {MAX_FILES} files: split them into several runs.")
    return list(found.values())


def _named(text: str, on_error: Callable[[MediaError], None]) -> Iterator[Source]:
    """Yields what an input stands for, which has to be there."""
    scheme = scheme_of(text)
    if scheme in WEB:
        yield _remote(RemoteFile(text))
    elif scheme not in (None, "file"):
        files = [_remote(file) for file in list_remote(text) if _is_wanted(file.url)]
        if not files:
            raise MediaError(f"{public(text)} holds no photo or clip: choose another place.")
        yield from files
    else:
        path = Path(_local(text))
        if not os.path.lexists(path) and glob.has_magic(str(path)):
            paths = sorted(set(_matches(path)))
            files_only = [path for path in paths if _is_wanted(path.name) and not path.is_dir()]
            if not files_only:
                raise MediaError(f"{text} matches no photo or clip: check the pattern.")
            yield from map(_of_path, files_only)
        elif not os.path.lexists(path):
            raise MediaError(f"{text} is not there: check the name.")
        else:
            yield from map(_of_path, find_files([path], on_error))


def _matches(pattern: Path) -> Iterator[Path]:
    """Yields what a pattern matches; for `**` no link to a folder is followed, as of folders."""
    if "**" not in pattern.parts:
        yield from map(Path, glob.iglob(str(pattern)))
        return
    deep = pattern.parts.index("**")
    rest = pattern.parts[deep + 1 :] or ("*",)
    for top in _matches(Path(*pattern.parts[:deep])) if deep else [Path()]:
        for where, folders, _ in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from _matches(Path(glob.escape(where), *rest))


def _listed(name: str) -> Iterator[Source]:
    """Yields the files of a list; those that are not there too, as each has a row of its own then."""
    try:
        stream = sys.stdin.buffer if name == "-" else Path(name).open("rb")  # noqa: SIM115
    except OSError as error:
        raise MediaError(f"The list {name} cannot be read ({reason(error)}): check it.") from error
    with stream:
        for number, line in enumerate(iter(lambda: stream.readline(_LONGEST_NAME + 2), b""), start=1):
            text = os.fsdecode((line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).rstrip(b"\r\n"))
            if len(line) > _LONGEST_NAME or "\0" in text:
                raise MediaError(f"Line {number} of the list {name} is no name of a file: correct it.")
            if text:
                scheme = scheme_of(text)
                yield _of_path(Path(_local(text))) if scheme in (None, "file") else _remote(RemoteFile(text))


def _local(text: str) -> str:
    return unquote(urlsplit(text).path) if text.lower().startswith("file://") else text


def _kind(name: str) -> str:
    return KINDS[os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES]


def _is_wanted(name: str) -> bool:
    """Says whether a file among others is a photo or clip by its name."""
    name = name.rpartition("/")[2]
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES


def _of_path(path: Path) -> Source:
    name = os.path.abspath(path)
    return Source(name, _kind(name), *size_and_stamp(name))


def size_and_stamp(path: str) -> tuple[int | None, str | None]:
    """Returns a local file's size in bytes and time of change in nanoseconds; None where it cannot be asked."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return None, None
    return facts.st_size, str(facts.st_mtime_ns)


def _remote(file: RemoteFile) -> Source:
    # Only on the web these signs end a path: # and ?.
    name = urlsplit(file.url).path if scheme_of(file.url) in WEB else file.url
    return Source(file.url, _kind(name), file.bytes, file.stamp)


def looked_up(sources: Iterable[Source]) -> list[Source]:
    """Returns files on web servers with the size and stamp that they have now."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(lambda source: _remote(look_up(source.name)), sources))
