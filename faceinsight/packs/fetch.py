"""Downloads the files of a pack, and only them, when a user asks for it."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import requests
import urllib3
from remotezip import RemoteIOError, RemoteZip

from faceinsight.errors import FetchError, PackError
from faceinsight.packs.locate import check_file, home, load_spec, resolve
from faceinsight.packs.spec import ModelFile

# (file name, bytes so far, bytes in all or None)
Progress = Callable[[str, int, int | None], None]
TIMEOUT_S = 30
_CHUNK = 1 << 16


def _silent(name: str, done: int, total: int | None) -> None:
    """The progress of somebody who does not watch."""


@contextmanager
def _open(file: ModelFile) -> Iterator[tuple[Iterator[bytes], int | None]]:
    assert file.url is not None
    if file.member is None:
        with (
            requests.Session() as session,
            session.get(file.url, stream=True, timeout=TIMEOUT_S) as response,
        ):
            response.raise_for_status()
            length = response.headers.get("Content-Length")
            yield response.iter_content(_CHUNK), int(length) if length else None
        return
    # A zip's directory is at its end: range requests spare us the rest of the archive.
    with RemoteZip(file.url, timeout=TIMEOUT_S) as archive:
        for info in archive.infolist():
            if PurePosixPath(info.filename).name == file.member:
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
            file than the declared one; nothing is left behind then.
    """
    if file.url is None:
        raise FetchError(f"{file.name} has no download address: put it into {target.parent}.")
    part: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            _open(file) as (chunks, total),
            tempfile.NamedTemporaryFile(dir=target.parent, suffix=".part", delete=False) as out,
        ):
            part = Path(out.name)
            done = 0
            for chunk in chunks:
                out.write(chunk)
                done += len(chunk)
                progress(file.name, done, total)
        if difference := check_file(part, file):
            raise FetchError(f"{file.url} sent something else than {file.name} ({difference}): try again later.")
        os.replace(part, target)
    except (
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        RemoteIOError,
        zipfile.BadZipFile,
        EOFError,
    ) as error:
        reason = "the connection failed"
        response = getattr(error, "response", None)
        if response is not None:
            reason = f"the host answered {response.status_code}"
        elif not isinstance(error, requests.ConnectionError | requests.Timeout):
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
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


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
        target = home() / spec.name / file.name
        if stage not in missing or (target.is_file() and check_file(target, file) is None):
            continue
        fetch_file(file, target, progress)
        fetched.append(target)
    return fetched
