"""What a run writes: one run at a time, and whatever ends it, what was finished is there, whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from faceinsight.batch.work import annotated_suffix
from faceinsight.errors import MediaError
from faceinsight.records import Record, check_format, files_of, read_record, write_record, write_records
from faceinsight.writing import alone, clear_leftovers, make_folder

TABLES = ("faces.csv", "faces.json")
# While a run lasts, and after one that was killed: a JSON file for every finished file, to make the tables of.
SO_FAR = "faces-so-far"
LOCK = ".faceinsight.lock"
_REPLACE = "choose another name, or replace what is there with --overwrite"


class ResultFolder:
    """The tables of a run, and a folder for its annotated copies; a context manager.

    While it is open no other run can open it. The tables are made when it is closed, after an error too. A run that was
    killed leaves `SO_FAR`: the next one makes the tables of it.

    Attributes:
        targets: For every file, the name of its annotated copy; none where there is no folder.
    """

    def __init__(
        self, folder: Path | None, files: Sequence[Path], overwrite: bool = False, tables: Sequence[Path] = ()
    ) -> None:
        """Plans the run; nothing is written yet.

        Args:
            folder: The folder for annotated copies and `TABLES`, made where it is not there; None for none.
            files: The files to analyse.
            overwrite: Whether results of an earlier run may be replaced.
            tables: Further tables, as of `write_records`; at least one where there is no folder.

        Raises:
            MediaError: If a table's name has an unknown ending.
        """
        for table in tables:
            check_format(table)
        # Where there is no folder, what else there is bears the name of the first table.
        self.folder = tables[0].parent if folder is None else folder
        self.targets = [] if folder is None else _targets(folder, files)
        own = [] if folder is None else [folder / name for name in TABLES]
        self._tables = list(dict.fromkeys([*own, *tables]))
        self._so_far = self.folder / (SO_FAR if folder is not None else f"{tables[0].name}-so-far")
        self._lock_file = self.folder / (LOCK if folder is not None else f".{tables[0].name}{LOCK}")
        self._where = tables[0] if folder is None else folder
        self._files = files
        self._overwrite = overwrite
        self._finished = 0
        # Annotated copies of an earlier run, which go in the end where this one has others.
        self._earlier: set[str] = set()
        self._lock = ExitStack()

    def __enter__(self) -> ResultFolder:
        folders = {self.folder, *(table.parent for table in self._tables)}
        for folder in folders:
            make_folder(folder)
        with ExitStack() as locked:
            busy = f"Another run is writing into {self._where}: wait for it to end, or choose another name."
            locked.enter_context(alone(self._lock_file, MediaError(busy)))
            for folder in folders:
                clear_leftovers(folder)
            rescued = self._make_tables()
            self._check(rescued)
            self._earlier = self._annotated() if self.targets else set()
            make_folder(self._so_far)
            self._lock = locked.pop_all()
        return self

    def _check(self, rescued: int) -> None:
        """Raises MediaError where something would be replaced that may not be."""
        inputs = {os.path.realpath(file) for file in self._files}
        for target in self.targets:
            if os.path.realpath(target) in inputs:
                raise MediaError(f"The annotated copy {target} would replace a file to analyse: choose another folder.")
        if self._overwrite:
            return
        if rescued:
            raise MediaError(
                f"A run into {self._where} was cut off, and its {rescued} finished files are now in "
                f"{' and '.join(table.name for table in self._tables)}: {_REPLACE}."
            )
        if self.targets and any((self.folder / name).exists() for name in TABLES):
            raise MediaError(f"{self.folder} holds the results of an earlier run: {_REPLACE}.")
        for target in (*self.targets, *(file for table in self._tables for file in files_of(table))):
            if target.exists():
                raise MediaError(f"{target} is there already: {_REPLACE}.")

    def add(self, record: Record) -> None:
        """Keeps the record of a finished file; raises MediaError where it cannot be written."""
        self._finished += 1
        write_record(self._so_far / f"{self._finished:06}.json", record)

    def _names(self) -> list[Path]:
        return sorted((p for p in self._so_far.glob("*.json") if p.stem.isdecimal()), key=lambda p: int(p.stem))

    def _records(self) -> Iterator[Record]:
        for path in self._names():
            yield read_record(path)

    def _make_tables(self) -> int:
        """Makes the tables of the finished files' records, if there are any; returns how many."""
        names = self._names()
        # They go first to last: where the first one has gone, the tables hold all of them already.
        whole = bool(names) and int(names[0].stem) == 1
        if whole:
            try:
                for table in self._tables:
                    write_records(table, self._records)
            except MediaError as error:
                raise type(error)(f"{error} What was finished is in {self._so_far}, a JSON file each.") from error
        clear_leftovers(self._so_far)
        with suppress(OSError):
            for path in names:
                path.unlink()
            self._so_far.rmdir()
        return len(names) if whole else 0

    def _annotated(self) -> set[str]:
        """Returns the names of the annotated copies that the tables in the folder speak of."""
        with suppress(OSError, ValueError, TypeError, AttributeError):
            records = json.loads((self.folder / TABLES[1]).read_text(encoding="utf-8"))
            names = {str(record.get("annotated", "")) for record in records}
            return {name for name in names if name == Path(name).name and name.endswith(("-faces.jpg", "-faces.mp4"))}
        return set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self._make_tables() and kind is None:
                # A file that failed this time keeps the copy that it has.
                kept = {os.path.realpath(path) for path in (*self.targets, *self._files)}
                for path in (self.folder / name for name in self._earlier):
                    if os.path.realpath(path) not in kept:
                        with suppress(OSError):
                            path.unlink()


def _targets(folder: Path, files: Sequence[Path]) -> list[Path]:
    """Returns the annotated copies' names: no two are the same, as same names come in many folders."""
    targets: list[Path] = []
    taken: set[str] = set()
    for file in files:
        stem, number = file.stem, 2
        # There are file systems to which A and a are the same.
        while stem.casefold() in taken:
            stem = f"{file.stem}-{number}"
            number += 1
        taken.add(stem.casefold())
        targets.append(folder / f"{stem}{annotated_suffix(file)}")
    return targets
