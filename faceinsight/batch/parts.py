"""The parts of an archive's tables: a Parquet file a finished shard, with a row a file and its faces and people within.

So a shard is finished or not with one file, whatever dies, and on whichever machine. The tables are made of the parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from faceinsight.batch.job import Settings
from faceinsight.batch.places import Place
from faceinsight.errors import FaceInsightError, MediaError
from faceinsight.export import Row
from faceinsight.media.source import reason
from faceinsight.tables import errors_schema, faces_schema, files_schema, people_schema, write_stream

# Names of a table's rows within a part.
NESTED = {"faces": "rows_of_faces", "people": "rows_of_people"}
SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of a file.

    Attributes:
        row: Its row of the files' table.
        faces: Its rows of the faces' table.
        people: Its rows of the table of people.
    """

    row: Row
    faces: Sequence[pa.RecordBatch] = ()
    people: Sequence[pa.RecordBatch] = ()


def schemas(settings: Settings) -> dict[str, pa.Schema]:
    """Returns the schema of each of the four tables by its name."""
    return {
        "faces": faces_schema(settings.emotions),
        "people": people_schema(settings.emotions),
        "files": files_schema(),
        "errors": errors_schema(),
    }


def _part_schema(settings: Settings) -> pa.Schema:
    tables = {name: _bare(schema) for name, schema in schemas(settings).items()}
    nested = [pa.field(NESTED[name], pa.list_(pa.struct(list(tables[name]))), nullable=False) for name in NESTED]
    return pa.schema([*tables["files"], *nested])


def _bare(schema: pa.Schema) -> pa.Schema:
    """Returns a schema without what is told of its columns: for a part, that is more than what is in it."""
    return pa.schema([column.remove_metadata() for column in schema])


def write_part(place: Place, name: str, entries: Sequence[Entry], settings: Settings) -> None:
    """Writes a part; raises MediaError where it cannot be."""
    tables = schemas(settings)
    schema = _part_schema(settings)
    files = pa.RecordBatch.from_pylist([entry.row for entry in entries], schema=tables["files"])
    lists = [
        _nested([entry.faces for entry in entries], _bare(tables["faces"])),
        _nested([entry.people for entry in entries], _bare(tables["people"])),
    ]
    batch = pa.RecordBatch.from_arrays([*files.columns, *lists], schema=schema)
    place.save(name + SUFFIX, lambda out: write_stream(out, schema, [batch], settings.as_dict()))


def _nested(rows: Sequence[Sequence[pa.RecordBatch]], schema: pa.Schema) -> pa.ListArray:
    """Returns a list a file of its rows, as structs."""
    offsets = [0]
    structs = []
    for batches in rows:
        structs += [pa.StructArray.from_arrays(batch.columns, fields=list(schema)) for batch in batches]
        offsets.append(offsets[-1] + sum(batch.num_rows for batch in batches))
    kind = pa.struct(list(schema))
    values = pa.concat_arrays(structs) if structs else pa.array([], kind)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=pa.list_(kind))


@contextmanager
def told_of(place: Place, name: str) -> Iterator[None]:
    """Makes one sentence of whatever reading a damaged part, table or note in a block leads to."""
    try:
        yield
    except FaceInsightError:
        raise
    except Exception as error:
        own = name.endswith(SUFFIX) and "/" in name
        remedy = "remove it and run the same command again" if own else "begin anew with --overwrite"
        raise MediaError(f"{place.shown(name)} is damaged ({reason(error)}): {remedy}.") from error


@contextmanager
def opened_part(place: Place, name: str) -> Iterator[BinaryIO]:
    """Opens a part, or a table, that is there; raises MediaError where it is not, or is damaged."""
    file = place.opened(name)
    if file is None:
        raise MediaError(f"{place.shown(name)} is gone: run the same command again.")
    with file, told_of(place, name):
        yield file


def read_columns(file: BinaryIO, columns: Sequence[str]) -> Iterator[Row]:
    """Yields these columns of a Parquet file, row by row."""
    for batch in pq.ParquetFile(file).iter_batches(columns=list(columns)):
        yield from batch.to_pylist()


def rows_in_part(file: BinaryIO, table: str, settings: Settings, keys: Any) -> Iterator[pa.RecordBatch]:
    """Yields the rows that a part has for a table.

    Args:
        file: The part.
        table: "faces", "people", "files" or "errors".
        settings: What it was made with.
        keys: The files whose rows are wanted, a pyarrow array.
    """
    schema = schemas(settings)[table]
    column = NESTED.get(table)
    wanted = ["file", column] if column else schema.names
    for batch in pq.ParquetFile(file).iter_batches(columns=wanted):
        kept = batch.filter(pc.is_in(batch["file"], value_set=keys))
        if column:
            rows = pc.list_flatten(kept[column])
            yield pa.RecordBatch.from_arrays(rows.flatten(), schema=schema)
        else:
            yield only_errors(kept) if table == "errors" else kept.cast(schema)


def only_errors(files: pa.RecordBatch) -> pa.RecordBatch:
    """Returns the rows of the errors' table that rows of the files' table stand for."""
    schema = errors_schema()
    failed = files.filter(pc.is_valid(files["error"]))
    return failed.select(schema.names).cast(schema)
