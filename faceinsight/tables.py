"""The tables of many files: typed, documented columns, written as Parquet.

Four tables stand side by side. `results.parquet` has a row a face, and in a clip a row a face and analysed frame;
`results-people.parquet` a row a person of a clip, `results-files.parquet` a row a file, with or without faces, analysed
or not, and `results-errors.parquet` a row a file that could not be analysed. Columns that `face_row` of export.py and
`Person.as_dict` have too bear the same names there, and hold the same values.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from faceinsight.export import Row, face_row
from faceinsight.people import Person
from faceinsight.results import FrameAnalysis
from faceinsight.writing import beside, write_error

# Under this key the metadata of every table holds the settings it was made with, as JSON.
SETTINGS_KEY = b"faceinsight"
KINDS = ("photo", "clip")
KEYPOINTS = {
    "left_eye": "left eye",
    "right_eye": "right eye",
    "nose": "tip of the nose",
    "left_mouth": "left corner of the mouth",
    "right_mouth": "right corner of the mouth",
}
# As many rows are in memory at once, and make a row group of a file.
ROWS_AT_ONCE = 20_000

_HEAD = pa.struct([("label", pa.string()), ("confidence", pa.float32())])


def _column(name: str, kind: pa.DataType, about: str, *, always: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=not always, metadata={"about": about})


_FILE = _column("file", pa.string(), "The file: its absolute path, or its URL.", always=True)
_KIND = _column("kind", pa.string(), "`photo` or `clip`.", always=True)
_MADE = (
    _column("pack", pa.string(), "Name of the model pack.", always=True),
    _column("pack_hash", pa.string(), "sha256 over the sha256 sums of the pack's files.", always=True),
    _column("version", pa.string(), "Version of FaceInsight.", always=True),
    _column("analysed_at", pa.timestamp("ms", "UTC"), "When the file was analysed.", always=True),
)
_ANSWERS = (
    _column("age", pa.float32(), "Apparent age in years."),
    _column("age_low", pa.float32(), "10th percentile of the predicted age in years."),
    _column("age_high", pa.float32(), "90th percentile of the predicted age in years."),
    _column("gender", pa.string(), "Gender presentation: `female` or `male`."),
    _column("gender_confidence", pa.float32(), "Probability of `gender`, 0 to 1."),
    _column("emotion", pa.string(), "The most probable facial expression, a label of the pack."),
)


def faces_schema(emotions: Sequence[str] = ()) -> pa.Schema:
    """Returns the columns of the faces' table.

    Args:
        emotions: The labels of the pack's emotion model; none where it has none.
    """
    points = [
        _column(f"{name}_{axis}", pa.float32(), f"{axis} of the {about} in pixels, as seen in the picture.")
        for name, about in KEYPOINTS.items()
        for axis in "xy"
    ]
    edges = [
        _column(name, pa.float32(), f"{about} edge of the box in pixels of the picture.", always=True)
        for name, about in (("x1", "Left"), ("y1", "Upper"), ("x2", "Right"), ("y2", "Lower"))
    ]
    return pa.schema(
        [
            _FILE,
            _KIND,
            _column("time", pa.float64(), "Of a clip: seconds from its beginning."),
            _column("width", pa.int32(), "Width of the analysed picture in pixels.", always=True),
            _column("height", pa.int32(), "Height of the analysed picture in pixels.", always=True),
            _column("face", pa.int32(), "The face's number in its picture, from 1, in reading order.", always=True),
            _column("track_id", pa.int32(), "Of a clip: the person's number, from 1; null for who was seen too short."),
            *edges,
            *points,
            _column("det_score", pa.float32(), "The detector's confidence, 0 to 1.", always=True),
            *_ANSWERS,
            _column("emotion_confidence", pa.float32(), "Probability of `emotion`, 0 to 1."),
            *(
                _column(f"p_{label.lower()}", pa.float32(), f"Probability of the expression {label}, 0 to 1.")
                for label in emotions
            ),
            _column("valence", pa.float32(), "How pleasant the expression looks, about -1 to 1."),
            _column("arousal", pa.float32(), "How excited the expression looks, about -1 to 1."),
            _column("heads", pa.map_(pa.string(), _HEAD), "Answers of the pack's further classifiers, by their names."),
            *_MADE,
        ]
    )


def people_schema(emotions: Sequence[str] = ()) -> pa.Schema:
    """Returns the columns of the table of people in clips; `emotions` as of `faces_schema`."""
    return pa.schema(
        [
            _FILE,
            _column("track_id", pa.int32(), "The person's number in the clip, from 1.", always=True),
            _column("first", pa.float64(), "Second of the clip at which the person is first seen.", always=True),
            _column("last", pa.float64(), "Second of the clip at which the person is last seen.", always=True),
            _column("seconds", pa.float64(), "Seconds on screen.", always=True),
            *_ANSWERS,
            *(
                _column(f"share_{label.lower()}", pa.float32(), f"Share of the time that reads as {label}, 0 to 1.")
                for label in emotions
            ),
            *_MADE,
        ]
    )


def files_schema() -> pa.Schema:
    """Returns the columns of the files' table."""
    return pa.schema(
        [
            _FILE,
            _KIND,
            _column("status", pa.string(), "`ok`, or `error` where it could not be analysed.", always=True),
            _column("error", pa.string(), "One sentence about why it could not be."),
            _column("note", pa.string(), "One sentence about what was left out, such as further pages."),
            _column("faces", pa.int32(), "Its rows in the faces' table; null where it could not be analysed."),
            _column("people", pa.int32(), "Of a clip: its rows in the table of people."),
            _column("frames", pa.int32(), "Analysed pictures: 1 for a photo."),
            _column("width", pa.int32(), "Width of the analysed picture in pixels."),
            _column("height", pa.int32(), "Height of the analysed picture in pixels."),
            _column("duration", pa.float64(), "Of a clip: its length in seconds."),
            _column("took", pa.float32(), "Seconds that its analysis took.", always=True),
            _column("bytes", pa.int64(), "Size of the file; null where a server does not say."),
            _column("stamp", pa.string(), "Changes with the file: its time of change in nanoseconds, or its ETag."),
            *_MADE,
        ]
    )


