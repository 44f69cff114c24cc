from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from faceinsight import DrawOptions, Face, FaceAnalyzer, draw, load_image
from faceinsight.drawing import LABELS
from faceinsight.label_layout import LabelLayout, Labelled, Place, core_of, crosses, overlaps, place_labels
from tests.material import both, photo

SIZE = (1280.0, 720.0)
GAP = 3.0
FRIENDS = "t1.jpg"
PHOTOS = (
    "meeting.jpg",
    "2007_007763.jpg",
    "2008_001322.jpg",
    "2008_002506.jpg",
    "group_selfie.jpg",
    "obama_and_biden.jpg",
)


def crowd(seed: int, count: int) -> list[Labelled]:
    """Returns faces anywhere, some of them over each other or past the picture's border."""
    dice = random.Random(seed)
    faces = []
    for _ in range(count):
        side = dice.uniform(14, 160 if count < 20 else 70)
        x, y = dice.uniform(-side / 3, SIZE[0] - side / 2), dice.uniform(-side / 3, SIZE[1] - side / 2)
        box = (x, y, x + 0.8 * side, y + side)
        sizes = ((round(dice.uniform(120, 200)) + 22.0, 44.0), (22.0, 24.0))
        faces.append(Labelled(box, core_of(Face(box, 0.9)), sizes))
    return faces


def check(size: tuple[float, float], faces: list[Labelled], places: list[Place | None]) -> None:
    """Asserts that no label hides a face or another label."""
    assert len(places) == len(faces)
    labels = [place for place in places if place is not None]
    for place in labels:
        x1, y1, x2, y2 = place.box
        assert 0 <= x1 < x2 <= size[0]
        assert 0 <= y1 < y2 <= size[1]
        assert not any(overlaps(place.box, face.core) for face in faces)
    assert not any(overlaps(a.box, b.box) for a, b in combinations(labels, 2))
    for face, place in zip(faces, places, strict=True):
        if place is None:
            continue
        wanted = face.sizes[place.variant]
        assert np.subtract(place.box[2:], place.box[:2]) == pytest.approx(wanted)
        # The number alone may be in a corner of its own face's box, whoever else's is there.
        if place.variant < len(face.sizes) - 1:
            assert not any(overlaps(place.box, other.box) for other in faces if other is not face)
        if place.leader is not None:
            assert not overlaps(place.box, face.box)
            assert not any(crosses(place.leader, other.core) for other in faces if other is not face)


@pytest.mark.parametrize("count", range(1, 81, 4))
def test_no_label_hides_a_face_or_a_label_in_any_crowd(count):
    for seed in range(4):
        faces = crowd(seed, count)
        places = place_labels(SIZE, faces, GAP)
        check(SIZE, faces, places)
        assert sum(place is not None for place in places) >= 0.9 * count
        if count <= 5:
            assert all(place is not None and place.variant == 0 for place in places)


def test_a_face_alone_has_its_label_above():
    (place,) = place_labels(SIZE, [Labelled((100, 100, 200, 220), (120, 120, 180, 200), ((150, 40), (20, 20)))], GAP)
    assert place == Place(0, 0, (100, 57, 250, 97))


def test_a_face_that_fills_the_picture_has_its_label_on_its_chin():
    face = Labelled((10, -20, 630, 470), (120, 60, 520, 360), ((150, 40), (20, 20)))
    (place,) = place_labels((640, 480), [face], GAP)
    assert place is not None
    assert place.variant == 0
    assert place.box[1] >= 360


def test_where_it_is_crowded_the_number_stays():
    box = (300.0, 200.0, 340.0, 250.0)
    core = (306.0, 211.0, 334.0, 244.0)
    wall = [
        Labelled((x, y, x + 40, y + 50), (x + 6, y + 11, x + 34, y + 44), ((150, 40), (14, 10)))
        for x in range(180, 421, 40)
        for y in range(100, 301, 50)
        if (x, y) != (300, 200)
    ]
    faces = [Labelled(box, core, ((150, 40), (14, 10))), *wall]
    places = place_labels((640, 480), faces, 1)
    check((640, 480), faces, places)
    assert places[0] is not None
    assert places[0].variant == 1
    assert places[0].leader is None


