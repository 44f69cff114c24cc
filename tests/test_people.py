from __future__ import annotations

import json
import re

import pytest

from faceinsight import Classification, ClipOptions, Face, FrameAnalysis, analyze_clip, people_of
from faceinsight.ui.charts import COLUMNS, MAX_CHARTS, emotion_charts
from tests.toy_media import write_clip
from tests.toy_models import toy_picture

LABELS = ("Fear", "Happiness")


def face(number, age=30.0, fear=0.25, answers=True):
    known = {
        "age": age,
        "age_range": (age - 5, age + 10),
        "gender": Classification(("female", "male"), (0.8, 0.2)),
        "emotion": Classification(LABELS, (fear, 1 - fear)),
    }
    return Face((0.0, 0.0, 9.0, 9.0), 0.9, None, track_id=number, **(known if answers else {}))


def frames(*moments):
    return [(time, FrameAnalysis(640, 480, tuple(faces), "toy", ("detector",), (), ())) for time, *faces in moments]


def test_a_person_is_summed_up():
    (one, two) = people_of(
        frames((1.0, face(1, 30, 0.9), face(2)), (1.5, face(1, 34, 0.3)), (2.0,), (2.5, face(1, 90, 0.3), face(None)))
    )
    assert (one.track_id, one.first, one.last, one.seconds) == (1, 1.0, 3.0, 1.5)
    assert (one.age, one.age_range) == (34, (29, 44))
    assert one.gender.label == "female"
    assert one.emotion.as_dict() == pytest.approx({"Fear": 0.5, "Happiness": 0.5})
    assert (two.track_id, two.seconds) == (2, 0.5)
    assert json.loads(json.dumps(one.as_dict()))["emotion_shares"] == {"Fear": 0.5, "Happiness": 0.5}


def test_frames_count_by_their_length():
    (one,) = people_of(frames((0.0, face(1, fear=1.0)), (0.1, face(1, fear=0.0)), (0.2, face(1, fear=0.0)), (1.0,)))
    assert one.emotion.as_dict()["Fear"] == pytest.approx(0.1)


def test_what_is_not_known_is_none():
    assert people_of([]) == ()
    assert people_of(frames((0.0, face(None)))) == ()
    (one,) = people_of(frames((3.0, face(7, answers=False))))
    assert one.as_dict() == {
        "track_id": 7,
        "first": 3.0,
        "last": 3.0,
        "seconds": 0.0,
        **dict.fromkeys(("age", "age_low", "age_high", "gender", "gender_confidence", "emotion", "emotion_shares")),
    }
    assert emotion_charts([one], 0, 4) == ""
    assert emotion_charts([], 0, 4) == ""


def rectangles(chart):
    """Returns {label: {column: (top, height)}} of a chart's paths."""
    found = {}
    for path, label in re.findall(r'<path d="([^"]*)"[^>]*><title>([^<]*)</title>', chart):
        steps = re.findall(r"M(\d+) ([\d.]+)h1v([\d.]+)h-1z", path)
        found[label] = {int(x): (float(top), float(height)) for x, top, height in steps}
    return found


def test_a_chart_stacks_the_shares_and_leaves_absence_empty():
    moments = [(n / 10, face(1, fear=0.25)) if n < 4 or n >= 8 else (n / 10,) for n in range(12)]
    drawn = rectangles(emotion_charts(people_of(frames(*moments)), 0, 1.2))
    fear, joy = drawn["Fear"], drawn["Happiness"]
    assert set(fear) == set(joy)
    assert {column * 12 // COLUMNS for column in fear} == {0, 1, 2, 3, 8, 9, 10, 11}
    assert set(fear.values()) == {(75, 25)}
    assert set(joy.values()) == {(0, 75)}


def test_charts_have_bounds_and_no_foreign_markup():
    many = people_of(frames(*((n / 10, *(face(k) for k in range(1, 15) if n < 2 * k)) for n in range(30))))
    page = emotion_charts(many, 0, 3)
    assert page.count("<svg") == MAX_CHARTS
    assert f"The {MAX_CHARTS} people longest on screen, of 14." in page
    # Numbers 1 and 2 are gone first.
    assert "#3</b>" in page
    assert "#2</b>" not in page
    strange = Face((0, 0, 9, 9), 0.9, None, emotion=Classification(("<b>a", "b"), (0.5, 0.5)), track_id=1)
    assert "<b>a" not in emotion_charts(people_of(frames((0.0, strange), (1.0, strange))), 0, 2)


def test_a_clip_knows_its_people(toy_analyzer, tmp_path):
    pictures = [
        toy_picture({(3, 5): (255, 200, 255), **({(12, 5): (255, 100, 90)} if n > 9 else {})}) for n in range(20)
    ]
    result = analyze_clip(toy_analyzer, write_clip(tmp_path / "c.mp4", pictures), options=ClipOptions(rate=5))
    one, two = result.people()
    assert one.seconds == pytest.approx(2.0)
    # An id comes with the second look.
    assert two.seconds == pytest.approx(1.0, abs=0.41)
    assert (one.age, two.age) == (pytest.approx(78, abs=3), pytest.approx(39, abs=3))
    assert [person["track_id"] for person in result.as_dict()["people"]] == [1, 2]