def errors_schema() -> pa.Schema:
    """Returns the columns of the errors' table."""
    return pa.schema(
        [_FILE, _column("error", pa.string(), "One sentence: what happened, and what to do.", always=True)]
    )


@dataclass(frozen=True, slots=True)
class TablePaths:
    """Where the four tables of one run lie.

    Attributes:
        faces: The name that was asked for.
        people: Beside it, and so are the others.
        files: A row a file.
        errors: A row a file that could not be analysed.
    """

    faces: Path
    people: Path
    files: Path
    errors: Path

    @classmethod
    def of(cls, path: Path) -> TablePaths:
        """Returns the paths by that of the faces' table, such as results.parquet."""
        people, files, errors = (
            path.with_name(f"{path.stem}-{name}{path.suffix}") for name in ("people", "files", "errors")
        )
        return cls(path, people, files, errors)


@dataclass(frozen=True, slots=True)
class Made:
    """What rows were made with.

    Attributes:
        pack: Name of the model pack.
        pack_hash: As `pack_hash` of packs.
        version: Version of FaceInsight.
        analysed_at: When.
    """

    pack: str
    pack_hash: str
    version: str
    analysed_at: datetime

    @classmethod
    def now(cls, pack: str, pack_hash: str) -> Made:
        """Returns it for what is analysed now, by this version."""
        from faceinsight import __version__

        return cls(pack, pack_hash, __version__, datetime.now(UTC))

    def columns(self) -> Row:
        """Returns the columns that all tables end with."""
        return {name: getattr(self, name) for name in ("pack", "pack_hash", "version", "analysed_at")}


