"""What tables of many files add up to, read as a stream: as much memory for a hundred rows as for a million."""

from __future__ import annotations

import heapq
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from faceinsight.errors import MediaError
from faceinsight.tables import TablePaths, settings_of

Row = dict[str, Any]
Floats = npt.NDArray[np.float64]

_ROWS_AT_ONCE = 20_000
AGE_STEP, AGE_BINS = 5, 21
GENDERS = ("female", "male", "unknown")
# From so many faces a file on, one column is for all.
MANY_FACES = 10
# Columns of a chart of a clip.
COLUMNS = 240
MOST_CLIPS, MOST_PEOPLE, MOST_ERRORS, MOST_LABELS = 12, 12, 100, 20
# Examples of each expression, among faces that can be seen.
EXAMPLES, EXAMPLE_SIDE = 4, 48


@dataclass(slots=True)
class Clip:
    """A clip that the report shows.

    Attributes:
        file: Its name.
        duration: Its length in seconds.
        frames: How many of its frames were analysed.
        count: How many people are in it.
        people: Rows of those longest on screen.
        best: By the numbers of these, the row of the frame in which they are seen best, and how well.
        sums: Probabilities of the expressions, summed over faces by column of time, (columns, labels).
        rows: How many faces that were, (columns, 1).
    """

    file: str
    duration: float
    frames: int
    count: int = 0
    people: list[Row] = field(default_factory=list)
    best: dict[int, tuple[float, Row]] = field(default_factory=dict)
    sums: Floats = field(default_factory=lambda: np.zeros((1, 0)))
    rows: Floats = field(default_factory=lambda: np.zeros((1, 1)))

    def begin(self, labels: int) -> None:
        """Makes room for so many expressions; no column is without an analysed frame."""
        columns = max(min(self.frames, COLUMNS), 1)
        self.sums, self.rows = np.zeros((columns, labels)), np.zeros((columns, 1))

    def add(self, times: Floats, shares: Floats) -> None:
        """Adds faces with their probabilities (faces, labels) at times in seconds."""
        places = times / max(self.duration, 1e-3) * len(self.sums)
        whole = np.rint(places) if len(self.sums) == self.frames else np.floor(places)
        at = np.clip(whole, 0, len(self.sums) - 1).astype(int)
        np.add.at(self.sums, at, shares)
        np.add.at(self.rows, at, 1)

    @property
    def shares(self) -> Floats:
        """The mean probabilities of the expressions (columns, labels); zeros where nobody is seen."""
        return self.sums / np.maximum(self.rows, 1)


@dataclass(slots=True)
class Figures:
    """What is told of the tables. A face of a photo counts once, and so does a person of a clip.

    Attributes:
        settings: What the tables were made with.
        made: Packs and versions that rows name.
        first: When the first file was analysed.
        last: When the last one was.
        files: Files by (kind, status).
        faces: Faces of photos.
        people: People of clips.
        per_file: Photos by their number of faces, (MANY_FACES + 1,); the last for so many or more.
        ages: Faces and people by age in steps of AGE_STEP years and by GENDERS, (AGE_BINS, 3).
        genders: By gender.
        emotions: By the expression that is most probable.
        labels: The expressions that the pack tells apart.
        clips: The longest clips.
        examples: Rows of faces of photos, drawn by lot for each expression.
        errors: The first files that could not be analysed, with `file` and `error`.
        folder: What the names of all files begin with, up to a slash; None before the first one.
    """

    settings: Row = field(default_factory=dict)
    made: set[tuple[str, str]] = field(default_factory=set)
    first: datetime | None = None
    last: datetime | None = None
    files: Counter[tuple[str, str]] = field(default_factory=Counter)
    faces: int = 0
    people: int = 0
    per_file: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(MANY_FACES + 1, np.int64))
    ages: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((AGE_BINS, len(GENDERS)), np.int64))
    genders: Counter[str] = field(default_factory=Counter)
    emotions: Counter[str] = field(default_factory=Counter)
    labels: list[str] = field(default_factory=list)
    clips: list[Clip] = field(default_factory=list)
    examples: list[Row] = field(default_factory=list)
    errors: list[Row] = field(default_factory=list)
    folder: str | None = None

    def see(self, files: Iterable[str]) -> None:
        """Takes note of where files lie."""
        ends = [end for end in (self.folder, *files) if end is not None]
        if ends:
            # By letters and up to a slash, as URLs and paths may stand side by side.
            self.folder = re.sub(r"[^/\\]*$", "", os.path.commonprefix([min(ends), max(ends)]))  # noqa: RUF071

    def short(self, text: str) -> str:
        """Returns a text without the folder that all files lie in: a report may be shown to others."""
        return text.replace(self.folder, "") if self.folder and self.folder.strip("/\\") else text


