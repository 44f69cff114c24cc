"""What is known of many files, a record each, and tables of it: CSV, JSON, JSON Lines or Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from faceinsight.errors import MediaError
from faceinsight.export import BOM, Row, columns_of, csv_pieces, to_json
from faceinsight.writing import write_file

# What is known of a file: `result_head`, then what `analysis_dict` says, or `ClipAnalysis.as_dict`, or an `error`.
# A clip's `rows` may be any sequence that begins anew at every call: they need not be in memory.
Record = dict[str, Any]
Records = Callable[[], Iterable[Record]]


def record_rows(record: Record) -> Iterator[Row]:
    """Yields the rows of a record: one a face (and analysed frame of a clip), led by the file's name.

    A file without a face has one row too, whose `face` is None; one that failed says why in its `error`.
    """
    lead = {"file": record["file"]}
    if "error" in record:
        yield lead | {"face": None, "error": record["error"]}
        return
    empty = True
    for row in _faces(record):
        empty = False
        yield lead | {key: value for key, value in row.items() if key != "kps"}
    if empty:
        yield lead | {"face": None}


def _faces(record: Record) -> Collection[Row]:
    faces: Collection[Row] = record["rows"] if "rows" in record else record.get("faces", [])
    return faces


def write_records(path: Path, records: Records) -> None:
    """Writes a table by the ending of its name, with one record in memory at a time.

    Args:
        path: The file, which appears under its name when it is whole: `.csv` (the rows of `record_rows`), `.json` (a
            list), `.jsonl` (a line a record) or `.parquet` (and the tables beside it, as of `faceinsight.tables`).
        records: Begins with the first record at every call.

    Raises:
        MediaError: If the name has another ending, or the file cannot be written.
    """
    check_format(path)
    if path.suffix.lower() == PARQUET:
        _write_parquet(path, records)
        return
    # A file's name need be no text; by JSON's escapes it comes back as it was.
    pieces = (piece.encode(errors="backslashreplace") for piece in _TEXTS[path.suffix.lower()](records))
    write_file(path, pieces)


def check_format(path: Path) -> None:
    """Raises MediaError unless the ending of a table's name is known."""
    if path.suffix.lower() not in (*_TEXTS, PARQUET):
        known = f"{', '.join(_TEXTS)} or {PARQUET}"
        raise MediaError(f"{path} is no name for a table: choose one that ends with {known}.")


def files_of(table: Path) -> list[Path]:
    """Returns the files that a table of this name consists of."""
    if table.suffix.lower() != PARQUET:
        return [table]
    from faceinsight.tables import TablePaths  # whose library takes a while to import

    paths = TablePaths.of(table)
    return [paths.faces, paths.people, paths.files, paths.errors]


def _csv_file(records: Records) -> Iterator[str]:
    def rows() -> Iterator[Row]:
        return (row for record in records() for row in record_rows(record))

    yield BOM
    yield from csv_pieces(rows(), columns_of(rows()) or ["file", "face"])


def json_pieces(records: Iterable[Record]) -> Iterator[str]:
    """Yields what `to_json` makes of a list, record by record."""
    between = "["
    for record in records:
        yield f"{between}\n  "
        for piece in record_pieces(record, indent=2):
            yield piece.replace("\n", "\n  ")
        between = ","
    yield "[]\n" if between == "[" else "\n]\n"


def record_pieces(record: Record, indent: int | None = 2) -> Iterator[str]:
    """Yields a record as JSON, row by row of a clip; all in one line where there is no indent."""
    if "rows" not in record:
        yield json.dumps(record, ensure_ascii=False, indent=indent)
        return
    head = {key: value for key, value in record.items() if key != "rows"} | {"rows": []}
    before, after = json.dumps(head, ensure_ascii=False, indent=indent).rsplit("[]", 1)
    yield before
    apart = " " if indent is None else "\n" + 2 * indent * " "
    between = "[" if indent is None else f"[{apart}"
    for row in record["rows"]:
        text = json.dumps(row, ensure_ascii=False, indent=indent)
        yield between + text.replace("\n", apart)
        between = f",{apart}"
    yield "[]" if between[0] == "[" else ("]" if indent is None else f"\n{indent * ' '}]")
    yield after


