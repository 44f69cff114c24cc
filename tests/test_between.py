from __future__ import annotations

from dataclasses import replace

import pytest

from faceinsight.between import faces_between
from faceinsight.results import Face


def face(x, number=None, kps=False):
    box = (x, 10.0, x + 40, 60.0)
    points = ((x + 10, 30.0), (x + 30, 30.0), (x + 20, 40.0), (x + 12, 50.0), (x + 28, 50.0))
    known = Face(box, 0.9, points if kps else None, age=30.0, track_id=number)
    return replace(known, raw=replace(known, bbox=(x + 4, 10.0, x + 44, 60.0)))


def test_who_is_in_both_moves_on_a_line():
    (moved,) = faces_between([face(0, 1, kps=True)], [replace(face(100, 1, kps=True), age=50.0)], 0.25)
    assert moved.bbox == (25, 10, 65, 60)
    assert moved.raw.bbox == (29, 10, 69, 60)
    assert moved.kps[0] == (35, 30)
    assert (moved.age, moved.track_id) == (30, 1)


@pytest.mark.parametrize(("share", "numbers"), [(0.0, [1]), (0.4, [1]), (0.6, [2]), (1.0, [2])])
def test_nobody_slides_into_somebody_elses_place(share, numbers):
    faces = faces_between([face(0, 1)], [face(10, 2)], share)
    assert [known.track_id for known in faces] == numbers
    assert [known.bbox[0] for known in faces] == [{1: 0, 2: 10}[number] for number in numbers]


def test_what_must_not_be_overlooked_is_there_all_the_time():
    faces = faces_between([face(0, 1)], [face(300, 2)], 0.1, every=True)
    assert [known.track_id for known in faces] == [1, 2]


def test_faces_without_a_number_yet_are_the_same_where_they_overlap():
    before, after = [face(0), face(200)], [face(210), replace(face(8, 5))]
    faces = faces_between(before, after, 0.5)
    assert [known.bbox[0] for known in faces] == [4, 205]
    assert [known.bbox[0] for known in faces_between([face(0)], [face(90)], 0.9)] == [90]
