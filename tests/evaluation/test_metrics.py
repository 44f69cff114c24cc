"""Metrics against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from faceinsight.evaluation.metrics import (
    age_metrics,
    bucket_metrics,
    class_metrics,
    cross_entropy,
    detection_metrics,
    match,
    overlaps,
    precision_recall,
)


def test_classes():
    true = np.array([0, 0, 0, 1, 1, 2])
    shares = np.array(
        [[0.9, 0.1, 0, 0], [0.8, 0.2, 0, 0], [0.3, 0.7, 0, 0], [0.1, 0.9, 0, 0], [0.6, 0.4, 0, 0], [0.5, 0.1, 0.4, 0]]
    )
    m = class_metrics(("a", "b", "c", "d"), true, shares)
    assert m.count == 6
    assert m.accuracy == pytest.approx(3 / 6)
    assert m.confusion == ((2, 1, 0, 0), (1, 1, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0))
    a, b, c, d = m.classes.values()
    assert (a.count, a.precision, a.recall, a.f1) == pytest.approx((3, 2 / 4, 2 / 3, 4 / 7))
    assert (b.count, b.precision, b.recall, b.f1) == pytest.approx((2, 1 / 2, 1 / 2, 1 / 2))
    assert (c.count, c.precision, c.recall, c.f1) == (1, 0, 0, 0)
    assert d.count == 0
    # d occurs neither in labels nor in answers.
    assert m.macro_f1 == pytest.approx((4 / 7 + 1 / 2 + 0) / 3)
    # Bins of 1/15: 0.5 in the 8th, 0.6 in the 10th, 0.7 in the 11th, 0.8 in the 13th, 0.9 twice in the 14th.
    assert m.ece == pytest.approx((0.5 + 0.6 + 0.7 + 0.2 + 0.2) / 6)


def test_ages():
    m = age_metrics(np.array([10.0, 20, 30, 40]), np.array([12.0, 15, 36, 40]))
    assert (m.count, m.mae, m.mse, m.bias, m.cs5) == pytest.approx((4, 13 / 4, 65 / 4, 3 / 4, 3 / 4))
    assert m.r2 == pytest.approx(1 - 65 / 500)


def test_coverage_counts_both_ends():
    ranges = np.array([[10.0, 14], [16, 20], [31, 40], [20, 39]])
    assert age_metrics(np.array([10.0, 20, 30, 40]), np.zeros(4), ranges).coverage == 0.5


def test_one_age_alone_has_no_spread():
    m = age_metrics(np.array([10.0]), np.array([12.0]))
    assert (m.r2, m.coverage) == (None, None)


def test_age_buckets():
    buckets = np.array([[10.0, 20], [10, 20], [10, 20], [20, 30], [70, np.inf]])
    m = bucket_metrics(buckets, np.array([10.0, 19.9, 20, 15, 99]))
    # At 20 the bucket has ended, at a distance of nothing.
    assert (m.count, m.accuracy, m.distance, m.bias) == pytest.approx((5, 3 / 5, 5 / 5, -5 / 5))


def test_cross_entropy():
    shares = np.array([[1.0, 0, 0], [0.5, 0.5, 0]])
    given = np.array([[0.5, 0.25, 0.25], [0, 0.5, 0.5]])
    expected = (np.log(2) + (np.log(2) - np.log(1e-4)) / 2) / 2
    assert cross_entropy(shares, given) == pytest.approx(expected)


def test_overlaps():
    a = np.array([[0.0, 0, 2, 2], [0, 0, 0, 0]])
    b = np.array([[1.0, 1, 3, 3], [0, 0, 2, 1], [5, 5, 6, 6]])
    np.testing.assert_allclose(overlaps(a, b), [[1 / 7, 1 / 2, 0], [0, 0, 0]])


POINTS = np.tile([[5.0, 5.0]], (1, 5, 1))
FIVE_OFF = POINTS + np.array([3, 4])
BOX = [0.0, 0, 10, 10]


def test_match_gives_a_face_to_one_box():
    boxes = np.array([[*BOX, 0.9], [1, 0, 10, 10, 0.8], [50, 50, 60, 60, 0.7]])
    m = match(boxes, np.repeat(FIVE_OFF, 3, axis=0), np.array([[*BOX, 1.0]]), POINTS, (160, 320))
    assert m.scores.tolist() == [0.9, 0.8, 0.7]
    assert m.right.tolist() == [True, False, False]
    # 10 px in a picture of 320 px are 20 px at 640; the points are 5 px off on a face of 10 px.
    assert m.sides.tolist() == [20, 0, 0]
    assert m.needed.tolist() == [20]
    np.testing.assert_allclose(m.point_errors, [0.5, np.nan, np.nan])
    assert not m.empty


def test_match_counts_no_box_on_an_unsure_face():
    m = match(np.array([[*BOX, 0.9]]), None, np.array([[*BOX, 0.59]]), None, (10, 10))
    assert len(m.scores) == len(m.needed) == 0
    assert not m.empty


def test_match_without_boxes_or_faces():
    nothing = np.empty((0, 5))
    assert match(nothing, None, np.array([[*BOX, 1.0]]), None, (10, 10)).needed.tolist() == [640]
    m = match(np.array([[*BOX, 0.9]]), None, nothing, None, (10, 10))
    assert (m.right.tolist(), m.empty) == ([False], True)


def test_detection():
    face = np.array([[*BOX, 1.0]])
    nothing = np.empty((0, 5))
    away = [50.0, 50, 60, 60]
    matches = [
        match(np.array([[*BOX, 0.95]]), FIVE_OFF, face, POINTS, (320, 320)),
        match(np.array([[*away, 0.85], [*BOX, 0.75]]), np.repeat(POINTS, 2, axis=0), face, POINTS, (320, 320)),
        match(np.array([[*BOX, 0.45]]), POINTS + 9, face, POINTS, (160, 160)),
        match(np.array([[*BOX, 0.65], [*away, 0.15]]), None, nothing, None, (320, 320)),
        match(nothing, None, face, None, (320, 320)),
    ]
    m = detection_metrics(matches)
    assert m.faces == 4
    assert (m.at.found, m.at.false_alarms, m.at.recall, m.at.precision) == (2, 2, 2 / 4, 2 / 4)
    assert m.at.alarms_per_face == 1
    assert (m.empty_pictures, m.false_alarms_in_empty) == (1, 1)
    # Right by falling score: yes no yes no yes no.
    precision, recall = precision_recall(matches)
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3, 1 / 2, 3 / 5, 1 / 2])
    np.testing.assert_allclose(recall, np.array([1, 1, 2, 2, 3, 3]) / 4)
    assert m.ap50 == pytest.approx(1 / 4 * (1 + 2 / 3 + 3 / 5))
    assert m.keypoint_error == pytest.approx((0.5 + 0) / 2)
    sizes = {name: (size.count, size.recall) for name, size in m.recall_by_size.items()}
    assert sizes["16-32"] == (3, pytest.approx(2 / 3))
    assert sizes["32-64"] == sizes["32+"] == (1, 0)
    assert sizes["128+"] == (0, None)
    assert [p.threshold for p in m.pareto] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert [p.found for p in m.pareto] == [3, 3, 3, 3, 2, 2, 2, 1, 1]
    assert [p.false_alarms for p in m.pareto] == [3, 2, 2, 2, 2, 2, 1, 1, 0]
    assert (m.at_alarm_rate.threshold, m.at_alarm_rate.found, m.at_alarm_rate.false_alarms) == (0.95, 1, 0)
    assert m.recall_32_at_alarm_rate == 0


def test_detection_of_nothing_at_all():
    m = detection_metrics([match(np.empty((0, 5)), None, np.empty((0, 5)), None, (10, 10))])
    assert (m.faces, m.at.recall, m.at.precision, m.at.alarms_per_face, m.ap50) == (0, 0, None, None, 0)
    assert (m.keypoint_error, m.at_alarm_rate, m.recall_32_at_alarm_rate) == (None, None, None)


def test_recall_where_one_in_twenty_is_a_false_alarm():
    face, nothing = np.array([[*BOX, 1.0]]), np.empty((0, 5))
    found = [match(np.array([[*BOX, 0.9 - n / 100]]), None, face, None, (64, 64)) for n in range(40)]
    alarms = [match(np.array([[*BOX, score]]), None, nothing, None, (64, 64)) for score in (0.895, 0.545, 0.505, 0.505)]
    m = detection_metrics([*found, *alarms, match(nothing, None, face, None, (64, 64))])
    # Two false alarms to forty faces; the next two, with one score, would be too many.
    assert (m.at_alarm_rate.found, m.at_alarm_rate.false_alarms) == (40, 2)
    assert m.recall_32_at_alarm_rate == pytest.approx(40 / 41)
