"""Gets the files of a pack, and only them, when a user asks for it."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from faceinsight.errors import DiskFullError, FetchError, PackError
from faceinsight.packs.locate import check_file, load_spec, resolve
from faceinsight.packs.spec import ModelFile, PackSpec
from faceinsight.packs.store import LockedError, clear_parts, folder_of, locked
from faceinsight.packs.transfer import Transfers, Watcher
from faceinsight.packs.web import Patience, Web
from faceinsight.writing import reason

T = TypeVar("T")

# A base URL or a folder to fetch from in place of the packs' own addresses.
MIRROR = "FACEINSIGHT_MIRROR"
_LOOK_S = 0.1


def missing_files(pack: str | Path, models: str | Path | None = None) -> dict[str, ModelFile]:
    """Returns by stage the files of a pack that are not on this machine, or not the right ones.

    Args:
        pack: Name of a pack, or the path of its folder.
        models: A folder to look in before all others.

    Raises:
        PackError: If there is no such pack, or its declaration is wrong.
    """
    spec = load_spec(pack, models)
    try:
        missing = resolve(pack, models).missing
    except PackError:
        # A wrong file somewhere on the path: a good copy in our own folder goes before it.
        missing = dict.fromkeys(spec.files, "")
    return {
        stage: file
        for stage, file in spec.files.items()
        if stage in missing and not _is_right(folder_of(spec) / file.name, file)
    }


def fetch_pack(
    pack: str | Path,
    watcher: Watcher = Watcher(),
    source: str | Path | None = None,
    patience: Patience = Patience(),
) -> list[Path]:
    """Gets what is missing of a pack into FaceInsight's model folder.

    What broke off goes on where it stopped, also in a later process. Each file takes its name only when it is whole and
    verified.

    Args:
        pack: Name of a pack, or the path of its folder.
        watcher: Who watches.
        source: A folder, or the address of one on a web server, to take the files from: the model files themselves, in
            it or in a folder of the pack's name in it, or the archives that they are published in. `FACEINSIGHT_MIRROR`
            where None, else the addresses that the pack declares.
        patience: How long to wait for a server.

    Returns:
        The files that were fetched; empty where all were here.

    Raises:
        PackError: If there is no such pack, or nothing to be downloaded for it.
        FetchError: If a file could not be had, or the download was cancelled.
        MediaError: If FaceInsight's folder cannot be written to.
    """
    spec = load_spec(pack)
    place = _place(os.environ.get(MIRROR) if source is None else source)
    if place is None and not any(file.url for file in spec.files.values()):
        raise PackError(f"Pack {spec.name} has no download address: its files come with its folder.")

    async def work() -> list[Path]:
        async with Web(patience, watcher.say) as web:
            return await _fetch(pack, spec, place, web, watcher)

    cancelled = watcher.cancelled or threading.Event()
    # In a thread of its own: Ctrl+C would come up in the middle of the event loop, which tells of it at length.
    with ThreadPoolExecutor(1) as thread:
        fetching = thread.submit(asyncio.run, _unless_cancelled(work(), cancelled))
        try:
            return fetching.result()
        except asyncio.CancelledError:
            raise FetchError(
                f"The download of {spec.name} was cancelled: what has come stays, and the next one goes on from there."
            ) from None
        except KeyboardInterrupt:
            cancelled.set()
            raise


async def _unless_cancelled(work: Coroutine[Any, Any, T], cancelled: threading.Event) -> T:
    """Does something until somebody, in whatever thread, does not want it any more."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait({task}, timeout=_LOOK_S)
        if cancelled.is_set():
            task.cancel()
    return task.result()


async def _fetch(pack: str | Path, spec: PackSpec, place: Path | str | None, web: Web, watcher: Watcher) -> list[Path]:
    with ExitStack() as stack:
        waits = False
        while True:
            try:
                stack.enter_context(locked(spec))
                break
            except LockedError:
                if not waits:
                    watcher.say(f"Another FaceInsight fetches {spec.name} now: it is waited for.")
                waits = True
                await asyncio.sleep(_LOOK_S)
        transfers = Transfers(spec, place, web, watcher, stack)
        fetched = []
        for file in missing_files(pack).values():
            target = folder_of(spec) / file.name
            try:
                await transfers.fetch(file, target)
            except DiskFullError:
                clear_parts(target.parent)
                raise
            except OSError as error:
                # It is not kept where it cannot be written: a full disk would stay full.
                clear_parts(target.parent)
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                raise FetchError(
                    f"{file.name} cannot be written to {target.parent} "
                    f"({'the disk is full' if full else reason(error)}): check the disk and try again."
                ) from error
            fetched.append(target)
        if fetched:
            clear_parts(folder_of(spec))
        return fetched


def _place(source: str | Path | None) -> Path | str | None:
    """Returns where to fetch from in place of the packs' own addresses: a folder or an address; None for those.

    Raises:
        FetchError: If it is neither.
    """
    if not source:
        return None
    if urlsplit(str(source)).scheme in ("http", "https"):
        return str(source).rstrip("/")
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise FetchError(f"There is no folder {folder} to take models from: give one, or an address as https://...")
    return folder


def _is_right(path: Path, file: ModelFile) -> bool:
    with suppress(OSError):
        return path.is_file() and check_file(path, file) is None
    return False
