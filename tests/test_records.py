from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from faceinsight import to_json
from faceinsight.errors import MediaError
from faceinsight.export import result_head
from faceinsight.records import files_of, json_pieces, record_rows, write_records
from faceinsight.tables import settings_of


def record(file: str, **more: object) -> dict:
    return result_head(file, "toy", "00ff", 0.5, 0) | {"kind": "photo", "took": 0.25} | more


FACE = {"age": 31.0, "x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0, "det_score": 0.9, "emotion": "Joy", "p_joy": 0.75}
PERSON = {"track_id": 1, "first": 0.1, "last": 0.2, "seconds": 0.1, "emotion": "Joy", "emotion_shares": {"Joy": 0.75}}
SIZE = {"width": 20, "height": 10}
RECORDS = [
    record("bad.jpg", error="bad.jpg is empty: choose another file."),
    record("none.jpg", **SIZE, faces=[]),
    record("two\u2028Zoë.jpg", **SIZE, faces=[{"face": n} | FACE | {"kps": [[n, 2]] * 5} for n in (1, 2)]),
    record(
        "clip.mp4",
        kind="clip",
        **SIZE,
        frames=1,
        duration=0.1,
        people=[PERSON],
        rows=[
            {"time": 0.1, "face": 1, "track_id": 1} | FACE | {"age": None, "glasses": "no", "glasses_confidence": 0.5}
        ],
    ),
]


def test_every_file_has_a_row():
    rows = [row for one in RECORDS for row in record_rows(one)]
    assert [(row["file"], row["face"]) for row in rows] == [
        ("bad.jpg", None),
        ("none.jpg", None),
        ("two\u2028Zoë.jpg", 1),
        ("two\u2028Zoë.jpg", 2),
        ("clip.mp4", 1),
    ]
    assert rows[0]["error"].startswith("bad.jpg is empty")
    assert "kps" not in rows[2]


def test_csv_opens_in_a_spreadsheet_and_lacks_no_file(tmp_path):
    write_records(tmp_path / "faces.csv", lambda: RECORDS)
    content = (tmp_path / "faces.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbffile,time,face,")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert [row["file"] for row in rows] == ["bad.jpg", "none.jpg", *["two\u2028Zoë.jpg"] * 2, "clip.mp4"]
    assert [row["age"] for row in rows] == ["", "", "31.0", "31.0", ""]
    assert list(rows[0])[-1] == "error"
    assert [bool(row["error"]) for row in rows] == [True, False, False, False, False]


def test_json_is_a_list_and_json_lines_a_line_a_file(tmp_path):
    assert "".join(json_pieces(RECORDS)) == to_json(RECORDS)
    assert "".join(json_pieces([])) == to_json([])
    for name in ("faces.json", "faces.JSONL"):
        write_records(tmp_path / name, lambda: RECORDS)
    assert json.loads((tmp_path / "faces.json").read_bytes()) == RECORDS
    lines = (tmp_path / "faces.JSONL").read_text().split("\n")
    assert [json.loads(line) for line in lines[:-1]] == RECORDS
    assert lines[-1] == ""


def test_parquet_has_the_four_tables(tmp_path):
    path = tmp_path / "faces.parquet"
    write_records(path, lambda: RECORDS)
    faces, people, files, errors = (pq.read_table(name).to_pylist() for name in files_of(path))
    names = [str(Path(one["file"]).absolute()) for one in RECORDS]
    assert [(row["file"], row["kind"], row["time"], row["face"]) for row in faces] == [
        (names[2], "photo", None, 1),
        (names[2], "photo", None, 2),
        (names[3], "clip", 0.1, 1),
    ]
    assert [row["p_joy"] for row in faces] == [0.75] * 3
    assert [row["right_eye_x"] for row in faces] == [1, 2, None]
    assert faces[2]["heads"] == [("glasses", {"label": "no", "confidence": 0.5})]
    assert [(row["file"], row["track_id"], row["share_joy"]) for row in people] == [(names[3], 1, 0.75)]
    assert [(row["status"], row["faces"], row["people"], row["frames"]) for row in files] == [
        ("error", None, None, None),
        ("ok", 0, None, 1),
        ("ok", 2, None, 1),
        ("ok", 1, 1, 1),
    ]
    assert errors == [{"file": names[0], "error": RECORDS[0]["error"]}]
    assert all(row["pack_hash"] == "00ff" and row["analysed_at"].tzinfo for row in (*faces, *people, *files))
    assert settings_of(path)["det_threshold"] == 0.5


def test_a_name_that_is_no_text_comes_back(tmp_path):
    odd = b"\xff.jpg".decode(errors="surrogateescape")
    for name in ("faces.json", "faces.jsonl", "faces.csv", "faces.parquet"):
        write_records(tmp_path / name, lambda: [record(odd, **SIZE, faces=[])])
    assert json.loads((tmp_path / "faces.json").read_bytes())[0]["file"] == odd
    assert json.loads((tmp_path / "faces.jsonl").read_bytes())["file"] == odd
    assert "\\udcff.jpg" in (tmp_path / "faces.csv").read_text()
    assert pq.read_table(tmp_path / "faces-files.parquet")["file"][0].as_py().endswith("/\\xff.jpg")


def test_no_table_is_written_under_a_name_of_another_kind(tmp_path):
    with pytest.raises(MediaError, match=r"faces\.xlsx is no name for a table: choose one that ends with \.csv, "):
        write_records(tmp_path / "faces.xlsx", lambda: RECORDS)
    assert not list(tmp_path.glob("*faces*"))


def test_what_fails_half_way_leaves_the_old_table(tmp_path):
    path = tmp_path / "faces.jsonl"
    path.write_text("old")

    def breaks():
        yield RECORDS[0]
        raise MediaError("a record cannot be read")

    with pytest.raises(MediaError, match="a record"):
        write_records(path, breaks)
    assert path.read_text() == "old"
    assert {p.name for p in tmp_path.iterdir()} == {"home", "faces.jsonl"}
