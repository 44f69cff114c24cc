from __future__ import annotations

import numpy as np
import pytest

from faceinsight import Face, Tracker, TrackState
from faceinsight.tracking import iou, ious

SIZE = 60


def face(x, y=200.0, score=0.9, size=SIZE):
    """A face with its centre at (x, y)."""
    kps = tuple(
        (x + dx * size, y + dy * size) for dx, dy in ((-0.2, -0.1), (0.2, -0.1), (0, 0.1), (-0.1, 0.3), (0.1, 0.3))
    )
    return Face((x - size / 2, y - size / 2, x + size / 2, y + size / 2), score, kps)


def run(tracker, frames, fps=15.0, start=0.0):
    """Returns by frame {centre x of a face: id}."""
    times = start + np.arange(len(frames)) / fps
    return [
        {round((t.face.bbox[0] + t.face.bbox[2]) / 2): t.id for t in tracker.update(faces, time)}
        for time, faces in zip(times, frames, strict=True)
    ]


def ids(results):
    return {number for result in results for number in result.values() if number is not None}


def test_the_first_frame_has_ids_at_once_and_a_new_face_once_it_stays():
    tracker = Tracker()
    results = run(tracker, [[face(100)]] * 3 + [[face(100), face(400)]] * 6)
    assert [r[100] for r in results] == [1] * 9
    assert [r.get(400) for r in results] == [None] * 6 + [2] * 3
    assert [track.state for track in tracker.tracks] == [TrackState.CONFIRMED] * 2


def test_false_alarms_get_no_ids():
    random = np.random.default_rng(3)
    frames = [[face(100)] + [face(*random.uniform(150, 600, 2)) for _ in range(random.poisson(1))] for _ in range(150)]
    burst = [[face(100), face(400)]] * 3 + [[face(100)]]
    assert ids(run(Tracker(), frames + burst * 10)) == {1}


@pytest.mark.parametrize("fps", [30, 15, 8, 5])
def test_two_people_who_cross_keep_their_ids(fps):
    # They pass at different heights in the picture, one before the other: their boxes overlap by half.
    steps = np.arange(0, 3, 1 / fps)
    random = np.random.default_rng(1)
    frames = [
        [face(100 + 120 * s + random.normal(0, 1), 200), face(460 - 120 * s + random.normal(0, 1), 225)] for s in steps
    ]
    tracker = Tracker()
    first = run(tracker, frames[:1])[0]
    (left,) = [n for x, n in first.items() if x < 200]
    last = run(tracker, frames[1:], fps, 1 / fps)[-1]
    (right,) = [n for x, n in last.items() if x > 400]
    assert left == right
    assert ids([first, last]) == {1, 2}


@pytest.mark.parametrize("hidden_s", [0.3, 1.0, 1.8])
def test_a_face_hidden_for_a_while_keeps_its_id(hidden_s):
    fps = 15
    xs = 100 + 40 * np.arange(0, 4, 1 / fps)
    frames = [[] if 1 < n / fps < 1 + hidden_s else [face(x)] for n, x in enumerate(xs)]
    tracker = Tracker()
    run(tracker, frames[:18], fps)
    assert [track.state for track in tracker.tracks] == [TrackState.LOST]
    assert ids(run(tracker, frames[18:], fps, 18 / fps)) == {1}


def test_who_comes_back_late_is_somebody_new():
    results = run(Tracker(), [[face(100)]] * 5 + [[]] * 60 + [[face(100)]] * 10)
    assert [set(r.values()) for r in results[-3:]] == [{2}] * 3


def test_an_unsure_detection_continues_a_track_and_begins_none():
    results = run(Tracker(), [[face(100)]] + [[face(101, score=0.3), face(400, score=0.3)]] * 20)
    assert results[-1] == {101: 1}


def test_a_cut_ends_all_tracks_and_ids_go_on():
    tracker = Tracker()
    run(tracker, [[face(100)]] * 5)
    tracker.cut()
    assert run(tracker, [[face(100)]], start=1) == [{100: 2}]
    tracker.reset()
    assert run(tracker, [[face(100)]]) == [{100: 1}]


def test_a_varying_frame_rate_breaks_nothing():
    random = np.random.default_rng(5)
    times = np.cumsum(random.choice([0.02, 0.05, 0.1, 0.4], 60))
    tracker = Tracker()
    seen = [
        [t.id for t in tracker.update([face(50 + 60 * t % 400), face(50 + 60 * t % 400, 400)], t)]
        for t in times[times < 6]
    ]
    assert seen == [[1, 2]] * len(seen)


def test_one_frame_a_second():
    # Far apart for their overlap, and still each nearest to itself.
    tracker = Tracker()
    frames = [[face(100 + 50 * (n % 2)), face(400 - 50 * (n % 2)), face(600, 100 + 10 * n)] for n in range(10)]
    results = run(tracker, frames, fps=1)
    assert ids(results) == {1, 2, 3}
    assert [r[600] for r in results] == [3] * 10


@pytest.mark.parametrize(("x", "number"), [(105, 1), (150, 2)])
def test_after_a_pause_only_the_same_place_keeps_the_id(x, number):
    tracker = Tracker()
    run(tracker, [[face(100)]] * 5)
    assert ids(run(tracker, [[face(x)]] * 5, start=10)) == {number}


def test_time_that_stands_still_or_goes_back_breaks_nothing():
    tracker = Tracker()
    times = [0, 0.1, 0.1, 0.05, -3, 0.2, 0.3]
    assert [[t.id for t in tracker.update([face(100 + n)], time)] for n, time in enumerate(times)] == [[1]] * 7


def test_faces_without_key_points_are_followed_too():
    frames = [[Face((x, 100, x + 50, 150), 0.9)] for x in range(100, 300, 5)]
    assert ids(run(Tracker(), frames)) == {1}


def test_a_track_predicts_where_the_face_goes():
    tracker = Tracker()
    run(tracker, [[face(100 + 6 * n)] for n in range(15)])
    (track,) = tracker.tracks
    x1, _, x2, _ = track.predict(track.seen_at + 0.1)
    assert (x1 + x2) / 2 == pytest.approx(184 + 9, abs=3)
    assert track.uncertainty(track.seen_at + 1) > track.uncertainty(track.seen_at + 0.1) > 0


def test_a_crowd_of_sixty_keeps_its_ids():
    lot = np.random.default_rng(0)
    corners = np.stack(np.meshgrid(np.arange(10), np.arange(6)), axis=-1).reshape(-1, 2) * 60.0
    tracker, seen = Tracker(), []
    for n in range(30):
        corners += lot.normal(0, 2, corners.shape)
        faces = [Face((x, y, x + 50, y + 50), 0.9) for x, y in corners.tolist()]
        lot.shuffle(faces)
        found = {track.face.bbox: track.id for track in tracker.update(faces, n / 30)}
        seen.append([found[x, y, x + 50, y + 50] for x, y in corners.tolist()])
    assert len(set(seen[0])) == 60
    assert all(ids == seen[0] for ids in seen)


def test_overlaps_of_boxes():
    boxes, others = np.array([[0.0, 0, 2, 2], [5, 5, 6, 6]]), np.array([[1.0, 0, 3, 2], [0, 0, 2, 2], [2, 2, 3, 3]])
    np.testing.assert_allclose(ious(boxes, others), [[1 / 3, 1, 0], [0, 0, 0]])
    assert ious(boxes, others).tolist() == [[iou(a, b) for b in others.tolist()] for a in boxes.tolist()]
