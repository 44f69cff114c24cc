"""Follows faces from frame to frame, and gives every person a number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from faceinsight.results import BBox, Face

FloatArray = npt.NDArray[np.float64]
# Similarities of tracks (rows) and faces (columns) at a time in seconds.
Measure = Callable[[Sequence["Track"], Sequence[Face], float], FloatArray]

# After a pause longer than this nobody knows where a moving face went: only who stayed in place keeps an id.
PAUSE_S = 2.0

# Kalman filter, in face sizes and seconds: noise of a detected box, speed of a face never seen before,
# random acceleration, and how soon a movement dies out.
_BOX_NOISE = 0.04**2
_FIRST_SPEED = 3.0**2
_ACCELERATION = 3.0**2
_DAMPING_S = 0.4

_MIN_IOU = 0.2
# A box below the detection threshold must lie where a face is expected.
_MIN_IOU_LOW = 0.4
# How much agreeing key points add to an IoU of 1: they decide between faces that overlap.
_KPS_WEIGHT = 0.3
# Without overlap a face may still be the same one: sizes it may be off, and how much its size may change.
_REACH = 0.4
_MAX_REACH = 2.0
_MAX_RATIO = 1.5

# False alarms last a few frames.
_CONFIRM_S = 0.2


class TrackState(Enum):
    """What is known about a followed face."""

    TENTATIVE = "tentative"
    CONFIRMED = "confirmed"
    LOST = "lost"


@dataclass(slots=True, eq=False)
class Track:
    """One followed face; a `Tracker` makes and updates it.

    Attributes:
        face: The latest detection, with `track_id` once the track is confirmed.
        seen_at: Seconds at which that was.
        first_at: Seconds at which the face was first seen.
        state: TENTATIVE until it was seen for long enough to be no false alarm, then CONFIRMED; LOST
            while a confirmed face is not found.
    """

    face: Face
    seen_at: float
    first_at: float
    state: TrackState = TrackState.TENTATIVE
    # Centre x, centre y, width, height in pixels, and their change a second.
    _box: FloatArray = field(init=False)
    _speed: FloatArray = field(init=False)
    # Covariance of a value and its speed, in face sizes: the same for all four values.
    _cov: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self._box = _measured(self.face)
        self.stop()

    @property
    def id(self) -> int | None:
        """The person's number, counted from 1; None until the track is confirmed."""
        return self.face.track_id

    def stop(self) -> None:
        """Forgets how the face moved."""
        self._speed = np.zeros(4)
        self._cov = np.diag([_BOX_NOISE, _FIRST_SPEED])

    def predict(self, time_s: float) -> BBox:
        """Returns where the face should be at a time, as (x1, y1, x2, y2) in pixels."""
        dt = time_s - self.seen_at
        cx, cy, w, h = self._box + self._speed * _travel(dt) if dt <= PAUSE_S else self._box
        w, h = max(w, 1.0), max(h, 1.0)
        return (float(cx - w / 2), float(cy - h / 2), float(cx + w / 2), float(cy + h / 2))

    def uncertainty(self, time_s: float) -> float:
        """Returns the standard deviation of the predicted centre, as a share of the face's longest side."""
        return math.sqrt(float(_forward(self._cov, time_s - self.seen_at)[0, 0]))

    def see(self, face: Face, time_s: float) -> None:
        """Takes in a detection at a time not before `seen_at`."""
        dt = time_s - self.seen_at
        if dt > PAUSE_S:
            self._box = _measured(face)
            self.stop()
        else:
            self._box = self._box + self._speed * _travel(dt)
            self._speed = self._speed * math.exp(-dt / _DAMPING_S)
            cov = _forward(self._cov, dt)
            gain = cov[:, 0] / (cov[0, 0] + _BOX_NOISE)
            innovation = _measured(face) - self._box
            self._box = self._box + gain[0] * innovation
            self._speed = self._speed + gain[1] * innovation
            self._cov = cov - np.outer(gain, cov[0])
        self.face = replace(face, track_id=self.id)
        self.seen_at = time_s


def _measured(face: Face) -> FloatArray:
    x1, y1, x2, y2 = face.bbox
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])


def _travel(dt: float) -> float:
    """Seconds of undamped movement that equal `dt` seconds of damped one."""
    return _DAMPING_S * (1 - math.exp(-dt / _DAMPING_S))


def _forward(cov: FloatArray, dt: float) -> FloatArray:
    step = np.array([[1.0, _travel(dt)], [0.0, math.exp(-dt / _DAMPING_S)]])
    noise = np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]]) * _ACCELERATION
    return np.asarray(step @ cov @ step.T + noise)


