from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

from faceinsight import Classification, Face, FrameAnalysis, analysis_dict, rows_of, to_csv, to_json
from faceinsight.export import csv_bytes

EMOTION = Classification(("Anger", "Happiness"), (0.25, 0.75))
FULL = Face(
    (1.04, 2.0, 3.0, 4.0),
    0.912345,
    kps=((1.0, 2.0),) * 5,
    age=33.333,
    age_range=(28.0, 40.0),
    gender=Classification(("female", "male"), (0.4, 0.6)),
    emotion=EMOTION,
    valence=0.5,
    arousal=-0.25,
    heads=(("glasses", Classification(("no", "yes"), (0.9, 0.1))),),
)
BARE = Face((5.0, 6.0, 7.0, 8.0), 0.5)


def analysis(*faces: Face) -> FrameAnalysis:
    return FrameAnalysis(20, 10, faces, "toy", ("detector",), (("emotion", "why"),), (("detector", 1.239),))


def test_a_row_says_all():
    (row,) = rows_of(analysis(FULL), file="a.jpg")
    assert row == {
        "file": "a.jpg",
        "face": 1,
        "age": 33.3,
        "age_low": 28.0,
        "age_high": 40.0,
        "gender": "male",
        "gender_confidence": 0.6,
        "emotion": "Happiness",
        "emotion_confidence": 0.75,
        "det_score": 0.9123,
        "x1": 1.0,
        "y1": 2.0,
        "x2": 3.0,
        "y2": 4.0,
        "p_anger": 0.25,
        "p_happiness": 0.75,
        "valence": 0.5,
        "arousal": -0.25,
        "glasses": "no",
        "glasses_confidence": 0.9,
    }


def test_csv_is_read_back_and_unknown_is_empty():
    text = to_csv(rows_of(analysis(BARE, FULL), file='odd, "name".jpg'))
    first, second = csv.DictReader(io.StringIO(text))
    assert first["file"] == 'odd, "name".jpg'
    assert (first["face"], first["age"], first["p_anger"]) == ("1", "", "")
    assert (second["face"], second["age"], second["p_anger"]) == ("2", "33.3", "0.25")


def test_a_stream_adds_the_id():
    (row,) = rows_of(analysis(replace(FULL, track_id=7, raw=BARE)), file="a.mp4")
    assert list(row)[:4] == ["file", "face", "track_id", "age"]
    assert row["track_id"] == 7
    # Without an id yet the column is there all the same: a table's columns do not depend on its first row.
    assert rows_of(analysis(replace(FULL, raw=BARE)))[0]["track_id"] is None


def test_csv_without_faces_has_a_header():
    assert to_csv([], ("file", "face")) == "file,face\r\n"


def test_no_cell_is_a_formula():
    text = to_csv([{"file": "=cmd()", "face": -1}])
    assert text == "file,face\r\n'=cmd(),-1\r\n"


def test_excel_knows_the_encoding():
    assert csv_bytes([{"file": "Zoë.jpg"}]) == b"\xef\xbb\xbffile\r\nZo\xc3\xab.jpg\r\n"


def test_json_keeps_everything():
    record = json.loads(to_json(analysis_dict(analysis(FULL, BARE))))
    assert record["missing"] == {"emotion": "why"}
    assert record["timings_ms"] == {"detector": 1.24}
    assert record["faces"][0]["kps"] == [[1.0, 2.0]] * 5
    assert record["faces"][1]["kps"] is None
    assert record["faces"][1]["age"] is None
