"""Makes an archive's tables of its parts and of the tables that are there, a few rows in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from faceinsight.batch.job import Settings
from faceinsight.batch.parts import opened_part, read_columns, rows_in_part, schemas, told_of
from faceinsight.batch.places import Place
from faceinsight.tables import write_stream


def merge(place: Place, tables: Mapping[str, str], parts: Sequence[str], settings: Settings, *, anew: bool) -> None:
    """Makes the tables; each appears when it is whole, the files' table last.

    A file that several parts tell of counts once, by the last of them, and what a table that is there tells of it goes.
    Cut off, it is done again: until the files' table is there, the parts are the truth.

    Args:
        place: Where all of it lies.
        tables: The name of each table's file, the files' table last.
        parts: The parts, those of later runs last.
        settings: What they were made with.
        anew: Whether tables that are there do not count.

    Raises:
        MediaError: If a part or a table is damaged, or a table cannot be written; what was there before stays.
    """
    owners: dict[str, int] = {}
    for number, name in enumerate(parts):
        with opened_part(place, name) as file:
            owners.update((row["file"], number) for row in read_columns(file, ("file",)))
    theirs: list[list[str]] = [[] for _ in parts]
    for key, number in owners.items():
        theirs[number].append(key)
    for table, name in tables.items():
        schema = schemas(settings)[table]

        def rows(table: str = table, name: str = name) -> Iterator[pa.RecordBatch]:
            if not anew:
                yield from _earlier(place, name, list(owners), schemas(settings)[table])
            for part, keys in zip(parts, theirs, strict=True):
                if keys:
                    with opened_part(place, part) as file:
                        yield from rows_in_part(file, table, settings, pa.array(keys, pa.string()))

        def write(
            out: BinaryIO, schema: pa.Schema = schema, rows: Callable[[], Iterator[pa.RecordBatch]] = rows
        ) -> None:
            write_stream(out, schema, rows(), settings.as_dict())

        place.save(name, write)


def _earlier(place: Place, name: str, replaced: Sequence[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yields the rows of a table that is there, but for those of files that were analysed again."""
    file = place.opened(name)
    if file is None:
        return
    with file, told_of(place, name):
        gone = pa.array(replaced, pa.string())
        for batch in pq.ParquetFile(file).iter_batches():
            yield batch.filter(pc.invert(pc.is_in(batch["file"], value_set=gone))).cast(schema)
