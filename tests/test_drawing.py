from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from faceinsight import Classification, DrawOptions, Face, draw
from faceinsight.drawing import INK, PALETTE, PAPER, PLATE, caption, color_of, face_thumbnail
from faceinsight.label_layout import LabelLayout
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
    assert tuple(drawn[85, 100]) == PALETTE[0]  # the upper left corner of the box
    assert (drawn[130, 95:105] == image[130, 95:105]).all()  # the middle of its side
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
    grey = np.full((480, 640, 3), 90, np.uint8)
    face = Face((200.0, 200.0, 300.0, 320.0), 0.9, emotion=Classification(("Fear",), (1.0,)))
    one, other = (draw(grey, [replace(face, age=age)]).astype(int) for age in (12, 34))
    rows, columns = np.nonzero(np.abs(one - other).max(axis=2) > 60)
    assert len(rows) > 20
    # The years alone differ: neither the number before them, nor the unit behind, nor the line below.
    assert rows.max() - rows.min() < 13
    assert columns.max() - columns.min() < 20
    places = LabelLayout()
    draw(grey, [face], layout=places)
    ((left, top, right, bottom),) = [[round(v) for v in place.box] for place in places._places.values()]
    plate = draw(grey, [face])[top:bottom, left:right].astype(int)
    assert (plate[:, :3] == PALETTE[0]).all()
    # White letters on a dark plate, behind which the picture shows.
    assert plate.max() == 255
    assert 16 < np.median(plate[:, -3:]) < 60


def test_numbers_choose_label_and_colour(image):
    drawn = draw(image, [FACE], numbers=[3])
    assert tuple(drawn[85, 100]) == color_of(3) != color_of(1)
    assert color_of(1 + len(PALETTE)) == color_of(1)


def linear(color):
    shares = np.asarray(color, float) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def luminance(color):
    return float(linear(color) @ (0.2126, 0.7152, 0.0722))


def contrast(one, other):
    """As of WCAG 2."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def oklab(color):
    to_lms = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    to_lab = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return np.array(to_lab) @ np.cbrt(np.array(to_lms) @ linear(color))


def test_colours_are_many_apart_and_text_reads_on_all():
    assert len(set(PALETTE)) == len(PALETTE) >= 12
    for one, other in combinations(PALETTE, 2):
        assert np.linalg.norm(oklab(one) - oklab(other)) > 0.08, (one, other)
    for color in PALETTE:
        assert contrast(color, INK) >= 4.5
    # On the brightest and the darkest picture.
    for behind in (0, 255):
        plate = PLATE * np.array(INK) + (1 - PLATE) * behind
        assert contrast(PAPER, plate) >= 7


def test_thumbnails_show_the_face_with_a_margin(image):
    assert face_thumbnail(image, FACE).shape == (150, 130, 3)
    assert face_thumbnail(image, Face((-10.0, -10.0, 5.0, 5.0), 0.5)).size > 0
