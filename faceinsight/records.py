"""What is known of many files, a record each, and tables of it: CSV, JSON, JSON Lines or Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
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
    faces = record["rows"] if "rows" in record else record["faces"]
    return [lead | {key: value for key, value in row.items() if key != "kps"} for row in faces] or [
        lead | {"face": None}
    ]


def write_records(path: Path, records: Records) -> None:
    """Writes a table by the ending of its name, with one record in memory at a time.

    Args:
        path: The file, which appears under its name when it is whole: `.csv` (the rows of `record_rows`), `.json` (a
            list) or `.jsonl` (a line a record).
        records: Begins with the first record at every call.

    Raises:
        MediaError: If the name has another ending, or the file cannot be written.
    """
    check_format(path)
    # A file's name need be no text; by JSON's escapes it comes back as it was.
    pieces = (piece.encode(errors="backslashreplace") for piece in _WRITERS[path.suffix.lower()](records))
    write_file(path, pieces)


def check_format(path: Path) -> None:
    """Raises MediaError unless the ending of a table's name is known."""
    if path.suffix.lower() not in _WRITERS:
        *others, last = _WRITERS
        raise MediaError(f"{path} is no name for a table: choose one that ends with {', '.join(others)} or {last}.")


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


_WRITERS: dict[str, Callable[[Records], Iterator[str]]] = {
    ".csv": _csv_file,
    ".json": lambda records: json_pieces(records()),
    ".jsonl": lambda records: (json.dumps(record, ensure_ascii=False) + "\n" for record in records()),
}
