"""The folder of a run's results: one run at a time, and whatever ends it, what was finished is there, whole."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from faceinsight.batch.work import annotated_suffix, record_rows
from faceinsight.errors import MediaError
from faceinsight.export import Row, csv_pieces, to_json
from faceinsight.writing import clear_leftovers, make_folder, write_error, write_file

TABLES = ("faces.csv", "faces.json")
# While a run lasts, and after one that was killed: a JSON file for every finished file, to make the tables of.
SO_FAR = "faces-so-far"
LOCK = ".faceinsight.lock"
_REPLACE = "choose another folder, or replace them with --overwrite"


class ResultFolder:
    """A folder that results are written into; a context manager.

    While it is open no other run can open it. The tables are made when it is closed, after an error too. A run that was
    killed leaves `SO_FAR`: the next one makes the tables of it.

    Attributes:
        targets: For every file, the name of its annotated copy.
    """

    def __init__(self, folder: Path, files: Sequence[Path], overwrite: bool = False) -> None:
        """Plans the run; nothing is written yet.

        Args:
            folder: The folder; it is made where it is not there.
            files: The files to analyse.
            overwrite: Whether results of an earlier run may be replaced.
        """
        self.folder = folder
        self.targets = _targets(folder, files)
        self._files = files
        self._overwrite = overwrite
        self._so_far = folder / SO_FAR
        self._finished = 0
        # Annotated copies of an earlier run, which go in the end where this one has others.
        self._earlier: set[str] = set()
        self._lock = ExitStack()

    def __enter__(self) -> ResultFolder:
        make_folder(self.folder)
        with ExitStack() as locked:
            locked.enter_context(self._locked())
            clear_leftovers(self.folder)
            rescued = self._make_tables()
            self._check(rescued)
            self._earlier = self._annotated()
            make_folder(self._so_far)
            self._lock = locked.pop_all()
        return self

    def _locked(self) -> ExitStack:
        """Takes the lock of the folder, which goes with this process, or raises MediaError."""
        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise MediaError(
                f"Another run is writing into {self.folder}: wait for it to end, or choose another folder."
            ) from None
        except OSError as error:
            raise write_error(error, str(self.folder)) from error
        stack = ExitStack()
        stack.callback(lock.release)
        if os.name != "nt":  # where the lock itself removes it
            stack.callback((self.folder / LOCK).unlink, missing_ok=True)
        return stack

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
                f"A run into {self.folder} was cut off, and its {rescued} finished files are now in {TABLES[0]} and "
                f"{TABLES[1]}: {_REPLACE}."
            )
        if any((self.folder / name).exists() for name in TABLES):
            raise MediaError(f"{self.folder} holds the results of an earlier run: {_REPLACE}.")
        for target in self.targets:
            if target.exists():
                raise MediaError(f"{target} is there already: {_REPLACE}.")

    def add(self, record: dict[str, Any]) -> None:
        """Keeps the record of a finished file; raises MediaError where it cannot be written."""
        self._finished += 1
        write_file(self._so_far / f"{self._finished:06}.json", to_json(record).encode())

    def _records(self) -> list[Path]:
        return sorted((p for p in self._so_far.glob("*.json") if p.stem.isdecimal()), key=lambda p: int(p.stem))

    def _texts(self) -> Iterator[str]:
        for path in self._records():
            yield path.read_text(encoding="utf-8").rstrip("\n")

    def _rows(self) -> Iterator[Row]:
        for text in self._texts():
            yield from record_rows(json.loads(text))

    def _make_tables(self) -> int:
        """Makes the tables of the finished files' records, if there are any; returns how many."""
        count = len(self._records())
        if count:
            try:
                header = dict.fromkeys(key for row in self._rows() for key in row) or ("file", "face")
                pieces = (piece.encode() for piece in csv_pieces(self._rows(), list(header)))
                write_file(self.folder / TABLES[0], _with_mark(pieces))
                write_file(self.folder / TABLES[1], _json_list(self._texts()))
            except MediaError as error:
                raise type(error)(f"{error} What was finished is in {self._so_far}, a JSON file each.") from error
        clear_leftovers(self._so_far)
        with suppress(OSError):
            for path in self._records():
                path.unlink()
            self._so_far.rmdir()
        return count

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


def _with_mark(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yields a CSV file's content behind the byte-order mark by which Excel knows UTF-8."""
    yield b"\xef\xbb\xbf"
    yield from pieces


def _json_list(texts: Iterator[str]) -> Iterator[bytes]:
    """Yields what `to_json` would make of a list, one element in memory at a time."""
    between = "["
    for text in texts:
        yield f"{between}\n{textwrap.indent(text, '  ')}".encode()
        between = ","
    yield b"[]\n" if between == "[" else b"\n]\n"
