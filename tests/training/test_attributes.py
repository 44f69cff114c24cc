"""What the age and gender network learns from, on pictures of chance; skipped where PyTorch is not installed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: only training needs it")

from tests.conftest import ROOT  # noqa: E402
from training.alignment import jittered, served_points  # noqa: E402
from training.attributes import agreement, bucket_accuracy, losses, read, shared_genders  # noqa: E402
from training.data import ARCFACE_TEMPLATE, covered, read_portraits, scanned  # noqa: E402
from training.loop import answers  # noqa: E402
from training.networks import age_and_gender  # noqa: E402
from training.people import UNKNOWN, YEARS, Pool, alike, even  # noqa: E402
from training.warm import mix_with, start_from  # noqa: E402


def logits_of(age, gender):
    row = torch.full((1, 2 + YEARS), -20.0)
    row[0, gender] = 20.0
    row[0, 2 + age] = 20.0
    return row


def test_reading_what_was_meant():
    ages, genders = read(np.concatenate([logits_of(7, 0).numpy(), logits_of(63, 1).numpy()]))
    np.testing.assert_allclose(ages, [7, 63], atol=1e-3)
    assert genders.tolist() == [0, 1]


def test_a_wrong_gender_costs_only_where_it_is_known():
    right, wrong = logits_of(30, 1), logits_of(30, 0)
    age = torch.tensor([30])
    assert losses(wrong, age, torch.tensor([1]))["gender"] > losses(right, age, torch.tensor([1]))["gender"] + 1
    assert losses(wrong, age, torch.tensor([UNKNOWN]))["gender"] == 0


def test_a_year_off_costs_more_for_a_child():
    none = torch.tensor([UNKNOWN])

    def cost(age, guess):
        spread = (0.7 + 0.07 * age) ** 2
        row = torch.full((1, 2 + YEARS), 0.0)
        row[0, 2:] = -0.5 * (torch.arange(YEARS) - guess).square() / spread
        return float(losses(row, torch.tensor([age]), none)["distribution"])

    assert cost(3, 3) == pytest.approx(0, abs=1e-3)
    assert cost(3, 5) > 4 * cost(30, 32) > 0


def test_agreement_is_nothing_between_equals():
    one, other = torch.randn(4, 2 + YEARS), torch.randn(4, 2 + YEARS)
    assert agreement(one, one) == pytest.approx(0, abs=1e-5)
    assert agreement(one, other) > 0.1


def test_rare_ages_are_drawn_more_often():
    ages = np.array([30] * 900 + [5] * 100)
    rates = {}
    for power in (0.0, 0.5, 1.0):
        weights = even(ages, power)
        rates[power] = weights[ages == 5].sum() / weights.sum()
    assert rates[0.0] == pytest.approx(0.1)
    assert rates[0.5] == pytest.approx(0.25, abs=0.01)
    assert rates[1.0] == pytest.approx(0.5, abs=0.01)


def test_women_and_men_are_drawn_alike():
    genders = np.array([1, 1, 1, 0, UNKNOWN, 1])
    weights = alike(np.array([1.0, 1, 2, 1, 1, 0]), genders)
    assert weights[genders == 0].sum() == pytest.approx(weights[genders == 1].sum())
    assert weights.sum() == pytest.approx(6)
    assert weights[4] == 1
    assert weights[5] == 0  # held back


def test_every_bucket_counts_the_same():
    ages = np.array([30] * 98 + [2, 75])
    assert bucket_accuracy(ages, np.array([39.9] * 98 + [2.9, 69.9])) == pytest.approx(2 / 3)


@pytest.mark.parametrize("change", [scanned, covered])
def test_pictures_stay_pictures(change):
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (80, 60, 3), dtype=np.uint8)
    before = picture.copy()
    changed = [change(picture, rng) for _ in range(40)]
    assert all(p.shape == picture.shape and p.dtype == np.uint8 for p in changed)
    assert all((p != picture).any() for p in changed)
    np.testing.assert_array_equal(picture, before)


def test_wider_scatter_and_another_picture_around():
    # A bright spot where the nose is: how far it lands from the middle is how far the crop was off.
    picture = np.zeros((112, 112, 3), np.uint8)
    cv2.circle(picture, (56, 72), 3, (255, 255, 255), -1)
    around = np.full((50, 50, 3), (0, 0, 200), np.uint8)
    deviations, filled = {}, 0
    for spread in (0.5, 2.0):
        rng = np.random.default_rng(2)
        crops = [jittered(picture, ARCFACE_TEMPLATE, 80, 1.3, rng, spread=spread, around=around) for _ in range(200)]
        spots = [np.argwhere(crop[..., 1] > 200).mean(axis=0) for crop in crops if (crop[..., 1] > 200).any()]
        deviations[spread] = np.std(spots, axis=0).max()
        filled += sum((crop[0, 0] == (0, 0, 200)).all() for crop in crops)
    assert deviations[2.0] > 2 * deviations[0.5]
    assert 400 * 0.3 < filled < 400 * 0.5


def test_a_childs_gender_is_that_of_the_grown_up():
    # Bright pictures are said to be of men. Person 1 is bright when grown up, 2 dark, 3 never grown up, 4 in between.
    shades = {(1, 5): 0, (1, 20): 255, (1, 30): 255, (2, 4): 255, (2, 25): 0, (3, 6): 255, (4, 20): 255, (4, 40): 0}
    pictures = np.stack([np.full((112, 112, 3), shade, np.uint8) for shade in shades.values()])
    people = np.array([person for person, _ in shades])
    points = np.tile(ARCFACE_TEMPLATE, (len(people), 1, 1))
    unknown = np.full(len(people), UNKNOWN)
    pool = Pool(pictures, (points,), np.array([age for _, age in shades]), unknown, np.ones(len(people)))

    class Brightness(torch.nn.Module):
        def forward(self, x):
            sign = x.mean((1, 2, 3)) * 4
            return torch.stack([-sign, sign], 1)

    assert shared_genders(Brightness(), pool, people).tolist() == [1, 1, 1, 0, 0, UNKNOWN, UNKNOWN, UNKNOWN]


def test_portraits_are_split_by_person(tmp_path):
    names = ["001A02.jpg", "001A43b.jpg", "017A60.jpg", "002A00.jpg"]
    _, data = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))
    with zipfile.ZipFile(tmp_path / "fgnet.zip", "w") as archive:
        for name in names:
            archive.writestr(name, data.tobytes())
    portraits = read_portraits(tmp_path / "fgnet.zip", tmp_path)
    assert dict(zip(portraits.names, portraits.ages.tolist(), strict=True)) == {
        "001A02.jpg": 2,
        "001A43b.jpg": 43,
        "002A00.jpg": 0,
        "017A60.jpg": 60,
    }
    assert portraits.folds[0] == portraits.folds[1]
    assert portraits.people.tolist() == [1, 1, 2, 17]


def test_key_points_one_by_one_and_many_at_a_time(tmp_path):
    skimage = pytest.importorskip("skimage")
    face = cv2.imread(str(Path(skimage.__file__).parent / "data" / "astronaut.png"))[10:210, 125:325, ::-1]
    face = cv2.resize(face, (128, 128), interpolation=cv2.INTER_AREA)
    pictures = np.stack([face, face, np.zeros_like(face), face])
    path = tmp_path / "points.npz"
    points, found = served_points(pictures, path, np.array([True, False, False, False]))
    assert found.tolist() == [True, True, False, True]
    left_eye, right_eye, nose, left_mouth, _ = points[0]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_eye[1] < nose[1] < left_mouth[1]
    # Seen smaller and among others, they scatter, but by less than the distance of the eyes.
    assert np.abs(points[[1, 3]] - points[0]).max() < 0.5 * (right_eye[0] - left_eye[0])
    again, _ = served_points(pictures[:0], path, np.empty(0, bool))
    np.testing.assert_array_equal(again, points)


def test_a_mixture_with_the_file_lies_between_the_two():
    shipped = ROOT / "assets" / "models" / "compact" / "attributes.onnx"
    pictures = np.random.default_rng(0).integers(0, 256, (32, 80, 80, 3), np.uint8)
    network = age_and_gender().eval()
    start_from(network, shipped, pictures)
    before = answers(network, pictures)
    with torch.no_grad():
        network.last.bias += 4
    mix_with(network, shipped, pictures, 0.25)
    np.testing.assert_allclose(answers(network, pictures), before + 1, atol=1e-3)
