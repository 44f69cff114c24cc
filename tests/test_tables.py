from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceinsight import Moment, Person, rows_of
from faceinsight.errors import MediaError
from faceinsight.tables import (
    KEYPOINTS,
    Made,
    TablePaths,
    batches,
    describe,
    face_rows,
    faces_schema,
    people_rows,
    people_schema,
    plain_text,
    settings_of,
    write_table,
)
from tests.conftest import ROOT
from tests.test_export import BARE, EMOTION, FULL, analysis

MADE = Made("toy", "ab" * 32, "1.2.3", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def test_the_page_about_the_tables_is_the_tables():
    text = (ROOT / "docs" / "tables.md").read_text()
    assert text == describe() + "\n", "run `python -m faceinsight.tables > docs/tables.md`"


@pytest.mark.parametrize("schema", [faces_schema(EMOTION.labels), people_schema(EMOTION.labels)])
def test_every_column_is_typed_and_described(schema):
    assert all(len(column.metadata[b"about"]) > 10 for column in schema)
    assert not any(pa.types.is_null(column.type) for column in schema)


def test_a_face_is_read_back_with_the_values_of_the_other_formats(tmp_path):
    path = tmp_path / "faces.parquet"
    schema = faces_schema(EMOTION.labels)
    found = analysis(BARE, FULL)
    settings = {"pack": "toy", "det_threshold": 0.5}
    assert write_table(path, schema, batches(face_rows("a.jpg", found, MADE), schema), settings) == 2
    assert settings_of(path) == settings
    table = pq.read_table(path)
    assert table.schema.equals(schema)
    bare, full = table.to_pylist()
    for row, expected in zip((bare, full), rows_of(analysis(BARE, replace(FULL, heads=()))), strict=True):
        assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert full | MADE.columns() == full
    assert (full["file"], full["kind"], full["time"], full["width"], full["height"]) == ("a.jpg", "photo", None, 20, 10)
    assert dict(full["heads"]) == {"glasses": {"label": "no", "confidence": pytest.approx(0.9)}}
    assert [full[f"{name}_{axis}"] for name in KEYPOINTS for axis in "xy"] == [1.0, 2.0] * 5
    unknown = {name for name, value in bare.items() if value is None}
    assert unknown >= {"time", "track_id", "age", "gender", "emotion", "p_anger", "valence", "nose_x"}


def test_every_column_of_a_row_is_one_of_the_table():
    for row in face_rows("a.mp4", analysis(FULL), MADE, 1.25):
        assert set(row) <= set(faces_schema(EMOTION.labels).names)
        assert (row["kind"], row["time"]) == ("clip", 1.25)
    person = Person(3, (Moment(1.0, 0.5, FULL), Moment(2.0, 0.5, FULL)))
    (row,) = people_rows("a.mp4", [person], MADE)
    assert set(row) == set(people_schema(EMOTION.labels).names)
    assert (row["track_id"], row["first"], row["last"], row["seconds"], row["share_happiness"]) == (3, 1, 2.5, 1, 0.75)


def test_a_name_that_is_no_unicode_can_be_written(tmp_path):
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    assert plain_text(name) == r"caf\xe9.jpg"
    assert plain_text("café.jpg") == "café.jpg"
    schema = faces_schema()
    write_table(tmp_path / "f.parquet", schema, batches(face_rows(name, analysis(BARE), MADE), schema))


def test_a_table_that_breaks_off_is_not_there(tmp_path):
    path = tmp_path / "faces.parquet"
    path.write_bytes(b"old")
    schema = faces_schema()

    def broken():
        yield from batches(face_rows("a.jpg", analysis(BARE), MADE), schema)
        raise MediaError("it broke off")

    with pytest.raises(MediaError, match="broke off"):
        write_table(path, schema, broken())
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["faces.parquet"]
    assert path.read_bytes() == b"old"


def test_rows_are_written_in_groups(tmp_path):
    schema = faces_schema()
    rows = (row for _ in range(50) for row in face_rows("a.jpg", analysis(BARE), MADE))
    parts = batches(rows, schema, 8)
    assert write_table(tmp_path / "f.parquet", schema, parts) == 50
    assert pq.read_metadata(tmp_path / "f.parquet").num_rows == 50


def test_the_tables_stand_side_by_side(tmp_path):
    paths = TablePaths.of(tmp_path / "results.parquet")
    assert [p.name for p in (paths.faces, paths.people, paths.files, paths.errors)] == [
        "results.parquet",
        "results-people.parquet",
        "results-files.parquet",
        "results-errors.parquet",
    ]
