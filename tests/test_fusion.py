from __future__ import annotations

import numpy as np
import pytest

from faceinsight import Classification, Face
from faceinsight.fusion import FaceFusion, OneEuroFilter, picture_quality

KPS = ((38.0, 52.0), (74.0, 52.0), (56.0, 72.0), (42.0, 92.0), (70.0, 92.0))
PLACE = Face((0.0, 0.0, 100.0, 100.0), 0.9, KPS)


def gender(female):
    return Classification(("female", "male"), (female, 1 - female))


def emotion(*shares):
    return Classification(("Anger", "Happiness", "Neutral"), shares)


def answers(**values):
    return Face(PLACE.bbox, PLACE.det_score, PLACE.kps, **values)


def test_one_euro_against_the_paper_by_hand():
    # Algorithm 1 of Casiez et al. at 10 Hz with mincutoff 1, beta 0.5, dcutoff 1, where alpha(fc) is
    # 0.2 pi fc / (1 + 0.2 pi fc). Speed: alpha(1) * 10 = 3.859, then 3.859 + alpha(1) * (3.520 - 3.859) = 3.728.
    # Value: alpha(1 + 1.929) = 0.64796, then 0.64796 + alpha(1 + 1.864) * 0.35204 = 0.87425.
    smooth = OneEuroFilter(1, 0.5)
    values = [float(smooth(np.array([v]), 0.1)[0]) for v in (0.0, 1.0, 1.0)]
    assert values == pytest.approx([0, 0.64796, 0.87425], abs=1e-5)


def test_one_euro_is_the_same_for_large_and_small_faces_and_takes_any_time():
    small, large = OneEuroFilter(1, 5), OneEuroFilter(1, 5)
    for value in (0.0, 3.0, 4.0, 2.0):
        a, b = small(np.array([value]), 0.1, 10), large(np.array([value * 7]), 0.1, 70)
        assert b == pytest.approx(a * 7)
    assert small(np.array([99.0]), 0.0) == a
    assert small(np.array([1.0, 2.0]), 0.1).tolist() == [1.0, 2.0]


def test_a_resting_box_trembles_less_and_a_moving_one_is_not_late():
    random = np.random.default_rng(0)
    fusion = FaceFusion()
    lefts, truth = [], []
    for n in range(120):
        x = 100 + max(0, n - 60) * 20 / 3  # a face of 100 px, at rest, then at two sizes a second
        box = np.array([x, 50, x + 100, 150]) + random.normal(0, 1, 4)
        lefts.append(fusion.place(Face(tuple(box.tolist()), 0.9), n / 30).bbox[0])
        truth.append(x)
    off = np.array(lefts) - truth
    assert off[20:60].std() < 0.6
    assert np.abs(off[70:]).max() < 10


def test_no_smoothing_is_every_answer_as_it_comes():
    fusion = FaceFusion(0)
    fusion.update(answers(age=20.0, gender=gender(0.9), emotion=emotion(1, 0, 0)), 0)
    moved = Face((5.0, 5.0, 9.0, 9.0), 0.5)
    assert fusion.place(moved, 0.1) == moved
    new = answers(age=40.0, gender=gender(0.2), emotion=emotion(0, 1, 0))
    assert fusion.update(new, 0.1) == new
    assert fusion.update(PLACE, 0.2) == new


def test_age_is_robust_and_counts_by_quality():
    fusion = FaceFusion()
    for n, age in enumerate((30, 31, 29, 30, 75, 30)):
        face = fusion.update(answers(age=float(age), age_range=(age - 5.0, age + 6.0)), n)
    assert face.age == pytest.approx(30.3, abs=0.5)
    assert face.age_range == pytest.approx((face.age - 5, face.age + 6))
    fusion = FaceFusion()
    fusion.update(answers(age=30.0), 0, quality=0.9)
    assert fusion.update(answers(age=31.0), 1, quality=0.1).age == pytest.approx(30.1)


def test_what_was_not_asked_stays_as_it_was():
    fusion = FaceFusion()
    glasses = (("glasses", Classification(("no", "yes"), (0.2, 0.8))),)
    known = fusion.update(answers(age=30.0, emotion=emotion(0, 1, 0), valence=0.5, arousal=0.1, heads=glasses), 0)
    assert fusion.update(PLACE, 1) == known
    assert known.age_range is None


def test_emotion_is_averaged_over_time_not_frames():
    happy, sad = emotion(0.0, 1.0, 0.0), emotion(1.0, 0.0, 0.0)
    results = []
    for fps in (10, 40):
        fusion = FaceFusion()
        for n in range(2 * fps):
            fusion.update(answers(emotion=happy), n / fps)
        for n in range(fps // 5):
            face = fusion.update(answers(emotion=sad), 2 + n / fps)
        results.append(face.emotion.as_dict()["Anger"])
    assert results[0] == pytest.approx(results[1], abs=0.05)
    assert sum(face.emotion.probabilities) == pytest.approx(1)
    assert 0.3 < results[0] < 0.7


def test_valence_is_averaged_too():
    fusion = FaceFusion()
    fusion.update(answers(emotion=emotion(0, 1, 0), valence=1.0, arousal=0.0), 0)
    face = fusion.update(answers(emotion=emotion(0, 1, 0), valence=0.0, arousal=1.0), 0.1)
    assert 0.2 < face.valence < 0.8
    assert face.arousal == pytest.approx(1 - face.valence)


def test_a_label_changes_only_on_sustained_evidence():
    fusion = FaceFusion()
    random = np.random.default_rng(2)
    seen = [fusion.update(answers(gender=gender(0.7)), 0).gender.label]
    seen += [
        fusion.update(answers(gender=gender(float(random.uniform(0.3, 0.66)))), 0.2 * n).gender for n in range(1, 100)
    ]
    assert {answer if isinstance(answer, str) else answer.label for answer in seen} == {"female"}
    assert min(answer.confidence for answer in seen[1:]) >= 0.5
    later = [fusion.update(answers(gender=gender(0.1)), 20 + 0.2 * n).gender.label for n in range(60)]
    assert later[0] == "female"
    assert later[-1] == "male"
    assert later == sorted(later)
    assert not FaceFusion().sure


def test_quality_falls_for_small_turned_blurred_and_unsure_faces():
    random = np.random.default_rng(0)
    sharp = random.integers(0, 255, (112, 112, 3), np.uint8)
    best = picture_quality(sharp, PLACE)
    assert 0.5 < best <= 1
    assert picture_quality(np.full_like(sharp, 90), PLACE) < 0.1
    turned = (*KPS[:2], (80.0, 72.0), *KPS[3:])
    for worse in (
        Face(PLACE.bbox, 0.4, KPS),
        Face(PLACE.bbox, 0.9, turned),
        Face((0.0, 0.0, 30.0, 30.0), 0.9, tuple((x * 0.3, y * 0.3) for x, y in KPS)),
    ):
        assert 0 < picture_quality(sharp, worse) < 0.7 * best
    assert picture_quality(sharp, Face((-90.0, -90.0, -50.0, -50.0), 0.9)) > 0


def test_an_age_on_show_rests_until_its_mean_is_clearly_elsewhere():
    fusion = FaceFusion(0.5)
    shown = [
        fusion.update(answers(age=age, age_range=(age - 5, age + 5)), n)
        for n, age in enumerate([30.0] * 4 + [31.0] * 4)
    ]
    assert {face.age for face in shown} == {30.0}
    assert shown[-1].age_range == pytest.approx((25.0, 35.0))
    for n in range(60):
        face = fusion.update(answers(age=40.0), 10 + n)
    assert 37 < face.age < 40
