"""Keeps the analyses of a long clip in little memory: numbers side by side, objects made when they are asked for."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from typing import Any, overload

from faceinsight.export import Row, face_record
from faceinsight.results import Classification, Face, FrameAnalysis

Analysed = tuple[float, FrameAnalysis]
# What of a face is known, without the numbers: how many key points; whether there are an age and its range; the labels
# of gender and emotion; whether there is a mood; the names and labels of further heads; whether there is a number; and
# the same of what the frame itself says.
_Form = tuple[Any, ...]


class Analyses(Sequence[Analysed]):
    """(seconds from the beginning, analysis) of frame after frame, some 250 bytes a face.

    The numbers of faces are kept as float32.
    """

    def __init__(self) -> None:
        """Begins with none."""
        self._times = array("d")
        # By frame: what all its faces share, its first face, and the first of its timings.
        self._about, self._first, self._timed = array("I"), array("I", [0]), array("I", [0])
        self._timings = array("f")
        # By face: its form, and its first number.
        self._formed, self._begin = array("I"), array("Q", [0])
        self._numbers = array("f")
        # What comes again and again is kept once.
        self._abouts: dict[tuple[Any, ...], int] = {}
        self._forms: dict[_Form, int] = {}
        self._known_abouts: list[tuple[Any, ...]] = []
        self._known_forms: list[_Form] = []

    @property
    def faces(self) -> int:
        """How many faces there are in all frames."""
        return len(self._formed)

    def append(self, time: float, analysis: FrameAnalysis) -> None:
        """Adds the next frame."""
        for face in analysis.faces:
            form, numbers = _taken_apart(face)
            self._formed.append(_index(form, self._forms, self._known_forms))
            self._numbers.extend(numbers)
            self._begin.append(len(self._numbers))
        stages = tuple(stage for stage, _ in analysis.timings)
        about = (analysis.width, analysis.height, analysis.pack, analysis.stages, analysis.missing, stages)
        self._times.append(time)
        self._about.append(_index(about, self._abouts, self._known_abouts))
        self._first.append(len(self._formed))
        self._timings.extend(ms for _, ms in analysis.timings)
        self._timed.append(len(self._timings))

    def time(self, frame: int) -> float:
        """Returns the time of a frame, counted from 0."""
        return self._times[frame]

    def face(self, frame: int, number: int) -> Face:
        """Returns a face of a frame, both counted from 0."""
        index = self._first[frame] + number
        numbers = iter(self._numbers[self._begin[index] : self._begin[index + 1]])
        return _put_together(self._known_forms[self._formed[index]], numbers)

    def __len__(self) -> int:
        return len(self._times)

    @overload
    def __getitem__(self, index: int) -> Analysed: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Analysed]: ...
    def __getitem__(self, index: int | slice) -> Analysed | Sequence[Analysed]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        frame = range(len(self))[index]
        width, height, pack, stages, missing, timed = self._known_abouts[self._about[frame]]
        faces = tuple(self.face(frame, n) for n in range(self._first[frame + 1] - self._first[frame]))
        ms = self._timings[self._timed[frame] : self._timed[frame + 1]]
        timings = tuple(zip(timed, ms, strict=True))
        return self._times[frame], FrameAnalysis(width, height, faces, pack, stages, missing, timings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(_equal, self, other))

    __hash__ = None  # type: ignore[assignment]


class Rows(Collection[Row]):
    """The faces of a clip with their times, as of `face_record`, made while they are gone through."""

    def __init__(self, frames: Sequence[Analysed]) -> None:
        """Takes (seconds from the beginning, analysis) of the frames in order."""
        self._frames = frames
        self._count = frames.faces if isinstance(frames, Analyses) else sum(len(known.faces) for _, known in frames)

    def __iter__(self) -> Iterator[Row]:
        for at, analysis in self._frames:
            for number, face in enumerate(analysis.faces, start=1):
                yield {"time": round(at, 3)} | face_record(face, number)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, row: object) -> bool:
        return any(row == each for each in self)


def _equal(one: object, other: object) -> bool:
    return one == other


def _index(value: Any, known: dict[Any, int], values: list[Any]) -> int:
    if value not in known:
        known[value] = len(values)
        values.append(value)
    return known[value]


def _taken_apart(face: Face) -> tuple[_Form, list[float]]:
    numbers = [*face.bbox, face.det_score]
    for x, y in face.kps or ():
        numbers += (x, y)
    for value in (face.age, face.valence, face.arousal, face.track_id):
        if value is not None:
            numbers.append(value)
    numbers += face.age_range or ()
    for answer in (face.gender, face.emotion, *(answer for _, answer in face.heads)):
        if answer is not None:
            numbers += answer.probabilities
    raw: _Form | None = None
    if face.raw is not None:
        raw, more = _taken_apart(face.raw)
        numbers += more
    form = (
        None if face.kps is None else len(face.kps),
        tuple(value is not None for value in (face.age, face.valence, face.arousal, face.track_id)),
        face.age_range is not None,
        face.gender and face.gender.labels,
        face.emotion and face.emotion.labels,
        tuple((name, answer.labels) for name, answer in face.heads),
        raw,
    )
    return form, numbers


def _put_together(form: _Form, numbers: Iterator[float]) -> Face:
    points, single, ranged, gender, emotion, heads, raw = form

    def pair() -> tuple[float, float]:
        return next(numbers), next(numbers)

    def answer(labels: tuple[str, ...] | None) -> Classification | None:
        return None if labels is None else Classification(labels, tuple(next(numbers) for _ in labels))

    box, score = (*pair(), *pair()), next(numbers)
    kps = None if points is None else tuple(pair() for _ in range(points))
    age, valence, arousal, number = (next(numbers) if known else None for known in single)
    age_range = pair() if ranged else None
    answers = {"gender": answer(gender), "emotion": answer(emotion)}
    others = tuple((name, Classification(labels, tuple(next(numbers) for _ in labels))) for name, labels in heads)
    return Face(
        bbox=box,
        det_score=score,
        kps=kps,
        age=age,
        age_range=age_range,
        valence=valence,
        arousal=arousal,
        heads=others,
        track_id=None if number is None else int(number),
        raw=None if raw is None else _put_together(raw, numbers),
        **answers,
    )