def plain_text(name: str) -> str:
    """Returns a file's name as Unicode: bytes that are none, which Python keeps as surrogates, become backslashed."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def face_rows(file: str, analysis: FrameAnalysis, made: Made, time: float | None = None) -> list[Row]:
    """Returns the rows of one picture for the faces' table.

    Args:
        file: What to call the file.
        analysis: What was found.
        made: What it was found with.
        time: Of a clip's frame: seconds from the beginning; None for a photo.
    """
    head: Row = {
        "file": plain_text(file),
        "kind": KINDS[time is not None],
        "time": None if time is None else round(time, 3),
        "width": analysis.width,
        "height": analysis.height,
    }
    tail = made.columns()
    rows = []
    for number, face in enumerate(analysis.faces, start=1):
        row = head | face_row(replace(face, heads=()), number) | tail
        for name, point in zip(KEYPOINTS, face.kps or (), strict=bool(face.kps)):
            row |= {f"{name}_x": round(point[0], 1), f"{name}_y": round(point[1], 1)}
        row["heads"] = [
            (name, {"label": answer.label, "confidence": round(answer.confidence, 4)}) for name, answer in face.heads
        ]
        rows.append(row)
    return rows


def people_rows(file: str, people: Iterable[Person], made: Made) -> list[Row]:
    """Returns the rows of one clip for the table of people."""
    rows = []
    for person in people:
        values = person.as_dict()
        shares = values.pop("emotion_shares") or {}
        rows.append(
            {"file": plain_text(file)}
            | values
            | {f"share_{label.lower()}": share for label, share in shares.items()}
            | made.columns()
        )
    return rows


def batches(rows: Iterable[Row], schema: pa.Schema, size: int = ROWS_AT_ONCE) -> Iterator[pa.RecordBatch]:
    """Yields rows as record batches of at most `size` rows; what a row lacks is null."""
    coming = iter(rows)
    while some := list(islice(coming, size)):
        yield pa.RecordBatch.from_pylist(some, schema=schema)


def write_table(
    path: Path, schema: pa.Schema, parts: Iterable[pa.RecordBatch], settings: Mapping[str, Any] | None = None
) -> int:
    """Writes a Parquet file as a stream; it appears under its name when it is whole.

    Args:
        path: The file; one that is there is replaced.
        schema: Its columns.
        parts: Its rows, in their order.
        settings: What it was made with, for the file's metadata.

    Returns:
        How many rows it has.

    Raises:
        MediaError: If it cannot be written; what was there before stays.
    """
    try:
        with beside(path) as part, part.open("wb") as out:
            return write_stream(out, schema, parts, settings)
    except OSError as error:
        raise write_error(error, str(path)) from error


def write_stream(
    out: Any, schema: pa.Schema, parts: Iterable[pa.RecordBatch], settings: Mapping[str, Any] | None = None
) -> int:
    """Does what `write_table` does, into an open binary file."""
    if settings is not None:
        schema = schema.with_metadata({SETTINGS_KEY: json.dumps(settings)})
    count, waiting, rows = 0, [], 0
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for part in parts:
            waiting.append(part)
            rows += part.num_rows
            if rows >= ROWS_AT_ONCE:
                writer.write_table(pa.Table.from_batches(waiting, schema))
                count, waiting, rows = count + rows, [], 0
        if rows:
            writer.write_table(pa.Table.from_batches(waiting, schema))
    return count + rows


def settings_of(path: Path | BinaryIO) -> dict[str, Any]:
    """Returns the settings that a table was made with; empty where it does not say."""
    text = (pq.read_schema(path).metadata or {}).get(SETTINGS_KEY)
    return dict(json.loads(text)) if text else {}


def describe() -> str:
    """Returns what stands in docs/tables.md: every column of all tables, those of emotions for a label LABEL."""
    tables = {
        "results.parquet": faces_schema(["LABEL"]),
        "results-people.parquet": people_schema(["LABEL"]),
        "results-files.parquet": files_schema(),
        "results-errors.parquet": errors_schema(),
    }
    title, _, text = (__doc__ or "").partition("\n")
    lines = [f"# {title.rstrip('.')}", text.rstrip(), "", _HOW, ""]
    for name, schema in tables.items():
        lines += [f"## {name}", "", "| column | type | null | what |", "| --- | --- | --- | --- |"]
        for column in schema:
            about = column.metadata[b"about"].decode()
            null = "yes" if column.nullable else "no"
            lines.append(f"| `{column.name}` | {_type_name(column.type)} | {null} | {about} |")
        lines.append("")
    return "\n".join(lines)


_HOW = """A photo without a face has no row in the faces' table and one in the files' table, with 0 `faces`: each count
is one line, here in DuckDB.

```sql
select count(*) from 'results.parquet';                                        -- faces
select count(*) from 'results-files.parquet' where faces = 0;                  -- files without a face
select file, error from 'results-errors.parquet';                              -- files that could not be analysed
select f.file, count(x.file) from 'results-files.parquet' f left join 'results.parquet' x using (file) group by 1;
```

The metadata of each file holds under `faceinsight` what it was made with, as JSON: the pack, the detection threshold
and the other settings. This page is made by `python -m faceinsight.tables`."""


def _type_name(kind: pa.DataType) -> str:
    if pa.types.is_map(kind):
        return "map of name to (label string, confidence float)"
    return str(kind)


if __name__ == "__main__":
    print(describe())