def read_figures(table: Path) -> Figures:
    """Adds up the tables of a run.

    Args:
        table: The faces' table; the others are looked for beside it.

    Raises:
        MediaError: If it is not there, cannot be read, or is no table of faces.
    """
    if not table.is_file():
        raise MediaError(f"{table} is no file that is there: choose the table of a run, such as results.parquet.")
    try:
        return _read(TablePaths.of(table))
    except (OSError, pa.ArrowException) as error:
        raise MediaError(
            f"{table}, or a table beside it, is no Parquet file that can be read: write it anew."
        ) from error
    except KeyError as error:
        raise MediaError(
            f"{table} is no table of faces (it has no column {error}): choose one that `faceinsight analyze --table` "
            "or `faceinsight batch` wrote."
        ) from error


def _read(paths: TablePaths) -> Figures:
    figures = Figures(settings_of(paths.faces))
    columns = pq.read_schema(paths.faces).names
    figures.labels = [name[2:].capitalize() for name in columns if name.startswith("p_")][:MOST_LABELS]
    if paths.files.exists():
        _add_files(figures, paths.files)
    if paths.people.exists():
        _add_people(figures, paths.people)
    _add_faces(figures, paths.faces)
    if paths.errors.exists():
        for batch in _batches(paths.errors, ("file", "error")):
            figures.errors += batch.slice(0, MOST_ERRORS - len(figures.errors)).to_pylist()
            if len(figures.errors) == MOST_ERRORS:
                break
    return figures


def _batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        for name in columns:
            if name not in file.schema_arrow.names:
                raise KeyError(name)
        yield from file.iter_batches(_ROWS_AT_ONCE, columns=list(columns))


def _add_files(figures: Figures, path: Path) -> None:
    longest: list[tuple[float, str, int]] = []
    columns = ("file", "kind", "status", "faces", "frames", "duration", "pack", "version", "analysed_at")
    for batch in _batches(path, columns):
        some = {name: batch.column(name) for name in columns}
        figures.see(some["file"].to_pylist())
        kinds, status = (some[name].to_pylist() for name in ("kind", "status"))
        figures.files.update(zip(kinds, status, strict=True))
        faces = [
            n for n, kind in zip(some["faces"].to_pylist(), kinds, strict=True) if n is not None and kind == "photo"
        ]
        figures.per_file += np.bincount(np.clip(faces, 0, MANY_FACES).astype(int), minlength=MANY_FACES + 1)
        clips = zip(*(some[name].to_pylist() for name in ("duration", "file", "frames", "kind", "status")), strict=True)
        lengths = [
            (length or 0.0, file, frames or 0)
            for length, file, frames, kind, how in clips
            if (kind, how) == ("clip", "ok")
        ]
        longest = heapq.nlargest(MOST_CLIPS, [*longest, *lengths])
        figures.made |= set(zip(some["pack"].to_pylist(), some["version"].to_pylist(), strict=True))
        dates = [date for date in some["analysed_at"].to_pylist() if date is not None]
        if dates:
            figures.first = min(filter(None, (figures.first, min(dates))))
            figures.last = max(filter(None, (figures.last, max(dates))))
    figures.clips = [Clip(file, length, frames) for length, file, frames in sorted(longest, key=lambda one: one[1])]


def _add_people(figures: Figures, path: Path) -> None:
    clips = {clip.file: clip for clip in figures.clips}
    columns = ("file", "track_id", "first", "last", "seconds", "age", "age_low", "age_high", "gender", "emotion")
    for batch in _batches(path, columns):
        figures.people += batch.num_rows
        _add_answers(figures, batch)
        for row in batch.to_pylist():
            if (clip := clips.get(row["file"])) is not None:
                clip.count += 1
                clip.people = heapq.nlargest(MOST_PEOPLE, [*clip.people, row], key=lambda person: person["seconds"])


