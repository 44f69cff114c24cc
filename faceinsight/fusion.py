"""Makes one steady answer out of a person's answers over time."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from faceinsight.inference.crops import box_pixels
from faceinsight.results import Classification, Face, Keypoints

FloatArray = npt.NDArray[np.float64]

# One-Euro filter, for values in face sizes: how much less to smooth at a speed of one size a second.
_BETA = 5.0
_SPEED_CUTOFF_HZ = 1.0
# At a smoothing of 1: seconds for which an expression or gender counts, and how many ages do.
_EMOTION_S = 0.6
_GENDER_S = 20.0
_AGES = 256
# How much likelier another class must become before it replaces the one on show.
_EMOTION_MARGIN = 0.2
_GENDER_MARGIN = 0.2
# Ages further from the median than this many years count less (Huber's weights).
_HUBER_YEARS = 2.0
# From so many answers on, the age on show follows their mean only where that is further away than this, in years at a
# smoothing of 1: below a number in whole years nobody sees more than unrest.
_AGE_ANSWERS = 5
_AGE_SLACK = 3.2

_GOOD_SIZE = 96.0
_GOOD_SHARPNESS = 50.0
_LEAST_QUALITY = 0.05
_SURE = 0.8


class OneEuroFilter:
    """Smooths values that come at any times: much while they rest, little while they move.

    Source: Casiez, Roussel and Vogel, "1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy
    Input in Interactive Systems", CHI 2012.
    """

    def __init__(self, min_cutoff: float, beta: float, speed_cutoff: float = _SPEED_CUTOFF_HZ) -> None:
        """Makes a filter that has seen nothing.

        Args:
            min_cutoff: Cutoff frequency of values at rest in Hz.
            beta: How much the cutoff rises, in Hz, with a speed of one unit a second.
            speed_cutoff: Cutoff frequency of the speed in Hz.
        """
        self.min_cutoff = min_cutoff
        self.beta = beta
        self.speed_cutoff = speed_cutoff
        self._value: FloatArray | None = None
        self._speed: FloatArray | None = None

    def __call__(self, values: FloatArray, dt: float, unit: float = 1.0) -> FloatArray:
        """Returns (N,) smoothed values.

        Args:
            values: (N,) the next values; another N than before begins anew.
            dt: Seconds since the values before.
            unit: What counts as one unit of `values`, for the speed.
        """
        if self._value is None or self._speed is None or len(self._value) != len(values):
            self._value, self._speed = values, np.zeros(len(values))
        elif dt > 0:
            speed = (values - self._value) / (dt * unit)
            self._speed = self._speed + _share(self.speed_cutoff, dt) * (speed - self._speed)
            cutoff = self.min_cutoff + self.beta * np.abs(self._speed)
            self._value = self._value + _share(cutoff, dt) * (values - self._value)
        return self._value


def _share(cutoff: float | FloatArray, dt: float) -> FloatArray:
    """The weight of a new value in a low-pass filter, in (0, 1)."""
    return np.asarray(1 / (1 + 1 / (2 * math.pi * cutoff * dt)))


class _Average:
    """A quality-weighted average of class probabilities that forgets exponentially."""

    def __init__(self, memory_s: float, margin: float) -> None:
        self._memory_s = memory_s
        self._margin = margin
        self._sum: FloatArray | float = 0.0
        self._weight = 0.0
        self._at = -math.inf
        self._label = -1

    def add(self, values: FloatArray, weight: float, time_s: float) -> FloatArray:
        """Returns the average after (N,) new values."""
        kept = math.exp(-max(time_s - self._at, 0.0) / self._memory_s)
        self._sum = self._sum * kept + values * weight
        self._weight = self._weight * kept + weight
        self._at = max(time_s, self._at)
        return np.asarray(self._sum / self._weight)

    def classify(self, answer: Classification, weight: float, time_s: float) -> Classification:
        """Returns the averaged answer; its label changes only where another one leads by the margin."""
        shares = self.add(np.array(answer.probabilities), weight, time_s)
        best = int(shares.argmax())
        if self._label < 0 or shares[best] > shares[self._label] + self._margin:
            self._label = best
        # The label on show is the most probable one by definition: the others are cut to just below it.
        shares[self._label] = max(shares[self._label], shares[best] + 1e-6 * (best != self._label))
        return Classification(answer.labels, tuple((shares / shares.sum()).tolist()))


class FaceFusion:
    """One person's place, age, gender and expression, made steady over time.

    Expression and further heads are averaged over a time constant, gender over a longer one, and age is a
    robust mean of the last answers; all count by the quality of the picture they were read off. A label
    changes only when another one leads clearly. Boxes and key points pass a One-Euro filter.

    Attributes:
        sure: Whether the gender is beyond doubt; False before the first answer.
    """

    def __init__(self, smoothing: float = 0.5) -> None:
        """Begins with nothing known.

        Args:
            smoothing: From 0, every answer as it comes, to 1, the steadiest.
        """
        self.smoothing = smoothing
        self._known: Face | None = None
        self._at = 0.0
        self._ages: deque[tuple[float, float, float, float]] = deque(maxlen=max(1, round(_AGES * smoothing)))
        self._averages: dict[str, _Average] = {}
        self.settle()

    @property
    def sure(self) -> bool:
        """Whether the gender is beyond doubt; False before the first answer."""
        gender = None if self._known is None else self._known.gender
        return gender is not None and gender.confidence > _SURE

    def settle(self) -> None:
        """Begins the smoothing of the place anew, after a pause."""
        self._filter = OneEuroFilter(1 / max(self.smoothing, 1e-3) - 0.5, _BETA)

    def place(self, face: Face, time_s: float) -> Face:
        """Takes in where a frame shows the person.

        Args:
            face: The face as found in the frame.
            time_s: The frame's time in seconds, not before the last one's.

        Returns:
            The face with steady box and key points.
        """
        if self.smoothing == 0:
            return face
        points = np.array([*face.bbox, *(v for point in face.kps or () for v in point)])
        x1, y1, x2, y2, *rest = self._filter(points, time_s - self._at, max(face.side, 1.0)).tolist()
        self._at = time_s
        return replace(face, bbox=(x1, y1, x2, y2), kps=tuple(zip(rest[::2], rest[1::2], strict=True)) or None)

    def update(self, face: Face, time_s: float, quality: float = 1.0) -> Face:
        """Takes in what a frame says of the person.

        Args:
            face: The face with the answers of this frame; those that were not asked for are None.
            time_s: The frame's time in seconds, not before the last one's.
            quality: How well the answers can be read off the picture, above 0, up to 1.

        Returns:
            The face, in its place, with steady answers; what was not asked for is as it was.
        """
        known = self._known
        steady = face
        if known is not None:
            steady = replace(
                face,
                age=known.age if face.age is None else face.age,
                age_range=known.age_range if face.age is None else face.age_range,
                gender=face.gender or known.gender,
                emotion=face.emotion or known.emotion,
                valence=known.valence if face.emotion is None else face.valence,
                arousal=known.arousal if face.emotion is None else face.arousal,
                heads=tuple((dict(known.heads) | dict(face.heads)).items()),
            )
        if self.smoothing > 0:
            steady = self._answers(steady, face, time_s, quality)
        self._known = steady
        return steady

    def _answers(self, steady: Face, face: Face, time_s: float, quality: float) -> Face:
        if face.age is not None:
            self._ages.append((face.age, *(face.age_range or (math.nan, math.nan)), quality))
            mean, low, high = _robust_mean(np.array(self._ages))
            age = self._steady_age(mean)
            more = age - mean
            steady = replace(steady, age=age, age_range=None if face.age_range is None else (low + more, high + more))
        if face.gender is not None:
            average = self._average("gender", _GENDER_S, _GENDER_MARGIN)
            steady = replace(steady, gender=average.classify(face.gender, quality, time_s))
        if face.emotion is not None:
            average = self._average("emotion", _EMOTION_S, _EMOTION_MARGIN)
            steady = replace(steady, emotion=average.classify(face.emotion, quality, time_s))
            if face.valence is not None and face.arousal is not None:
                mood = self._average("mood", _EMOTION_S, 0).add(np.array([face.valence, face.arousal]), quality, time_s)
                steady = replace(steady, valence=float(mood[0]), arousal=float(mood[1]))
        if face.heads:
            heads = {
                name: self._average(f"head {name}", _EMOTION_S, _EMOTION_MARGIN).classify(answer, quality, time_s)
                for name, answer in face.heads
            }
            steady = replace(steady, heads=tuple((dict(steady.heads) | heads).items()))
        return steady

    def _steady_age(self, mean: float) -> float:
        """Returns the age to show for the mean of the answers."""
        if len(self._ages) < _AGE_ANSWERS or self._known is None or self._known.age is None:
            return mean
        slack = _AGE_SLACK * self.smoothing
        return min(max(self._known.age, mean - slack), mean + slack)

    def _average(self, name: str, memory_s: float, margin: float) -> _Average:
        if name not in self._averages:
            self._averages[name] = _Average(memory_s * self.smoothing, margin)
        return self._averages[name]


def _robust_mean(rows: FloatArray) -> list[float]:
    """Returns the means of the columns of (N, K + 1), the last column being weights, robust in the first."""
    order = rows[rows[:, 0].argsort()]
    below = order[:, -1].cumsum()
    median = order[np.searchsorted(below, below[-1] / 2), 0]
    weights = rows[:, -1] * _HUBER_YEARS / np.maximum(np.abs(rows[:, 0] - median), _HUBER_YEARS)
    return [float(mean) for mean in weights @ rows[:, :-1] / weights.sum()]


def picture_quality(image: npt.NDArray[np.uint8], face: Face) -> float:
    """Returns how well answers can be read off a face, above 0, up to 1.

    It falls for small, blurred and turned faces and for unsure detections. It is a rule of thumb for
    weighing a person's pictures against each other, and no probability.

    Args:
        image: (H, W, 3) uint8 RGB.
        face: A detected face of this image.
    """
    x1, y1, x2, y2 = box_pixels(image, face.bbox)
    # At one size, as the same face has more detail a pixel the fewer pixels it has.
    crop = cv2.resize(image[y1:y2, x1:x2, 1], (64, 64), interpolation=cv2.INTER_AREA)
    detail = float(cv2.Laplacian(crop, cv2.CV_32F).var())
    size = min(face.side / _GOOD_SIZE, 1.0)
    quality = size * detail / (detail + _GOOD_SHARPNESS) * _frontality(face.kps) * face.det_score
    return max(quality, _LEAST_QUALITY)


def _frontality(kps: Keypoints | None) -> float:
    """1 for a face that looks into the camera, down to 0 for a profile; 1 where there are no key points."""
    if kps is None:
        return 1.0
    left_eye, right_eye, nose, left_mouth, right_mouth = np.array(kps)
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    across, down = right_eye - left_eye, mouth - eyes
    # In a frontal face the nose lies on the middle line, half-way from the eyes to the mouth.
    yaw = abs(float((nose - (eyes + mouth) / 2) @ across)) / max(float(across @ across), 1e-6)
    pitch = abs(float((nose - eyes) @ down) / max(float(down @ down), 1e-6) - 0.5)
    return max(0.0, 1 - 1.5 * yaw) * max(0.0, 1 - 1.5 * pitch)
