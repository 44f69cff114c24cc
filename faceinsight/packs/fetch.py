"""Downloads the files of a pack, and only them, when a user asks for it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import requests
import urllib3
from remotezip import RemoteZip, RemoteZipError

from faceinsight.errors import FetchError, PackError
from faceinsight.packs.locate import check_file, home, load_spec, resolve
from faceinsight.packs.spec import ModelFile
from faceinsight.writing import beside, clear_leftovers

# (file name, bytes so far, bytes in all or None)
Progress = Callable[[str, int, int | None], None]
TIMEOUT_S = 30
# Of a file whose size is not declared; the largest known model has 30 MB.
MAX_BYTES = 1 << 29
_CHUNK = 1 << 16
# What an archive's directory and headers may add to a member's bytes.
_ARCHIVE_BYTES = 1 << 22


def _silent(name: str, done: int, total: int | None) -> None:
    """The progress of somebody who does not watch."""


def _most(file: ModelFile) -> int:
    """Returns how many bytes a file may have."""
    return MAX_BYTES if file.bytes is None else file.bytes


def _too_much(file: ModelFile) -> FetchError:
    return FetchError(
        f"{file.url} sends more than the {_most(file)} bytes that {file.name} may have: nothing of it was kept; "
        "tell who made the pack."
    )


@contextmanager
def _open(file: ModelFile) -> Iterator[tuple[Iterator[bytes], int | None]]:
    assert file.url is not None

    def check(response: requests.Response, *args: object, **options: object) -> None:
        """Refuses an answer that says itself that it is too long, before any of it is read."""
        if response.is_redirect:
            response.close()  # else it is read to its end, which need not come
            return
        length = response.headers.get("Content-Length", "")
        # What is read into memory, as parts of an archive are, must say how long it is.
        known = length.isdecimal() or not file.member
        if not known or int(length if length.isdecimal() else 0) > _most(file) + (_ARCHIVE_BYTES if file.member else 0):
            response.close()
            raise _too_much(file)

    with requests.Session() as session:
        session.hooks["response"].append(check)
        # As it is: a few compressed bytes could become very many.
        session.headers["Accept-Encoding"] = "identity"
        if file.member is None:
            with session.get(file.url, stream=True, timeout=TIMEOUT_S) as response:
                response.raise_for_status()
                length = response.headers.get("Content-Length", "")
                chunks = iter(lambda: response.raw.read(_CHUNK, decode_content=False), b"")
                yield chunks, int(length) if length.isdecimal() else None
            return
        # A zip's directory is at its end: range requests spare us the rest of the archive.
        with RemoteZip(file.url, session=session, timeout=TIMEOUT_S) as archive:
            for info in archive.infolist():
                if PurePosixPath(info.filename).name == file.member:
                    if info.file_size > _most(file):
                        raise _too_much(file)
                    with archive.open(info) as stream:
                        yield iter(lambda: stream.read(_CHUNK), b""), info.file_size
                    return
        raise FetchError(f"{file.url} holds no file called {file.member}: tell the maintainers.")


def fetch_file(file: ModelFile, target: Path, progress: Progress = _silent) -> None:
    """Downloads one model file; the target appears only once its content is verified.

    Args:
        file: The declared file.
        target: Where to put it; its folder is made.
        progress: Called with (name, bytes so far, bytes in all or None).

    Raises:
        FetchError: If the host cannot be reached, answers wrongly, breaks off, or sends another
            or a longer file than the declared one; nothing is left behind then.
    """
    if file.url is None:
        raise FetchError(f"{file.name} has no download address: put it into {target.parent}.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(target.parent)
        with beside(target) as part:
            with _open(file) as (chunks, total), part.open("wb") as out:
                done = 0
                for chunk in chunks:
                    done += len(chunk)
                    if done > _most(file):
                        raise _too_much(file)
                    out.write(chunk)
                    progress(file.name, done, total)
            if difference := check_file(part, file):
                raise FetchError(f"{file.url} sent something else than {file.name} ({difference}): try again later.")
    except (
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        RemoteZipError,
        zipfile.BadZipFile,
        EOFError,
    ) as error:
        reason = "the connection failed"
        response = getattr(error, "response", None)
        if response is not None:
            reason = f"the host answered {response.status_code}"
        elif not isinstance(error, requests.ConnectionError | requests.Timeout | urllib3.exceptions.TimeoutError):
            reason = "the host's answer was broken or cut short"
        raise FetchError(
            f"{file.name} could not be downloaded from {file.url} ({reason}): check the internet "
            f"connection and try again, or put the file into {target.parent} yourself."
        ) from error
    except OSError as error:
        raise FetchError(
            f"{file.name} could not be downloaded to {target.parent} "
            f"({error.strerror or error}): check the disk and the connection, and try again."
        ) from error


def fetch_pack(pack: str, progress: Progress = _silent) -> list[Path]:
    """Downloads what is missing of a pack into FaceInsight's model folder.

    Args:
        pack: Name of a pack of the catalogue.
        progress: Called with (file name, bytes so far, bytes in all or None).

    Returns:
        The files that were downloaded; empty where all were here.

    Raises:
        PackError: If there is no such pack, or nothing to be downloaded for it.
        FetchError: If a file could not be downloaded.
    """
    spec = load_spec(pack)
    if not any(file.url for file in spec.files.values()):
        raise PackError(f"Pack {pack} has no download address: its files come with its folder.")
    try:
        missing = resolve(pack).missing
    except PackError:
        # A wrong file somewhere on the path: a good copy in our own folder goes before it.
        missing = dict.fromkeys(spec.files, "")
    fetched = []
    for stage, file in spec.files.items():
        folder = home() / spec.name
        target = folder / file.name
        # The name leads nowhere else; a link on its way could.
        if not target.resolve().is_relative_to(folder.resolve()):
            raise FetchError(f"{target} leads out of {folder} through a link: remove the link and try again.")
        if stage not in missing or (target.is_file() and check_file(target, file) is None):
            continue
        fetch_file(file, target, progress)
        fetched.append(target)
    return fetched
