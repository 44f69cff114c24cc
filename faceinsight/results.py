"""What an analysis returns: immutable values made of plain Python types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

BBox = tuple[float, float, float, float]
Keypoints = tuple[tuple[float, float], ...]

# Faces stand in one row whose middles differ by less, in heights of a face.
_ROW = 0.7


def percent(share: float) -> str:
    """Returns a probability as text; no estimate is certain, so none reads 100 %."""
    return ">99%" if share > 0.99 else f"{share:.0%}"


@dataclass(frozen=True, slots=True)
class Classification:
    """A probability distribution over named classes.

    Attributes:
        labels: Class names, in the model's order.
        probabilities: One value in [0, 1] per label; they sum to 1.
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.labels[self.probabilities.index(max(self.probabilities))]

    @property
    def confidence(self) -> float:
        """The probability of `label`, in [0, 1]."""
        return max(self.probabilities)

    def __str__(self) -> str:
        """The answer as a person would say it, such as "female 97%"."""
        return f"{self.label} {percent(self.confidence)}"

    def as_dict(self) -> dict[str, float]:
        """Returns the distribution as `{label: probability}`, in the model's order."""
        return dict(zip(self.labels, self.probabilities, strict=True))


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one image; what no model was there for is None, never a guess.

    Attributes:
        bbox: Box as (x1, y1, x2, y2) in pixels of the analysed image, origin at the top left.
            It may reach past the image where the face does.
        det_score: The detector's confidence, in [0, 1].
        kps: Five points (x, y) in pixels: left eye, right eye, nose tip, left and right corner of
            the mouth, as seen in the image; None where the detector gives none.
        age: Apparent age in years.
        age_range: The 10th and 90th percentile of the predicted age in years; None where the
            model predicts a single number.
        gender: Gender presentation, with labels "female" and "male".
        emotion: Facial expression.
        valence: How pleasant the expression looks, about -1 to 1; only from models that tell.
        arousal: How excited the expression looks, about -1 to 1; only from models that tell.
        heads: (name, answer) of every further classifier that the pack declares.
        track_id: In a stream, the person's number, counted from 1; None in a photo, and until a new
            face was seen often enough to be no false alarm.
        raw: In a stream, the face as found in this very frame, before smoothing over time, with the
            answers that were asked for in this frame; else None.
    """

    bbox: BBox
    det_score: float
    kps: Keypoints | None = None
    age: float | None = None
    age_range: tuple[float, float] | None = None
    gender: Classification | None = None
    emotion: Classification | None = None
    valence: float | None = None
    arousal: float | None = None
    heads: tuple[tuple[str, Classification], ...] = ()
    track_id: int | None = None
    raw: Face | None = None

    def __str__(self) -> str:
        """What is known of the face, such as "age 34 · female 97% · Happiness 88% · box 12, 30, 96, 120"."""
        known = [] if self.track_id is None else [f"#{self.track_id}"]
        if self.age is not None:
            low_high = "" if self.age_range is None else f" ({self.age_range[0]:.0f}-{self.age_range[1]:.0f})"
            known.append(f"age {self.age:.0f}{low_high}")
        known += [str(answer) for answer in (self.gender, self.emotion) if answer is not None]
        known += [f"{name}: {answer}" for name, answer in self.heads]
        return " · ".join([*known, "box " + ", ".join(f"{edge:.0f}" for edge in self.bbox)])

    @property
    def width(self) -> float:
        """Width of the box in pixels."""
        return self.bbox[2] - self.bbox[0]

    @property
    def height(self) -> float:
        """Height of the box in pixels."""
        return self.bbox[3] - self.bbox[1]

    @property
    def side(self) -> float:
        """The longer of the two, in pixels: what the size of a face means here."""
        return max(self.width, self.height)

    def scaled(self, x: float, y: float) -> Face:
        """Returns the face in pixels of an image that is so many times as wide and as high."""
        kps = self.kps and tuple((across * x, down * y) for across, down in self.kps)
        x1, y1, x2, y2 = self.bbox
        raw = self.raw and self.raw.scaled(x, y)
        return replace(self, bbox=(x1 * x, y1 * y, x2 * x, y2 * y), kps=kps, raw=raw)


def face_numbers(faces: Sequence[Face]) -> list[int]:
    """Returns the number by which each face is shown: 1, 2, 3, ...; in a stream its `track_id`, 0 for none yet."""
    return [n if face.raw is None else face.track_id or 0 for n, face in enumerate(faces, start=1)]


def reading_order(faces: Sequence[Face]) -> tuple[Face, ...]:
    """Returns faces as one reads them: row by row from the top, each from left to right.

    Heads of one row are seldom of one height: who is less than most of a face above or below the others stands in it.
    """
    rows: list[list[Face]] = []
    for face in sorted(faces, key=_middle):
        if rows:
            row = rows[-1]
            level = sum(map(_middle, row)) / len(row)
            height = sum(other.height for other in (*row, face)) / (len(row) + 1)
            if _middle(face) - level < _ROW * height:
                row.append(face)
                continue
        rows.append([face])
    return tuple(face for row in rows for face in sorted(row, key=lambda face: face.bbox[0] + face.bbox[2]))


def _middle(face: Face) -> float:
    return (face.bbox[1] + face.bbox[3]) / 2


@dataclass(frozen=True, slots=True)
class FrameAnalysis:
    """All faces of one image, and what produced them.

    Attributes:
        width: Width of the analysed image in pixels.
        height: Height of the analysed image in pixels.
        faces: The faces in `reading_order`; in a stream by `track_id`.
        pack: Name of the model pack.
        stages: The stages that ran, of "detector", "attributes", "emotion" and further heads.
        missing: (stage, reason) for every stage of the pack that could not run.
        timings: (stage, milliseconds) for every stage that ran.
    """

    width: int
    height: int
    faces: tuple[Face, ...]
    pack: str
    stages: tuple[str, ...]
    missing: tuple[tuple[str, str], ...] = ()
    timings: tuple[tuple[str, float], ...] = ()

    @property
    def elapsed_ms(self) -> float:
        """Wall time of the whole analysis in milliseconds."""
        return sum(ms for _, ms in self.timings)

    @property
    def largest(self) -> int | None:
        """Index of the face with the largest box; None without faces."""
        if not self.faces:
            return None
        areas = [face.width * face.height for face in self.faces]
        return areas.index(max(areas))
