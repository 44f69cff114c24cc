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