def write_record(path: Path, record: Record) -> None:
    """Writes a record as a JSON file for `read_record`; raises MediaError where it cannot be written."""

    def lines() -> Iterator[str]:
        head = {key: value for key, value in record.items() if key != "rows"}
        if "rows" not in record:
            yield to_json(head)
            return
        yield json.dumps(head, ensure_ascii=False)[:-1] + ', "rows": [\n'
        between = ""
        for row in record["rows"]:
            yield between + json.dumps(row, ensure_ascii=False)
            between = ",\n"
        yield "\n]}\n"

    write_file(path, (line.encode(errors="backslashreplace") for line in lines()))


def read_record(path: Path) -> Record:
    """Reads what `write_record` wrote; a clip's rows stay in the file until they are asked for."""
    with path.open("rb") as file:
        first = file.readline()
        if not first.endswith(_ROWS):
            return dict(json.loads(first + file.read()))
    rows = _StoredRows(path)
    return dict(json.loads(first[: -len(_ROWS)] + b"}")) | {"rows": rows}


_ROWS = b', "rows": [\n'


class _StoredRows(Collection[Row]):
    """The rows of a clip in a file of `write_record`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _lines(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            file.readline()
            for line in file:
                if line.startswith(b"{"):
                    yield line

    def __iter__(self) -> Iterator[Row]:
        for line in self._lines():
            yield json.loads(line.rstrip(b",\n"))

    def __len__(self) -> int:
        return sum(1 for _ in self._lines())

    def __contains__(self, row: object) -> bool:
        return any(row == each for each in self)


_TEXTS: dict[str, Callable[[Records], Iterator[str]]] = {
    ".csv": _csv_file,
    ".json": lambda records: json_pieces(records()),
    ".jsonl": lambda records: (piece for record in records() for piece in chain(record_pieces(record, None), "\n")),
}
PARQUET = ".parquet"


def _write_parquet(path: Path, records: Records) -> None:
    from faceinsight import tables

    labels: dict[str, None] = {}
    settings: dict[str, Any] = {}
    for record in records():
        settings = settings or {key: record[key] for key in _SETTINGS}
        labels |= dict.fromkeys(key[2:] for row in _faces(record) for key in row if key.startswith("p_"))
    paths, emotions = tables.TablePaths.of(path), list(labels)
    for name, schema, rows_of in (
        (paths.people, tables.people_schema(emotions), _people_rows),
        (paths.files, tables.files_schema(), _file_rows),
        (paths.errors, tables.errors_schema(), _error_rows),
        # Last, as the others are looked for beside it.
        (paths.faces, tables.faces_schema(emotions), _face_rows),
    ):
        rows = (row for record in records() for row in rows_of(record))
        tables.write_table(name, schema, tables.batches(rows, schema), settings)


_SETTINGS = ("pack", "pack_hash", "version", "det_threshold", "min_face")


def _lead(record: Record) -> Row:
    """Returns the columns that the rows of a record share."""
    from faceinsight.tables import plain_text

    made = {key: record[key] for key in ("pack", "pack_hash", "version")}
    at = {"analysed_at": datetime.fromisoformat(record["date"])}
    return {"file": plain_text(os.path.abspath(record["file"]))} | made | at


def _face_rows(record: Record) -> Iterator[Row]:
    from faceinsight.tables import KEYPOINTS

    if "error" in record:
        return
    lead = _lead(record) | {key: record[key] for key in ("kind", "width", "height")}
    for row in _faces(record):
        heads = [key for key in row if f"{key}_confidence" in row and key not in ("gender", "emotion")]
        points = zip(KEYPOINTS, row.get("kps") or (), strict=False)
        yield (
            lead
            | row
            | {
                "heads": [(key, {"label": row[key], "confidence": row[f"{key}_confidence"]}) for key in heads],
                **{f"{name}_{axis}": value for name, point in points for axis, value in zip("xy", point, strict=True)},
            }
        )


def _people_rows(record: Record) -> Iterator[Row]:
    for person in record.get("people", []):
        shares = person["emotion_shares"] or {}
        yield _lead(record) | person | {f"share_{label.lower()}": share for label, share in shares.items()}


def _file_rows(record: Record) -> Iterator[Row]:
    failed, clip = "error" in record, "rows" in record
    same = ("kind", "error", "note", "width", "height", "duration", "took", "bytes", "stamp")
    yield (
        _lead(record)
        | {key: record.get(key) for key in same}
        | {
            "status": "error" if failed else "ok",
            "faces": None if failed else len(_faces(record)),
            "people": len(record["people"]) if clip else None,
            "frames": None if failed else record.get("frames", 1),
        }
    )


def _error_rows(record: Record) -> Iterator[Row]:
    if "error" in record:
        yield _lead(record) | {"error": record["error"]}
