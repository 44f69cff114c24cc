from __future__ import annotations

import warnings

import numpy as np
import pytest
from insightface.utils import face_align

from faceinsight.inference.crops import (
    aligned_crop,
    box_pixels,
    scaled_box_crop,
    similarity_matrix,
    tight_box_crop,
)


@pytest.fixture
def noise():
    return np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)


KPS = ((120.0, 80.0), (160.0, 90.0), (138.0, 110.0), (118.0, 128.0), (150.0, 135.0))


def test_alignment_equals_insightface(noise):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls a deprecated function of scikit-image
        wanted_matrix = face_align.estimate_norm(np.array(KPS, np.float32))
        wanted = face_align.norm_crop(noise, np.array(KPS, np.float32))
    template = face_align.arcface_dst.astype(np.float64)
    np.testing.assert_allclose(similarity_matrix(np.array(KPS), template), wanted_matrix, atol=1e-3)
    got = aligned_crop(noise, KPS, (112, 112), 1.0)
    # Noise is the worst case: a thousandth of a pixel changes neighbouring values.
    assert np.abs(got.astype(int) - wanted).mean() < 0.1


def test_a_wider_alignment_shows_the_narrow_one_in_its_middle(noise):
    narrow = aligned_crop(noise, KPS, (112, 112), 1.0)
    wide = aligned_crop(noise, KPS, (224, 224), 2.0)
    assert np.abs(wide[58:166, 58:166].astype(int) - narrow[2:110, 2:110]).mean() < 3


def test_scaled_box_equals_insightface(noise):
    box = (40.0, 30.0, 110.0, 130.0)
    wanted, _ = face_align.transform(noise, (75.0, 80.0), 96, 96 / (100 * 1.5), 0)
    np.testing.assert_array_equal(scaled_box_crop(noise, box, (96, 96), 1.5), wanted)


def test_the_same_points_make_no_division_by_zero(noise):
    assert aligned_crop(noise, ((5.0, 5.0),) * 5, (32, 32), 1.0).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((-20.5, -3.0, 50.9, 60.2), (0, 0, 50, 60)),
        ((290.0, 190.0, 400.0, 300.0), (290, 190, 300, 200)),
        ((500.0, 500.0, 600.0, 600.0), (299, 199, 300, 200)),
        ((10.2, 10.2, 10.4, 10.4), (10, 10, 11, 11)),
    ],
)
def test_boxes_become_pixels_inside_the_image(noise, box, pixels):
    assert box_pixels(noise, box) == pixels
    assert tight_box_crop(noise, box, (24, 16)).shape == (16, 24, 3)
