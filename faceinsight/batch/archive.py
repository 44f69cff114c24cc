"""A run over an archive: what is there, what is done, what is missing, the work, and the tables of all of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from faceinsight.batch.job import Finished, Job, Settings, Shard, shards_of
from faceinsight.batch.merge import merge
from faceinsight.batch.parts import SUFFIX, opened_part, read_columns, told_of
from faceinsight.batch.places import Place, place_of
from faceinsight.batch.sources import Source, find_sources, looked_up
from faceinsight.batch.worker import MARK
from faceinsight.cpus import usable_cpus
from faceinsight.errors import MediaError
from faceinsight.media.remote import WEB, scheme_of
from faceinsight.packs import AUTO
from faceinsight.tables import TablePaths, settings_of

# Beside the parts: the settings that they were made with, and whether older tables count.
STATE = "run.json"


class Engine(Protocol):
    """Who works on shards."""

    def __call__(self, job: Job, shards: Sequence[Shard]) -> Generator[Finished]:
        """Yields what each shard adds up to once its part is written, in any order; ends all work when it is closed."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        total: How many files it is about.
        known: How many of them were done before it.
        failed: How many of those could not be analysed.
        done: What it has done so far.
    """

    total: int
    known: int
    failed: int
    done: Finished


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a file that was analysed before."""

    bytes: int | None
    stamp: str | None
    failed: bool


