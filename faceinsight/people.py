"""Sums a clip up: one row a person instead of one a face and frame."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from faceinsight.analyses import Analyses
from faceinsight.results import Classification, Face, FrameAnalysis


@dataclass(frozen=True, slots=True)
class Moment:
    """A face in one analysed frame.

    Attributes:
        time: Seconds from the beginning of the video.
        seconds: Seconds until the next analysed frame: how long the face counts for.
        face: The face.
    """

    time: float
    seconds: float
    face: Face


class _Moments(Sequence[Moment]):
    """The moments of one person: which faces of which frames; the faces themselves are made when they are asked for."""

    def __init__(self, frames: Sequence[tuple[float, FrameAnalysis]], lengths: Sequence[float]) -> None:
        self._frames = frames
        self._lengths = lengths
        self._where = array("I")

    def add(self, frame: int, number: int) -> None:
        """Adds a face of a frame."""
        self._where.extend((frame, number))

    def __len__(self) -> int:
        return len(self._where) // 2

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(one == two for one, two in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash((len(self), self[0]))

    @overload
    def __getitem__(self, index: int) -> Moment: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Moment]: ...
    def __getitem__(self, index: int | slice) -> Moment | Sequence[Moment]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        n = range(len(self))[index]
        frame, number = self._where[2 * n : 2 * n + 2]
        if isinstance(self._frames, Analyses):
            return Moment(self._frames.time(frame), self._lengths[frame], self._frames.face(frame, number))
        time, analysis = self._frames[frame]
        return Moment(time, self._lengths[frame], analysis.faces[number])


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who was followed through a clip; what no model was there for is None.

    Attributes:
        track_id: The person's number.
        moments: The analysed frames that show the person, in order; at least one.
    """

    track_id: int
    moments: Sequence[Moment]

    @property
    def first(self) -> float:
        """Seconds from the beginning of the video at which the person is first seen."""
        return self.moments[0].time

    @property
    def last(self) -> float:
        """Seconds from the beginning of the video at which the person is last seen."""
        return self.moments[-1].time + self.moments[-1].seconds

    @property
    def seconds(self) -> float:
        """Seconds on screen; what lies between leaving and coming back does not count."""
        return sum(moment.seconds for moment in self.moments)

    @property
    def age(self) -> float | None:
        """Apparent age in years: the median over the frames."""
        ages = [moment.face.age for moment in self.moments if moment.face.age is not None]
        return float(np.median(ages)) if ages else None

    @property
    def age_range(self) -> tuple[float, float] | None:
        """Medians of the ends of the frames' age ranges, in years."""
        ranges = [moment.face.age_range for moment in self.moments if moment.face.age_range is not None]
        if not ranges:
            return None
        low, high = np.median(ranges, axis=0).tolist()
        return low, high

    @property
    def gender(self) -> Classification | None:
        """Gender presentation: the mean of the frames' probabilities."""
        return _mean([(moment.seconds, moment.face.gender) for moment in self.moments])

    @property
    def emotion(self) -> Classification | None:
        """Facial expression: the mean of the frames' probabilities, so each class's share of the time on screen."""
        return _mean([(moment.seconds, moment.face.emotion) for moment in self.moments])

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        low, high = self.age_range or (None, None)
        gender, emotion = self.gender, self.emotion
        return {
            "track_id": self.track_id,
            "first": round(self.first, 3),
            "last": round(self.last, 3),
            "seconds": round(self.seconds, 3),
            "age": self.age and round(self.age, 1),
            "age_low": low and round(low, 1),
            "age_high": high and round(high, 1),
            "gender": gender and gender.label,
            "gender_confidence": gender and round(gender.confidence, 4),
            "emotion": emotion and emotion.label,
            "emotion_shares": emotion and {name: round(share, 4) for name, share in emotion.as_dict().items()},
        }


def _mean(answers: Sequence[tuple[float, Classification | None]]) -> Classification | None:
    known = [(max(seconds, 1e-6), answer) for seconds, answer in answers if answer is not None]
    if not known:
        return None
    weights, shares = [seconds for seconds, _ in known], [answer.probabilities for _, answer in known]
    return Classification(known[0][1].labels, tuple(np.average(shares, axis=0, weights=weights).tolist()))


def people_of(frames: Sequence[tuple[float, FrameAnalysis]]) -> tuple[Person, ...]:
    """Gathers the people of a clip.

    Args:
        frames: (seconds from the beginning, analysis) of every analysed frame, in order.

    Returns:
        The people by number. Faces without a number, seen too short to be sure of, belong to nobody.
    """
    times, lengths = array("d"), array("d")
    moments: dict[int, _Moments] = {}
    for frame, (time, analysis) in enumerate(frames):
        times.append(time)
        for number, face in enumerate(analysis.faces):
            if face.track_id is not None:
                moments.setdefault(face.track_id, _Moments(frames, lengths)).add(frame, number)
    steps = np.diff(times)
    # The last frame lasts as long as most.
    lengths.extend((*steps, np.median(steps) if len(steps) else 0.0))
    return tuple(Person(number, some) for number, some in sorted(moments.items()))
