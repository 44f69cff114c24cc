from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from faceinsight import Classification, DrawOptions, Face, draw, drawing
from faceinsight.drawing import PALETTE, caption, color_of, face_thumbnail
from faceinsight.results import percent

FACE = Face(
    (100.0, 80.0, 180.0, 180.0),
    0.9,
    age=34.4,
    gender=Classification(("female", "male"), (0.999, 0.001)),
    emotion=Classification(("Anger", "Happiness"), (0.3, 0.7)),
)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)


def test_captions():
    assert caption(FACE, 2) == ("#2 · 34 y · female >99%", "happiness 70%")
    assert caption(FACE, 2, ("Age", "Emotion")) == ("34 y", "happiness")
    assert caption(Face((0, 0, 1, 1), 0.5), 1) == ("#1",)
    assert caption(FACE, 1, ()) == ()


def test_people_of_a_stream_are_drawn_by_id_and_new_faces_without(image):
    person, new = replace(FACE, track_id=3, raw=FACE), replace(FACE, raw=FACE)
    np.testing.assert_array_equal(draw(image, [person]), draw(image, [FACE], numbers=[3]))
    np.testing.assert_array_equal(draw(image, [new]), draw(image, [FACE], numbers=[0]))
    assert caption(FACE, 0)[0] == "34 y · female >99%"


def test_nothing_is_ever_certain():
    assert (percent(1.0), percent(0.991), percent(0.99), percent(0.5)) == (
        ">99%",
        ">99%",
        "99%",
        "50%",
    )


def test_drawing_leaves_the_image_as_it_is(image):
    before = image.copy()
    drawn = draw(image, [FACE])
    np.testing.assert_array_equal(image, before)
    assert drawn.shape == image.shape
    assert tuple(drawn[130, 100]) == PALETTE[0]  # the left side of the box
    assert (drawn[100:170, 110:170] == image[100:170, 110:170]).all()


def test_no_boxes_and_no_labels_is_no_change(image):
    np.testing.assert_array_equal(draw(image, [FACE], DrawOptions(labels=(), boxes=False)), image)


def test_blurred_faces_keep_no_detail(image):
    drawn = draw(image, [FACE], DrawOptions(labels=(), boxes=False, blur=True))
    inside = (slice(82, 178), slice(102, 178))
    assert drawn[inside].std() < image[inside].std() / 5
    outside = np.ones(image.shape[:2], bool)
    outside[70:190, 90:190] = False  # a tenth of the longest side more on each side
    assert (drawn[outside] == image[outside]).all()


def test_blur_covers_a_face_that_its_steady_box_lags_behind(image):
    moved = replace(FACE, raw=replace(FACE, bbox=(140.0, 80.0, 220.0, 180.0)))
    drawn = draw(image, [moved], DrawOptions(labels=(), boxes=False, blur=True))
    ahead = (slice(82, 178), slice(185, 218))
    assert drawn[ahead].std() < image[ahead].std() / 5


@pytest.mark.parametrize(
    "box",
    [
        (-50, -50, 30, 30),
        (300, 220, 400, 300),
        (0, 0, 320, 240),
        (10, 10, 12, 12),
        (900, 9, 999, 99),
    ],
)
def test_labels_stay_inside_the_image(image, box):
    face = Face(tuple(map(float, box)), 0.9, age=30.0)
    assert draw(image, [face], DrawOptions(blur=True)).shape == image.shape
    assert draw(image[:9, :9], [face]).shape == (9, 9, 3)


def test_a_label_shows_every_word_in_its_place():
    one, other = (drawing._label_patch((f"{age} y", "fear"), 20, (86, 180, 233)).astype(int) for age in ("12", "34"))
    assert one.shape == other.shape
    rows, columns = np.nonzero(np.abs(one - other).max(axis=2) > 60)
    assert len(rows) > 20
    # The numbers alone differ: neither the unit behind them nor the line below.
    assert rows.max() < 24 + 5
    assert columns.max() < 5 + 24
    ink = np.abs(one - (86, 180, 233)).max(axis=2) > 60
    assert ink[:29, 31:].any()
    assert ink[29:].any()


def test_numbers_choose_label_and_colour(image):
    drawn = draw(image, [FACE], numbers=[3])
    assert tuple(drawn[130, 100]) == color_of(3) != color_of(1)
    assert color_of(1 + len(PALETTE)) == color_of(1)


def test_thumbnails_show_the_face_with_a_margin(image):
    assert face_thumbnail(image, FACE).shape == (150, 130, 3)
    assert face_thumbnail(image, Face((-10.0, -10.0, 5.0, 5.0), 0.5)).size > 0
