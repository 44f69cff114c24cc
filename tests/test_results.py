from __future__ import annotations

import dataclasses
import pickle

import pytest

from faceinsight import Classification, Face, FrameAnalysis


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
