"""Gets the files of a pack, and only them, when a user asks for it."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import shutil
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit
from zipfile import ZipFile, ZipInfo

from faceinsight.errors import DiskFullError, FetchError, PackError
from faceinsight.packs import archive
from faceinsight.packs.locate import check_file, load_spec, resolve
from faceinsight.packs.spec import ModelFile, PackSpec
from faceinsight.packs.store import LockedError, clear_parts, folder_of, locked, note_fetched, part_path
from faceinsight.packs.web import FileChangedError, NotThereError, Patience, RemoteFile, TooMuchError, Web, too_much
from faceinsight.writing import beside, clear_leftovers, reason

T = TypeVar("T")

# (file name, bytes so far, bytes in all or None)
Progress = Callable[[str, int, int | None], None]
# A base URL or a folder to fetch from in place of the packs' own addresses.
MIRROR = "FACEINSIGHT_MIRROR"
# Of a file whose size is not declared, and of an archive; the largest known ones have 30 and 288 MB.
MAX_BYTES = 1 << 29
# How often a file that changes on its server is begun with.
_BEGINNINGS = 5
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who watches a download.

    Attributes:
        progress: Called with (file name, bytes so far, bytes in all or None).
        say: Called with a sentence where something takes longer.
        cancelled: Ends the download once it is set.
    """

    progress: Progress = lambda name, done, total: None
    say: Callable[[str], None] = lambda sentence: None
    cancelled: threading.Event | None = None


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

    try:
        return asyncio.run(_unless_cancelled(work(), watcher.cancelled))
    except asyncio.CancelledError:
        raise FetchError(
            f"The download of {spec.name} was cancelled: what has come stays, and the next one goes on from there."
        ) from None