def analyze_archive(
    inputs: Sequence[str],
    out: str,
    engine: Engine,
    workers: int,
    pack: str | Path = AUTO,
    models: str | Path | None = None,
    provider: str = AUTO,
    *,
    overwrite: bool = False,
    retry: bool = False,
    on_error: Callable[[MediaError], None] = lambda error: None,
    **settings: Any,
) -> Generator[Progress, None, None]:
    """Analyses photos and clips into the tables of faceinsight.tables, and goes on where an earlier run has ended.

    What is finished is kept in parts beside the tables, whatever ends the run; the tables appear, or change, in the
    end. A file that is in them already is analysed again only where it has changed.

    Args:
        inputs: As of `find_sources`.
        out: The table of faces, a path or a URL in object storage; the others stand beside it.
        engine: Who does the work.
        workers: How many of it work at once.
        pack: Name of a pack, a folder with a pack.toml, or "auto".
        models: A folder to look for model files in before all others.
        provider: What runs the models, as of `FaceAnalyzer`.
        overwrite: Whether to begin anew, and replace what is there.
        retry: Whether to analyse again what could not be.
        on_error: Told of every folder that cannot be read or holds nothing.
        settings: `det_threshold`, `min_face`, `rate` and `smoothing`, as of `Settings`.

    Yields:
        How far it is: once before the work, then after every finished shard.

    Raises:
        PackError: If the pack cannot be used.
        MediaError: If an input is not there, or the tables cannot be written, are being written by others, or were made
            with other settings.
        DiskFullError: If there is no room for what is to be written.
    """
    place, name = place_of(out)
    wanted = Settings.of(pack, models, **settings)
    sources = find_sources(inputs, on_error)
    parts = f"{name}.parts"
    with place.locked(parts):
        state = _State(place, name, parts, wanted)
        known = state.begin(overwrite)
        missing = _missing(sources, known, retry)
        again = {source.key for source in missing}
        failed = sum(source.key in known and known[source.key].failed and source.key not in again for source in sources)
        before = (len(sources), len(sources) - len(missing), failed)
        yield Progress(*before, Finished())
        if missing:
            folder = None if models is None else str(Path(models).absolute())
            threads = max(1, usable_cpus() // workers)
            job = Job(wanted, _absolute(pack, wanted), folder, provider, threads, _absolute_out(out), parts)
            shards = list(shards_of(missing, state.next_run(), workers))
            done = Finished()
            with closing(engine(job, shards)) as finished:
                for shard in finished:
                    done += shard
                    yield Progress(*before, done)
        state.end()


def _absolute(pack: str | Path, settings: Settings) -> str:
    """Returns a pack as workers elsewhere find it: a known one by its name, a folder by its whole path."""
    path = Path(pack).expanduser()
    return str(path.absolute()) if path.is_dir() and str(pack) != settings.pack else settings.pack


def _absolute_out(out: str) -> str:
    """Returns the output's name as workers elsewhere find it."""
    return str(Path(out).absolute()) if scheme_of(out) is None else out


def _missing(sources: Sequence[Source], known: dict[str, _Known], retry: bool) -> list[Source]:
    """Returns the files that are to be analysed."""
    # Of a file on the web nobody knows whether it has changed before asking.
    asked = [
        source for source in sources if source.key in known and source.bytes is None and scheme_of(source.name) in WEB
    ]
    now = {source.name: source for source in looked_up(asked)}
    missing = []
    for source in sources:
        before = known.get(source.key)
        source = now.get(source.name, source)
        if before is None or (before.failed and retry) or _changed(source, before):
            missing.append(source)
    return missing


def _changed(source: Source, before: _Known) -> bool:
    pairs = ((source.bytes, before.bytes), (source.stamp, before.stamp))
    if scheme_of(source.name) in WEB:
        # What a server does not say has not changed.
        return any(now is not None and then is not None and now != then for now, then in pairs)
    return any(now != then for now, then in pairs)


class _State:
    """What earlier runs have left at a place."""

    def __init__(self, place: Place, name: str, parts: str, settings: Settings) -> None:
        self._place, self._parts, self._settings = place, parts, settings
        paths = TablePaths.of(Path(name))
        self._tables = {key: getattr(paths, key).name for key in ("faces", "people", "errors", "files")}
        self._anew = False
        self._runs: list[str] = []

    def begin(self, overwrite: bool) -> dict[str, _Known]:
        """Prepares the folder of parts; returns the files that are done.

        Raises:
            MediaError: If they were done with other settings.
        """
        state = None if overwrite else self._read_state()
        if overwrite:
            for name in self._place.names(self._parts):
                self._place.remove(f"{self._parts}/{name}")
        self._runs = state["runs"] if state else []
        for name in self._place.names(self._parts):
            if name.endswith(MARK) or (name.endswith(SUFFIX) and not name.startswith(tuple(self._runs))):
                self._place.remove(f"{self._parts}/{name}")
        self._anew = overwrite or bool(state and state["anew"])
        if not overwrite:
            if state:
                self._check(state["settings"])
            elif not self._anew and (earlier := self._settings_of_tables()) is not None:
                self._check(earlier)
        self._save_state()
        return self._known()

    def _save_state(self) -> None:
        text = json.dumps({"settings": self._settings.as_dict(), "anew": self._anew, "runs": self._runs})
        self._place.save(f"{self._parts}/{STATE}", lambda out: out.write(text.encode()))

    def _read_state(self) -> dict[str, Any] | None:
        name = f"{self._parts}/{STATE}"
        file = self._place.opened(name)
        if file is None:
            return None
        with file, told_of(self._place, name):
            state = json.loads(file.read())
            return {"settings": dict(state["settings"]), "anew": bool(state["anew"]), "runs": list(state["runs"])}

    def _settings_of_tables(self) -> dict[str, Any] | None:
        """Returns what the tables that are there were made with; None where there are none."""
        for name in (self._tables["files"], self._tables["faces"]):
            file = self._place.opened(name)
            if file is None:
                continue
            try:
                with file:
                    return settings_of(file)
            except Exception as error:  # whatever reading a strange file leads to
                raise MediaError(
                    f"{self._place.shown(name)} is there already and no table of ours: choose another name, or replace "
                    "it with --overwrite."
                ) from error
        return None

    def _check(self, earlier: dict[str, Any]) -> None:
        different = self._settings.difference(earlier)
        if different is not None:
            raise MediaError(
                f"{self._place.shown(self._tables['faces'])} was begun with other settings ({different}): use the same "
                "ones, choose another name, or begin anew with --overwrite."
            )

    def _known(self) -> dict[str, _Known]:
        known: dict[str, _Known] = {}
        table = self._tables["files"]
        tables = [table] if not self._anew and table in self._place.names("") else []
        for name in (*tables, *self._part_names()):
            with opened_part(self._place, name) as file:
                for row in read_columns(file, ("file", "bytes", "stamp", "status")):
                    known[row["file"]] = _Known(row["bytes"], row["stamp"], row["status"] == "error")
        return known

    def _part_names(self) -> list[str]:
        """Returns the parts of the runs that count, those of later ones last."""
        names = (name for name in self._place.names(self._parts) if name.startswith(tuple(self._runs)))
        return [f"{self._parts}/{name}" for name in names if name.endswith(SUFFIX)]

    def next_run(self) -> str:
        """Returns a name for this run, which comes after those of all runs that count, and is nobody else's.

        A worker of a run that was killed may still be about to write its last part: of a run that no longer counts, it
        does not either.
        """
        self._runs.append(f"{len(self._runs) + 1:04}-{secrets.token_hex(4)}")
        self._save_state()
        return self._runs[-1]

    def end(self) -> None:
        """Makes the tables, and removes the parts."""
        names = self._part_names()
        if names or self._anew:
            merge(self._place, self._tables, names, self._settings, anew=self._anew)
        # First what says that older tables do not count: from here on they do.
        for name in (f"{self._parts}/{STATE}", *names):
            self._place.remove(name)
