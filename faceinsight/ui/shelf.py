"""The packs as the page shows them, and the one download that may be under way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceinsight.errors import FaceInsightError, PackError
from faceinsight.packs import home, load_spec, pack_names
from faceinsight.packs.fetch import fetch_pack, missing_files
from faceinsight.packs.locate import bundled_models, states_of
from faceinsight.packs.spec import PackSpec
from faceinsight.packs.store import FileState, folder_of, inspect_pack, receipt_of, remove_pack
from faceinsight.packs.transfer import Watcher

Answer = dict[str, Any]

NOT_ACCEPTED = "The licences are not accepted yet: tick the box first."


@dataclass(slots=True)
class Download:
    """A download: how far it is, in words and as a share where that is known, and how it ended."""

    pack: str
    words: str = "Starting…"
    share: float | None = None
    running: bool = True
    failed: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def answer(self) -> Answer:
        """What the page shows of it."""
        return {name: getattr(self, name) for name in ("pack", "words", "share", "running", "failed")}


class Shelf:
    """The packs of a running app, and what those who may do to them."""

    def __init__(self, on_change: Callable[[str], None], models: str | Path | None = None) -> None:
        """Begins with no download.

        Args:
            on_change: Called with a pack whose files have changed.
            models: A folder to look for model files in before all others.
        """
        self._on_change = on_change
        self._models = models
        self._lock, self._looking = threading.Lock(), threading.Lock()
        self._download: Download | None = None
        # What was found at the last look, by what the files were like then: a look hashes them all.
        self._seen: tuple[object, list[Answer]] = (None, [])

    def act(self, what: str, pack: str, accepted: bool) -> str:
        """Does what somebody who may asks for; returns what came of it in a sentence.

        Args:
            what: "fetch", "cancel", "verify" or "remove".
            pack: The pack that is meant.
            accepted: Whether its licences are accepted.

        Raises:
            FaceInsightError: If it cannot be done.
        """
        # One of the list, and no folder of this machine.
        if pack not in pack_names(self._models) or what not in ("fetch", "cancel", "verify", "remove"):
            raise PackError("There is no such model pack: reload the page.")
        if what == "fetch":
            if not accepted:
                raise PackError(NOT_ACCEPTED)
            self._start(pack)
            return ""
        if what == "cancel":
            if (download := self._download) is not None:
                download.cancelled.set()
            return ""
        self._seen = (None, [])
        return self._verify(pack) if what == "verify" else self._remove(pack)

    def _start(self, pack: str) -> None:
        with self._lock:
            if self._download is not None and self._download.running:
                raise PackError(f"{self._download.pack} is being downloaded: wait for it, or cancel it.")
            download = self._download = Download(pack)
        threading.Thread(target=self._run, args=(download,), daemon=True).start()

    def _run(self, download: Download) -> None:
        def progress(file: str, done: int, total: int | None) -> None:
            of = f" of {total / 1e6:.1f}" if total else ""
            download.words = f"{file}: {done / 1e6:.1f}{of} MB"
            download.share = done / total if total else None

        def say(sentence: str) -> None:
            download.words = sentence

        try:
            fetched = fetch_pack(download.pack, Watcher(progress, say, download.cancelled))
            count = "1 file" if len(fetched) == 1 else f"{len(fetched)} files"
            download.words = f"{count} of {download.pack} downloaded and verified. Choose it in Settings."
            self._on_change(download.pack)
        except FaceInsightError as error:
            download.words, download.failed = str(error), True
        except Exception:
            download.words, download.failed = "Something unexpected went wrong: try again.", True
            raise
        finally:
            download.running = False

    def _verify(self, pack: str) -> str:
        states = inspect_pack(pack, self._models)
        wrong = [f"{path} is wrong ({difference})" for state in states for path, difference in state.wrong]
        absent = [state.file.name for state in states if state.path is None and not state.wrong]
        if wrong:
            self._on_change(pack)
            return f"{'; '.join(wrong)}: remove it, or download it again."
        if absent:
            return f"Of {pack}, {', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not here; the rest is right."
        return f"All {len(states)} files of {pack} are right."

    def _remove(self, pack: str) -> str:
        if self._download is not None and self._download.running and self._download.pack == pack:
            raise PackError(f"{pack} is being downloaded: cancel that first.")
        removed = remove_pack(pack)
        self._on_change(pack)
        count = "1 file" if len(removed.gone) == 1 else f"{len(removed.gone) or 'no'} files"
        kept = "".join(f" {path} stays: {why}." for path, why in removed.kept)
        return f"{count[0].upper()}{count[1:]} of {pack} removed.{kept}"

    def look(self) -> Answer:
        """Returns what anybody may see: `packs`, an object a pack, and `download`, the last one or None."""
        with self._looking:
            signature = self._signature()
            seen, packs = self._seen
            if seen != signature:
                packs = [self._describe(name) for name in pack_names(self._models)]
                self._seen = (signature, packs)
        return {"packs": packs, "download": self._download and self._download.answer}

    def _signature(self) -> object:
        files: list[object] = []
        for name in pack_names(self._models):
            try:
                spec = load_spec(name, self._models)
            except FaceInsightError as error:
                files.append((name, str(error)))
                continue
            files.append((spec, states_of(spec, self._models)))
        return files

    def _describe(self, name: str) -> Answer:
        try:
            spec = load_spec(name, self._models)
            states = inspect_pack(name, self._models)
            missing = missing_files(name, self._models).values()
        except FaceInsightError as error:
            return _answer(name, name, "", "unusable", str(error))
        here = sum(state.path is not None for state in states)
        state = "here" if states and here == len(states) else "partly" if here else "absent"
        return _answer(
            name,
            spec.title,
            spec.description,
            state,
            _words(spec, states),
            files=[_file(state) for state in states],
            licences=sorted({state.file.licence for state in states}),
            fetch=any(file.url for file in missing),
            remove=bool(receipt_of(folder_of(spec))),
            verify=any(state.path is not None or state.wrong for state in states),
        )


def _answer(name: str, title: str, description: str, state: str, words: str, **more: Any) -> Answer:
    return {
        "name": name,
        "title": title,
        "description": description,
        "state": state,
        "words": words,
        "files": [],
        "licences": [],
        "fetch": False,
        "remove": False,
        "verify": False,
    } | more


def _file(state: FileState) -> Answer:
    size = state.path.stat().st_size if state.path is not None else state.file.bytes
    return {
        "stage": state.stage,
        "name": state.file.name,
        "size": f"{size / 1e6:.1f} MB" if size else "size not published",
        "state": "here" if state.path is not None else "wrong" if state.wrong else "not here",
    }


def _words(spec: PackSpec, states: tuple[FileState, ...]) -> str:
    """Returns where a pack's files are, in a few words that tell strangers nothing of this machine."""
    paths = [state.path for state in states if state.path is not None]
    if not paths:
        return "Not here"
    if len(paths) < len(states):
        return f"{len(paths)} of {len(states)} files here"
    if all(path.is_relative_to(bundled_models()) for path in paths):
        return "Comes with FaceInsight"
    if all(path.is_relative_to(home()) for path in paths):
        return "Here"
    return "Here, in part from another program's folder" if spec.folder is None else "Here"
