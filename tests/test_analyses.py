from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from faceinsight.analyses import Analyses
from faceinsight.people import people_of
from faceinsight.results import Classification, Face, FrameAnalysis


def exact(value):
    """Returns a number that float32 holds as it is."""
    return float(np.float32(value))


FULL = Face(
    (1.5, 2.25, exact(30.1), 40.0),
    exact(0.9),
    ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0)),
    age=exact(31.3),
    age_range=(20.0, 45.0),
    gender=Classification(("female", "male"), (0.25, 0.75)),
    emotion=Classification(("Anger", "Happiness"), (0.5, 0.5)),
    valence=-0.5,
    arousal=0.125,
    heads=(("glasses", Classification(("no", "yes"), (0.125, 0.875))),),
    track_id=70_000,
)
FACES = (
    replace(FULL, raw=replace(FULL, track_id=None, emotion=None)),
    Face((0.0, 0.0, 1.0, 1.0), 0.5),
    replace(FULL, kps=None, age_range=None, heads=(), raw=Face((0.0, 1.0, 2.0, 3.0), 0.5, age=4.0)),
)


def frame(*faces, timings=(("detector", 2.5), ("emotion", 1.25))):
    return FrameAnalysis(640, 480, faces, "toy", ("detector", "emotion"), (("attributes", "gone"),), timings)


def test_frames_come_back_as_they_were():
    frames = [(0.1, frame(*FACES)), (0.2, frame()), (0.30000000000000004, frame(FULL, timings=(("detector", 3.0),)))]
    kept = Analyses()
    for time, analysis in frames:
        kept.append(time, analysis)
    assert list(kept) == frames
    assert kept == frames
    assert (len(kept), kept.faces) == (3, 4)
    assert kept[-1] == frames[-1]
    assert kept[1:] == frames[1:]
    assert kept.face(0, 2) == FACES[2]
    with pytest.raises(IndexError):
        kept[3]


def test_numbers_are_those_of_float32():
    kept = Analyses()
    kept.append(0, frame(replace(FULL, age=31.3)))
    assert kept[0][1].faces[0].age == pytest.approx(31.3, abs=1e-5)


def test_many_faces_take_little_memory():
    kept = Analyses()
    for n in range(2000):
        kept.append(n / 10, frame(FACES[0], FACES[0]))
    stored = sum(sys.getsizeof(value) for value in vars(kept).values())
    assert stored / kept.faces < 400


def test_people_are_those_of_the_frames_themselves():
    frames = [(n / 10, frame(*([FULL] * (n % 3 > 0)), replace(FULL, track_id=3, age=40.0 + n))) for n in range(10)]
    kept = Analyses()
    for time, analysis in frames:
        kept.append(time, analysis)
    mine, theirs = people_of(kept), people_of(frames)
    assert [person.as_dict() for person in mine] == [person.as_dict() for person in theirs]
    assert list(mine[0].moments) == list(theirs[0].moments)
    assert mine[0].moments[-1].time == 0.9
