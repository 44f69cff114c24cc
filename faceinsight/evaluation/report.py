"""What an evaluation found: a frozen value, as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from faceinsight.evaluation.metrics import (
    ALARM_RATE,
    SURE,
    THRESHOLD,
    AgeMetrics,
    BucketMetrics,
    ClassMetrics,
    DetectionMetrics,
    Floats,
)

_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Report:
    """How well a pack does on a data set.

    Attributes:
        data_set: "fer2013", "ferplus", "rafdb", "utkface", "fairface", "fgnet" or "detection".
        path: The base name of the folder or archive.
        pack: Name of the model pack.
        version: FaceInsight's version.
        date: When, in UTC, as of ISO 8601.
        split: The split measured; None where the set has none.
        fold: The fold (0-9) measured; None for all.
        limit: How many pictures were asked for at most; None for all.
        size: How many pictures were measured.
        skipped: How many were left out, by reason.
        crop: One sentence on what the models were shown.
        notes: Further sentences on how the figures come about.
        found: Share of single-face pictures in which the pack's detector finds a face.
        emotion: Expressions, in the sets that label them.
        cross_entropy: Mean cross-entropy with the shares of people's votes, in nats, where a set has them.
        age_bucket: Ages against buckets of ages, for "all", by bucket and by the set's race label.
        age: Ages, for "all" and by band.
        gender: Genders, for "all", by band of ages and by the set's race label.
        detection: Boxes.
        curves: What charts are drawn of and JSON leaves out: `age` and `true_age` (N,) in years, or
            `precision` and `recall` (N,).
    """

    data_set: str
    path: str
    pack: str
    version: str
    date: str
    split: str | None = None
    fold: int | None = None
    limit: int | None = None
    size: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    crop: str = ""
    notes: tuple[str, ...] = ()
    found: float | None = None
    emotion: ClassMetrics | None = None
    cross_entropy: float | None = None
    age_bucket: dict[str, BucketMetrics] | None = None
    age: dict[str, AgeMetrics] | None = None
    gender: dict[str, ClassMetrics] | None = None
    detection: DetectionMetrics | None = None
    curves: dict[str, Floats] = field(default_factory=dict, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON; what was not measured is left out, shares have four digits."""
        values = asdict(self)
        del values["curves"]
        for name in ("found", "emotion", "cross_entropy", "age_bucket", "age", "gender", "detection"):
            if values[name] is None:
                del values[name]
        return {name: _rounded(value) for name, value in values.items()}

    def as_text(self) -> str:
        """Returns the same as tables for a person, without the confusion of classes and the curve."""
        where = [f"split {self.split}"] if self.split is not None else []
        where += [f"fold {self.fold}"] if self.fold is not None else []
        lines = [f"{self.data_set}: {', '.join([self.path, *where])}, {self.size} pictures, pack {self.pack}"]
        lines += [f"{count} skipped: {reason}" for reason, count in self.skipped.items()]
        lines += [self.crop, *self.notes]
        if self.found is not None:
            lines.append(f"The detector finds {self.found:.1%} of the faces.")
        if self.emotion is not None:
            lines += ["", *_emotion_lines(self.emotion, self.cross_entropy)]
        if self.age_bucket is not None:
            lines += ["", *_bucket_lines(self.age_bucket)]
        if self.age is not None:
            lines += ["", *_age_lines(self.age)]
        if self.gender is not None:
            lines += ["", *_gender_lines(self.gender)]
        if self.detection is not None:
            lines += ["", *_detection_lines(self.detection)]
        return "\n".join(lines)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Returns lines with the first column to the left and the others to the right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _emotion_lines(emotion: ClassMetrics, cross_entropy: float | None) -> list[str]:
    rows = [
        (name, s.count, _percent(s.precision), _percent(s.recall if s.count else None), _percent(s.f1))
        for name, s in emotion.classes.items()
    ]
    votes = "" if cross_entropy is None else f", cross-entropy with the votes {cross_entropy:.3f}"
    return [
        f"accuracy {emotion.accuracy:.1%}, macro F1 {emotion.macro_f1:.1%}, calibration error {emotion.ece:.1%}{votes}",
        *_table(("emotion", "pictures", "precision", "recall", "F1"), rows),
    ]


def _bucket_lines(buckets: Mapping[str, BucketMetrics]) -> list[str]:
    rows = [(name, m.count, _percent(m.accuracy), _number(m.distance), f"{m.bias:+.2f}") for name, m in buckets.items()]
    return _table(("age bucket", "pictures", "accuracy", "years off", "bias"), rows)


def _age_lines(ages: Mapping[str, AgeMetrics]) -> list[str]:
    rows = [
        (
            name,
            m.count,
            _number(m.mae),
            _number(m.mse),
            f"{m.bias:+.2f}",
            _number(m.r2),
            _percent(m.cs5),
            _percent(m.coverage),
        )
        for name, m in ages.items()
    ]
    return _table(("age", "pictures", "MAE", "MSE", "bias", "R2", "CS@5", "in range"), rows)


def _gender_lines(genders: Mapping[str, ClassMetrics]) -> list[str]:
    rows = [(name, m.count, _percent(m.accuracy), _percent(m.macro_f1), _percent(m.ece)) for name, m in genders.items()]
    return _table(("gender", "pictures", "accuracy", "macro F1", "calibration error"), rows)


def _detection_lines(detection: DetectionMetrics) -> list[str]:
    points = "–" if detection.keypoint_error is None else f"{detection.keypoint_error:.1%} of the box's side"
    return [
        f"At the threshold {THRESHOLD}: recall {detection.at.recall:.1%} of {detection.faces} faces, precision "
        f"{_percent(detection.at.precision)}, {detection.at.false_alarms} false alarms, "
        f"{detection.false_alarms_in_empty} of them in the {detection.empty_pictures} pictures without a face.",
        f"AP50 {detection.ap50:.1%}, key point error {points}.",
        *_alarm_rate_lines(detection),
        "",
        *_table(
            ("face size", "faces", "recall"),
            [(name, size.count, _percent(size.recall)) for name, size in detection.recall_by_size.items()],
        ),
        "",
        *_table(
            ("threshold", "recall", "precision", "false alarms", "per found face"),
            [
                (
                    p.threshold,
                    _percent(p.recall),
                    _percent(p.precision),
                    p.false_alarms,
                    _number(p.alarms_per_face),
                )
                for p in detection.pareto
            ],
        ),
    ]


def _alarm_rate_lines(detection: DetectionMetrics) -> list[str]:
    point = detection.at_alarm_rate
    if point is None:
        return []
    return [
        f"With one false alarm in {1 / ALARM_RATE:.0f} found faces (threshold {point.threshold:.2f}): recall "
        f"{point.recall:.1%}, of faces of 32 pixels or more {_percent(detection.recall_32_at_alarm_rate)}."
    ]


DETECTION_NOTES = (
    f"Faces whose reference score is below {SURE} are neither needed nor, where found, false alarms.",
    "Sizes are of a face's longest side in pixels, with the picture scaled to 640 on its longest side.",
)
