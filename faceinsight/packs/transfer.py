"""The way of a pack's files here: from their addresses, a mirror or a folder, by themselves or out of an archive."""

from __future__ import annotations

import io
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit
from zipfile import ZipFile, ZipInfo

from faceinsight.errors import FetchError
from faceinsight.packs import archive
from faceinsight.packs.locate import check_file
from faceinsight.packs.spec import ModelFile, PackSpec
from faceinsight.packs.store import clear_parts, folder_of, note_fetched, part_path
from faceinsight.packs.web import FileChangedError, NotThereError, RemoteFile, TooMuchError, Web, too_much
from faceinsight.writing import beside, clear_leftovers

# (file name, bytes so far, bytes in all or None)
Progress = Callable[[str, int, int | None], None]
# Of a file whose size is not declared, and of an archive; the largest known ones have 30 and 288 MB.
MAX_BYTES = 1 << 29
# How often a file that changes on its server is begun with.
_BEGINNINGS = 5


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


class Transfers:
    """Brings the files of one pack, one after the other."""

    def __init__(self, spec: PackSpec, place: Path | str | None, web: Web, watcher: Watcher, stack: ExitStack) -> None:
        """Begins with nothing.

        Args:
            spec: The pack.
            place: A folder, or the address of one, to take the files from; None for the pack's own addresses.
            web: Reads from web servers.
            watcher: Who watches.
            stack: Closes in the end what stays open for all files.
        """
        self._spec, self._place, self._web, self._watcher, self._stack = spec, place, web, watcher, stack
        self._folder = folder_of(spec)
        # By address: each is opened once for all that is taken out of it.
        self._archives: dict[str, tuple[RemoteFile, ZipFile, archive.Stretches]] = {}

    async def fetch(self, file: ModelFile, target: Path) -> None:
        """Brings a file, which takes its name only when it is whole and verified.

        Raises:
            FetchError: If it cannot be had.
            OSError: If it cannot be written.
        """
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


def _is_pinned(file: ModelFile) -> bool:
    return bool(file.sha256 or file.git_blob)


def _wrong(where: str, file: ModelFile, difference: str) -> FetchError:
    return FetchError(f"{where} is something else than {file.name} ({difference}): try again later.")