def test_no_label_no_place_and_no_room_no_label():
    assert place_labels(SIZE, [Labelled((1, 1, 9, 9), (2, 2, 8, 8), ())], GAP) == [None]
    assert place_labels((9, 9), [Labelled((1, 1, 9, 9), (2, 2, 8, 8), ((20, 20),))], GAP) == [None]
    assert place_labels(SIZE, [], GAP) == []


def shaken(faces: list[Labelled], dice: random.Random, by: float) -> list[Labelled]:
    moved = []
    for face in faces:
        x, y = dice.uniform(-by, by), dice.uniform(-by, by)
        box, core = ((b[0] + x, b[1] + y, b[2] + x, b[3] + y) for b in (face.box, face.core))
        moved.append(replace(face, box=box, core=core))
    return moved


@pytest.mark.parametrize("count", [3, 8, 20])
def test_labels_of_faces_that_tremble_stay_where_they_are(count):
    dice = random.Random(count)
    faces = crowd(7, count)
    layout, jumps, frames = LabelLayout(), 0, 200
    before: list[Place | None] = []
    for _ in range(frames):
        now = shaken(faces, dice, 1.5)
        places = layout.place(SIZE, now, list(range(1, count + 1)), GAP)
        check(SIZE, now, places)
        spots = [place and (place.variant, place.spot) for place in places]
        jumps += sum(a != b for a, b in zip(spots, before, strict=True)) if before else 0
        before = spots
    # Without memory it would be hundreds.
    assert jumps <= count / 4


def test_a_label_goes_back_when_its_better_place_has_been_free_for_a_while():
    face = Labelled((100, 100, 200, 220), (120, 120, 180, 200), ((150, 40), (20, 20)))
    above = Labelled((100, 40, 200, 95), (120, 50, 180, 85), ())
    layout = LabelLayout()

    def spot(*others):
        place = layout.place(SIZE, [face, *others], [1, *(2 for _ in others)], GAP)[0]
        assert place is not None
        return place.spot

    assert spot() == 0
    assert spot(above) == 1
    spots = [spot() for _ in range(30)]
    assert spots[:10] == [1] * 10
    assert spots[-1] == 0


class Watched(LabelLayout):
    """Keeps what it was asked and what it answered."""

    def place(self, size, faces, numbers, gap):
        self.size, self.faces = size, list(faces)
        self.places = super().place(size, faces, numbers, gap)
        return self.places


def hidden(analysis_faces, places) -> int:
    """Counts labels over the eyes, nose and mouth of anybody, by the key points themselves."""
    count = 0
    for face in analysis_faces:
        xs, ys = [x for x, _ in face.kps], [y for _, y in face.kps]
        more = 0.08 * face.side
        area = (min(xs) - more, min(ys) - more, max(xs) + more, max(ys) + more)
        count += sum(place is not None and overlaps(place.box, area) for place in places)
    return count


def check_photo(analyzer, path):
    picture = load_image(path).pixels
    faces = analyzer.analyze(picture).faces
    for labels in (LABELS, ("Number",), ("Age", "Emotion")):
        watched = Watched()
        drawn = draw(picture, faces, DrawOptions(labels=labels), layout=watched)
        check(watched.size, watched.faces, watched.places)
        assert hidden(faces, watched.places) == 0
        assert all(place is not None for place in watched.places)
        # What is drawn is what was placed: outside labels, marks and lines the picture is as it was.
        for face in faces:
            x1, y1, x2, y2 = (round(v) for v in core_of(face))
            inside = (slice(max(y1, 0), y2), slice(max(x1, 0), x2))
            share = (drawn[inside] != picture[inside]).any(axis=2).mean()
            assert share < 0.12  # marks of others' boxes
    return faces


@pytest.fixture(scope="module")
def compact():
    return FaceAnalyzer("compact")


@pytest.mark.parametrize(("name", "count"), both([(FRIENDS, 6)], [(name, 2) for name in PHOTOS]))
def test_no_label_hides_a_face_in_a_photo(compact, name, count):
    assert len(check_photo(compact, photo(name))) >= count


def test_places_are_plain_values():
    places = place_labels(SIZE, crowd(1, 12), GAP)
    assert json.dumps([place and place.box for place in places])
