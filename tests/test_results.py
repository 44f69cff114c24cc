from __future__ import annotations

import dataclasses
import pickle

import pytest

from faceinsight import Classification, Face, FrameAnalysis
from faceinsight.results import reading_order


def test_classification_names_its_most_probable_class():
    answer = Classification(("a", "b", "c"), (0.2, 0.5, 0.3))
    assert (answer.label, answer.confidence) == ("b", 0.5)
    assert answer.as_dict() == {"a": 0.2, "b": 0.5, "c": 0.3}


def test_results_are_immutable_comparable_and_travel():
    face = Face((1, 2, 11, 32), 0.9, gender=Classification(("female", "male"), (0.7, 0.3)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        face.age = 3
    assert pickle.loads(pickle.dumps(face)) == face
    assert hash(face) == hash(dataclasses.replace(face))
    assert (face.width, face.height) == (10, 30)


def test_the_largest_face_is_found_by_area():
    faces = (Face((0, 0, 10, 10), 0.9), Face((0, 0, 20, 6), 0.8), Face((0, 0, 3, 30), 0.7))
    analysis = FrameAnalysis(100, 100, faces, "toy", ("detector",), timings=(("detector", 2.5),))
    assert analysis.largest == 1
    assert analysis.elapsed_ms == 2.5


def test_answers_and_faces_read_well_when_printed():
    gender = Classification(("female", "male"), (0.97, 0.03))
    emotion = Classification(("Happiness", "Neutral"), (0.999, 0.001))
    face = Face((12.4, 30, 96, 120.6), 0.9)
    assert str(gender) == "female 97%"
    assert str(face) == "box 12, 30, 96, 121"
    full = dataclasses.replace(
        face,
        age=34.4,
        age_range=(28.2, 41.0),
        gender=gender,
        emotion=emotion,
        heads=(("glasses", Classification(("no", "yes"), (0.8, 0.2))),),
        track_id=3,
    )
    assert str(full) == ("#3 · age 34 (28-41) · female 97% · Happiness >99% · glasses: no 80% · box 12, 30, 96, 121")


def face_at(x, y, side=40):
    return Face((x, y, x + side, y + side), 0.9)


def test_faces_are_read_row_by_row_from_left_to_right():
    # Heads of one row differ in height, by less than most of a face.
    front = [face_at(10, 220), face_at(80, 205), face_at(150, 230), face_at(220, 212)]
    back = [face_at(40, 130), face_at(110, 115), face_at(190, 140)]
    assert reading_order([*front[::-1], back[1], back[0], back[2]]) == (*back, *front)
    # A child at somebody's side stands in the row, one in front of it does not.
    assert reading_order([face_at(120, 30, 24), face_at(10, 10)]) == (face_at(10, 10), face_at(120, 30, 24))
    assert reading_order([face_at(5, 80, 24), face_at(40, 10)]) == (face_at(40, 10), face_at(5, 80, 24))
    assert reading_order([]) == ()