def _add_answers(figures: Figures, batch: pa.RecordBatch) -> None:
    genders = [gender if gender in GENDERS else GENDERS[-1] for gender in batch.column("gender").to_pylist()]
    figures.genders.update(genders)
    figures.emotions.update(emotion for emotion in batch.column("emotion").to_pylist() if emotion is not None)
    ages = _floats(batch, "age")
    known = np.isfinite(ages)
    bins = np.clip(ages[known] // AGE_STEP, 0, AGE_BINS - 1).astype(int)
    np.add.at(figures.ages, (bins, np.array([GENDERS.index(gender) for gender in genders], int)[known]), 1)


def _floats(batch: pa.RecordBatch, name: str) -> Floats:
    """Returns a column of numbers; what is not known is NaN."""
    return np.asarray(batch.column(name).cast(pa.float64()).fill_null(np.nan))


def _add_faces(figures: Figures, path: Path) -> None:
    names = [f"p_{label.lower()}" for label in figures.labels]
    columns = ("file", "kind", "time", "track_id", *_SHOWN, *names)
    for clip in figures.clips:
        clip.begin(len(names))
    lot = np.random.default_rng(0)
    drawn: dict[str | None, list[tuple[float, int, Row]]] = {}
    for batch in _batches(path, columns):
        figures.see(batch.column("file").to_pylist())
        photo = np.array([kind == "photo" for kind in batch.column("kind").to_pylist()], bool)
        photos = batch.filter(pa.array(photo))
        figures.faces += photos.num_rows
        _add_answers(figures, photos)
        _draw_lots(drawn, photos, lot)
        _add_frames(figures, batch.filter(pa.array(~photo)), names)
    figures.examples = [row for label in sorted(drawn, key=str) for _, _, row in drawn[label]]


_SHOWN = ("width", "height", "det_score", "age", "age_low", "age_high", "gender", "emotion", "x1", "y1", "x2", "y2")


def _sides(batch: pa.RecordBatch) -> Floats:
    return np.maximum(*(_floats(batch, f"{axis}2") - _floats(batch, f"{axis}1") for axis in "xy"))


def _draw_lots(drawn: dict[str | None, list[tuple[float, int, Row]]], photos: pa.RecordBatch, lot: Any) -> None:
    """Keeps the faces with the smallest tickets for every expression."""
    tickets = lot.random(photos.num_rows) + (_sides(photos) < EXAMPLE_SIDE)
    emotions = np.array(photos.column("emotion").to_pylist(), object)
    for label in {*emotions} if len(drawn) < MOST_LABELS else drawn.keys() & {*emotions}:
        those = np.flatnonzero((emotions == label) & (tickets < 1))
        some = [
            (float(tickets[index]), int(index), photos.slice(index, 1).to_pylist()[0])
            for index in those[np.argsort(tickets[those])[:EXAMPLES]]
        ]
        drawn[label] = heapq.nsmallest(EXAMPLES, [*drawn.get(label, []), *some], key=lambda one: one[:2])


def _add_frames(figures: Figures, batch: pa.RecordBatch, names: Sequence[str]) -> None:
    files = np.array(batch.column("file").to_pylist(), object)
    if not len(files):
        return
    shares = np.stack([_floats(batch, name) for name in names], axis=1) if names else np.zeros((len(files), 0))
    known = np.isfinite(shares).all(axis=1)
    times = np.nan_to_num(_floats(batch, "time"))
    quality = _sides(batch) * _floats(batch, "det_score")
    tracks = _floats(batch, "track_id")
    for clip in figures.clips:
        here = files == clip.file
        if not here.any():
            continue
        clip.add(times[here & known], shares[here & known])
        for person in clip.people:
            number = person["track_id"]
            those = np.flatnonzero(here & (tracks == number))
            if not len(those):
                continue
            best = those[np.argmax(quality[those])]
            if quality[best] > clip.best.get(number, (-1.0, {}))[0]:
                clip.best[number] = (float(quality[best]), batch.slice(best, 1).to_pylist()[0])
