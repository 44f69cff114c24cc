"""What is known of many files, a record each, and tables of it: CSV, JSON, JSON Lines or Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from faceinsight.errors import MediaError
from faceinsight.export import BOM, Row, columns_of, csv_pieces, to_json
from faceinsight.writing import write_file

# What is known of a file: `result_head`, then what `analysis_dict` says, or `ClipAnalysis.as_dict`, or an `error`.
Record = dict[str, Any]
Records = Callable[[], Iterable[Record]]


def record_rows(record: Record) -> list[Row]:
    """Returns the rows of a record: one a face (and analysed frame of a clip), led by the file's name.

    A file without a face has one row too, whose `face` is None; one that failed says why in its `error`.
    """
    lead = {"file": record["file"]}
    if "error" in record:
        return [lead | {"face": None, "error": record["error"]}]
    faces = _faces(record)
    return [lead | {key: value for key, value in row.items() if key != "kps"} for row in faces] or [
        lead | {"face": None}
    ]


def _faces(record: Record) -> list[Row]:
    faces: list[Row] = record["rows"] if "rows" in record else record.get("faces", [])
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
        yield f"{between}\n{to_json(record).rstrip()}".replace("\n", "\n  ")
        between = ","
    yield "[]\n" if between == "[" else "\n]\n"


_TEXTS: dict[str, Callable[[Records], Iterator[str]]] = {
    ".csv": _csv_file,
    ".json": lambda records: json_pieces(records()),
    ".jsonl": lambda records: (json.dumps(record, ensure_ascii=False) + "\n" for record in records()),
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
    same = ("kind", "error", "note", "width", "height", "duration", "took")
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