def iou(a: BBox, b: BBox) -> float:
    """Returns the intersection over union of two boxes (x1, y1, x2, y2), in [0, 1]."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def ious(some: FloatArray, others: FloatArray) -> FloatArray:
    """Returns `iou` of boxes (N, 4) with others (M, 4), as (N, M)."""
    corners = np.minimum(some[:, None, 2:], others[None, :, 2:]) - np.maximum(some[:, None, :2], others[None, :, :2])
    shared = np.prod(np.maximum(corners, 0), axis=2)
    areas, other_areas = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (some, others))
    return np.asarray(shared / (areas[:, None] + other_areas[None, :] - shared))


def _overlap(tracks: Sequence[Track], faces: Sequence[Face], now: float, least: float = _MIN_IOU) -> FloatArray:
    """Similarity by overlap and key points, a row a track and a column a face; 0 for too little."""
    expected = np.array([track.predict(now) for track in tracks])
    table = ious(expected, np.array([face.bbox for face in faces]))
    table[table < least] = 0.0
    for row, column in np.argwhere(table).tolist():
        track, face = tracks[row].face, faces[column]
        if track.kps is None or face.kps is None:
            continue
        moved = expected[row, :2] - track.bbox[:2]
        off = float(np.linalg.norm(np.array(track.kps) + moved - np.array(face.kps), axis=1).mean()) / face.side
        table[row, column] += _KPS_WEIGHT * max(0.0, 1 - 2 * off)
    return table


def _strict_overlap(tracks: Sequence[Track], faces: Sequence[Face], now: float) -> FloatArray:
    return _overlap(tracks, faces, now, _MIN_IOU_LOW)


def _nearness(tracks: Sequence[Track], faces: Sequence[Face], now: float) -> FloatArray:
    """Similarity by distance and size, for faces that moved further than they are wide; few are left for it."""
    return np.array([[_near(track, face, now) for face in faces] for track in tracks])


def _near(track: Track, face: Face, now: float) -> float:
    if now - track.seen_at > PAUSE_S:
        return 0.0
    x1, y1, x2, y2 = track.predict(now)
    size, new = max(x2 - x1, y2 - y1), face.side
    if max(size, new) > _MAX_RATIO * min(size, new):
        return 0.0
    away = math.hypot(x1 + x2 - face.bbox[0] - face.bbox[2], y1 + y2 - face.bbox[1] - face.bbox[3]) / 2
    reach = min(_REACH + 2 * track.uncertainty(now), _MAX_REACH)
    return max(0.0, 1 - away / (reach * size))


def _assign(tracks: Sequence[Track], faces: Sequence[Face], measure: Measure, now: float) -> list[tuple[Track, Face]]:
    """Returns the pairs with the largest sum of similarity; a similarity of 0 makes no pair."""
    if not tracks or not faces:
        return []
    table = measure(tracks, faces, now)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return [(tracks[r], faces[c]) for r, c in zip(rows, columns, strict=True) if table[r, c] > 0]


class Tracker:
    """Gives the faces of a stream ids that stay with the person.

    Faces are matched to where a Kalman filter expects them, by overlap in two rounds: first the sure
    detections, then the unsure ones for faces that would else be lost. What is left is matched by
    distance and size, so that fast faces and low frame rates do not break a track.

    Source: Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV
    2022; the rounds are theirs, time in seconds, key points and the round by distance are not.

    Example:
        >>> tracker = Tracker()
        >>> for time_s, image in frames:
        ...     for track in tracker.update(analyzer.detect(image, det_threshold=0.2), time_s):
        ...         print(track.id, track.face.bbox)

    Attributes:
        tracks: All tracks, those included that are lost for now.
    """

    def __init__(self, det_threshold: float = 0.5, max_lost_s: float = 2.0) -> None:
        """Begins a stream.

        Args:
            det_threshold: Only faces with this detection score, in [0, 1], begin a track; others may
                continue one.
            max_lost_s: Seconds for which a person who is not seen keeps the id.
        """
        self.det_threshold = det_threshold
        self.max_lost_s = max_lost_s
        self.reset()

    def reset(self, after: int = 0) -> None:
        """Begins anew: the first id is the one after `after`."""
        self._next_id = after + 1
        self._now = -math.inf
        self.cut()

    def cut(self) -> None:
        """Ends all tracks, where a video shows something else from one frame to the next; ids go on."""
        self.tracks: tuple[Track, ...] = ()
        self._fresh = True

    def update(self, faces: Sequence[Face], time_s: float) -> tuple[Track, ...]:
        """Takes in the faces of the next frame.

        Args:
            faces: The faces found in it, with boxes in pixels, those below the threshold included.
            time_s: The frame's time in seconds; one before the last frame's counts as the last one's.

        Returns:
            The tracks found in this frame, the oldest first. All faces of the first frame, and of the
            first one after a cut, have an id at once, later ones when found in all frames of 0.2 s.
        """
        self._now = now = max(time_s, self._now)
        pairs = self.match(faces, now)
        matched = {face for _, face in pairs}
        for track, face in pairs:
            track.see(face, now)
        seen = {track for track, _ in pairs}
        kept = [t for t in self.tracks if t in seen or (t.id is not None and now - t.seen_at <= self.max_lost_s)]
        begun = [
            Track(replace(face, track_id=None), now, now)
            for face in faces
            if face.det_score >= self.det_threshold and face not in matched
        ]
        self.tracks = (*kept, *begun)
        found = tuple(t for t in self.tracks if t in seen or t in begun)
        for track in self.tracks:
            if track in found:
                self._confirm(track)
            else:
                track.state = TrackState.LOST
        self._fresh = False
        return found

    def match(self, faces: Sequence[Face], time_s: float) -> list[tuple[Track, Face]]:
        """Returns which faces `update` would take for which tracks; nothing changes."""
        sure = [face for face in faces if face.det_score >= self.det_threshold]
        unsure = [face for face in faces if face.det_score < self.det_threshold]
        pairs: list[tuple[Track, Face]] = []
        for candidates, measure in ((sure, _overlap), (unsure, _strict_overlap), (sure, _nearness)):
            taken_tracks, taken = {track for track, _ in pairs}, {face for _, face in pairs}
            tracks = [
                track
                for track in self.tracks
                if track not in taken_tracks and (candidates is sure or track.state is TrackState.CONFIRMED)
            ]
            pairs += _assign(tracks, [face for face in candidates if face not in taken], measure, time_s)
        return pairs

    def _confirm(self, track: Track) -> None:
        if track.id is None:
            if not self._fresh and track.seen_at - track.first_at < _CONFIRM_S:
                return
            track.face = replace(track.face, track_id=self._next_id)
            self._next_id += 1
        track.state = TrackState.CONFIRMED