async def _unless_cancelled(work: Coroutine[Any, Any, T], cancelled: threading.Event | None) -> T:
    """Does something until somebody, in whatever thread, does not want it any more."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait({task}, timeout=None if cancelled is None else _LOOK_S)
        if cancelled is not None and cancelled.is_set():
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
        job = _Job(spec, place, web, watcher, stack)
        fetched = []
        for file in missing_files(pack).values():
            target = folder_of(spec) / file.name
            try:
                await job.fetch(file, target)
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


class _Job:
    """The download of one pack's files."""

    def __init__(self, spec: PackSpec, place: Path | str | None, web: Web, watcher: Watcher, stack: ExitStack) -> None:
        self._spec, self._place, self._web, self._watcher, self._stack = spec, place, web, watcher, stack
        self._folder = folder_of(spec)
        # By address: each is opened once for all that is taken out of it.
        self._archives: dict[str, tuple[RemoteFile, ZipFile, archive.Stretches]] = {}

    async def fetch(self, file: ModelFile, target: Path) -> None:
        # The name leads nowhere else; a link on its way could.
        if not target.resolve().is_relative_to(self._folder.resolve()):
            raise FetchError(f"{target} leads out of {self._folder} through a link: remove the link and try again.")
        target.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(target.parent)
        if isinstance(self._place, Path):
            self._take(self._place, file, target)
            return
        missing: NotThereError | None = None
        for url, member in self._addresses(file):
            try:
                await self._download(url, member, file, target)
                return
            except NotThereError as error:
                missing = error
        if missing is None:
            raise FetchError(f"{file.name} has no download address: put it into {target.parent}.")
        if self._place is None:
            raise missing
        plain, packed = _names(self._spec, file)
        raise FetchError(f"{self._place} holds neither {' nor '.join((*plain, *packed))}: put one there.") from missing

    def _addresses(self, file: ModelFile) -> Iterable[tuple[str, str | None]]:
        """Returns (address, member of the archive there or None): where to look for a file, the first one first."""
        if self._place is None:
            return [(file.url, file.member)] if file.url else []
        plain, packed = _names(self._spec, file)
        names = [(name, None) for name in plain] + [(name, file.member) for name in packed]
        return [(f"{self._place}/{quote(name)}", member) for name, member in names]

    async def _download(self, url: str, member: str | None, file: ModelFile, target: Path) -> None:
        for beginning in range(_BEGINNINGS):
            try:
                if member is None:
                    await self._download_plain(await self._web.look_at(url), file, target)
                else:
                    await self._download_member(url, member, file, target)
                return
            except FileChangedError:
                self._archives.pop(url, None)
                if beginning + 1 == _BEGINNINGS:
                    raise

    async def _download_plain(self, remote: RemoteFile, file: ModelFile, target: Path) -> None:
        url, size = remote.url, remote.size
        if size is not None and file.bytes not in (None, size):
            raise _wrong(url, file, f"{size} bytes instead of {file.bytes}")
        if size is not None and size > MAX_BYTES:
            raise too_much(url, MAX_BYTES)
        if size is None and file.bytes is None and not _is_pinned(file):
            raise FetchError(f"{url} does not say how long it is, and the pack neither: half of it could pass for all.")
        if _is_pinned(file):
            # The same file, whichever of a server's many machines it comes from, and whenever.
            remote = replace(remote, version="")
        part, resumed = await self._receive(remote, 0, size or file.bytes or MAX_BYTES, file, target)
        if difference := check_file(part, file):
            part.unlink()
            raise FileChangedError(str(_wrong(url, file, difference))) if resumed else _wrong(url, file, difference)
        note_fetched(self._folder, file.name, part)
        with part.open("rb+") as content:
            os.fsync(content.fileno())
        os.replace(part, target)

    async def _download_member(self, url: str, member: str, file: ModelFile, target: Path) -> None:
        if url not in self._archives:
            self._archives[url] = await self._open(await self._web.look_at(url), target)
        remote, opened, stretches = self._archives[url]
        info = archive.find(opened, member, url)
        most = file.bytes or MAX_BYTES
        # What cannot be packed smaller takes a little more.
        if info.file_size > most or info.compress_size > most + most // 100 + 1000:
            raise too_much(url, most)
        if not remote.ranges:
            self._unpack(opened, info, url, file, target)
            return
        start, stop = archive.span(opened, info)
        part, resumed = await self._receive(remote, start, stop, file, target)
        try:
            with part.open("rb") as content, stretches.holding(start, stop, content):
                self._unpack(opened, info, url, file, target)
        except FetchError as error:
            if resumed:
                raise FileChangedError(str(error)) from error
            raise
        finally:
            part.unlink()

    async def _open(self, remote: RemoteFile, target: Path) -> tuple[RemoteFile, ZipFile, archive.Stretches]:
        """Reads the directory of an archive; the whole archive where its server gives no parts of it."""
        url, start = remote.url, remote.size
        if start is None or (not remote.ranges and start > MAX_BYTES):
            raise FetchError(
                f"{url} can only be downloaded as a whole, and is too large for that: download it yourself, and give "
                "its folder with --from."
            )
        stretches = archive.Stretches(size := start)
        if not remote.ranges:
            name = PurePosixPath(unquote(urlsplit(url).path)).name
            self._watcher.say(f"{url} cannot be had in parts: all of its {size / 1e6:.0f} MB are downloaded.")
            part = part_path(target.with_name(name), url)
            self._stack.callback(part.unlink, missing_ok=True)
            await self._web.download(remote, 0, size, part, lambda done: self._watcher.progress(name, done, size))
            stretches.hold(0, size, self._stack.enter_context(part.open("rb")))
            start = 0
        while True:
            try:
                return remote, archive.open_archive(stretches, size, url), stretches
            except archive.MissingError as missing:
                first = max(0, min(missing.at, start - archive.TAIL_BYTES))
                stretches.hold(first, start, io.BytesIO(await self._web.read(remote, first, start)))
                start = first

    async def _receive(
        self, remote: RemoteFile, start: int, stop: int, file: ModelFile, target: Path
    ) -> tuple[Path, bool]:
        """Returns a file with a stretch of a remote one, and whether some of that was here before."""
        part = part_path(target, f"{remote} {start} {stop} {file.sha256} {file.git_blob}")
        goes_on = remote.ranges and (_is_pinned(file) or remote.is_exact)
        clear_parts(target.parent, target.name, keep=part if goes_on else None)
        resumed = part.is_file() and part.stat().st_size > 0
        total = None if remote.size is None else stop - start
        try:
            await self._web.download(
                remote, start, stop, part, lambda done: self._watcher.progress(file.name, done, total)
            )
        except TooMuchError:
            part.unlink()
            raise
        return part, resumed

    def _unpack(self, opened: ZipFile, info: ZipInfo, name: str, file: ModelFile, target: Path) -> None:
        with beside(target) as whole:
            with whole.open("wb") as out:
                out.writelines(archive.contents(opened, info, name))
            if difference := check_file(whole, file):
                raise _wrong(name, file, difference)
            note_fetched(self._folder, file.name, whole)

    def _take(self, place: Path, file: ModelFile, target: Path) -> None:
        """Copies a file out of a folder, or out of an archive in it."""
        plain, packed = _names(self._spec, file)
        problems = []
        for path in [place / name for name in (*plain, *packed)]:
            try:
                if not path.is_file():
                    continue
                if file.member and path.name in packed:
                    with path.open("rb") as content:
                        opened = archive.open_archive(content, path.stat().st_size, str(path))
                        self._unpack(opened, archive.find(opened, file.member, str(path)), str(path), file, target)
                    return
                if (difference := check_file(path, file)) is None:
                    with beside(target) as whole:
                        shutil.copyfile(path, whole)
                        note_fetched(self._folder, file.name, whole)
                    return
                problems.append(f"{path} has {difference}")
            except FetchError as error:
                problems.append(str(error))
        why = f" ({'; '.join(problems)})" if problems else ""
        names = " nor ".join((*plain, *packed))
        raise FetchError(f"{place} holds neither {names} as pack {self._spec.name} declares it{why}: put one there.")


def _names(spec: PackSpec, file: ModelFile) -> tuple[list[str], list[str]]:
    """Returns under which names a file is looked for in a mirror: by itself, and as an archive that holds it."""
    packed = [PurePosixPath(unquote(urlsplit(file.url).path)).name] if file.url and file.member else []
    return [f"{spec.name}/{file.name}", file.name], packed


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


def _is_pinned(file: ModelFile) -> bool:
    return bool(file.sha256 or file.git_blob)


def _is_right(path: Path, file: ModelFile) -> bool:
    with suppress(OSError):
        return path.is_file() and check_file(path, file) is None
    return False


def _wrong(where: str, file: ModelFile, difference: str) -> FetchError:
    return FetchError(f"{where} is something else than {file.name} ({difference}): try again later.")
