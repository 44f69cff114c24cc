"""How well answers fit labels: classes, ages and boxes. Numpy alone; every formula is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

ECE_BINS = 15
IOU = 0.5
# A reference box that is less sure than this is neither needed nor a false alarm.
SURE = 0.6
THRESHOLD = 0.5
# False alarms a found face at which detectors are compared.
ALARM_RATE = 0.05
PARETO_THRESHOLDS = tuple(round(0.1 * step, 1) for step in range(1, 10))
# Sides of a face in pixels when the picture's longest side is scaled to INPUT_SIDE, SCRFD's usual input.
INPUT_SIDE = 640
SIZES: dict[str, tuple[float, float]] = {
    "<16": (0, 16),
    "16-32": (16, 32),
    "32-64": (32, 64),
    "64-128": (64, 128),
    "128+": (128, np.inf),
    "32+": (32, np.inf),
}


@dataclass(frozen=True, slots=True)
class ClassScores:
    """One class: how many pictures have it, and precision, recall and F1 in [0, 1] (0 where undefined)."""

    count: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """A classifier against labels.

    Attributes:
        count: Pictures.
        accuracy: Share of right answers.
        macro_f1: Mean F1 of the classes that occur in labels or answers.
        ece: Expected calibration error of the answered class in 15 bins of equal width (Guo et
            al., "On Calibration of Modern Neural Networks", ICML 2017).
        classes: By class.
        confusion: (K, K) pictures by label (row) and answer (column), in the order of `classes`.
    """

    count: int
    accuracy: float
    macro_f1: float
    ece: float
    classes: dict[str, ClassScores]
    confusion: tuple[tuple[int, ...], ...]


def class_metrics(labels: Sequence[str], true: Ints, probabilities: Floats) -> ClassMetrics:
    """Compares a classifier's answers with labels.

    Args:
        labels: K class names.
        true: (N,) indices of the right classes, N >= 1.
        probabilities: (N, K), rows sum to 1; the largest one is the answer.
    """
    answer, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = answer == true
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (true, answer), 1)
    hits, counts, answers = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = hits / np.maximum(answers, 1), hits / np.maximum(counts, 1)
    f1 = 2 * hits / np.maximum(answers + counts, 1)
    bins = np.minimum((sure * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = [abs(float((right[bins == b] - sure[bins == b]).sum())) for b in range(ECE_BINS)]
    return ClassMetrics(
        count=len(true),
        accuracy=float(right.mean()),
        macro_f1=float(f1[answers + counts > 0].mean()),
        ece=sum(gaps) / len(true),
        classes={
            label: ClassScores(int(counts[k]), float(precision[k]), float(recall[k]), float(f1[k]))
            for k, label in enumerate(labels)
        },
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
    )


def cross_entropy(shares: Floats, probabilities: Floats) -> float:
    """Returns the mean cross-entropy in nats of probabilities with shares, both (N, K) with rows that sum to 1.

    Probabilities below 1e-4 count as that: a class that a model does not know would make it infinite.
    """
    return float(-(shares * np.log(np.maximum(probabilities, 1e-4))).sum(axis=1).mean())


@dataclass(frozen=True, slots=True)
class AgeMetrics:
    """Predicted ages against true ones.

    Attributes:
        count: Pictures.
        mae: Mean absolute error in years.
        mse: Mean squared error in years squared.
        bias: Mean of prediction less truth in years.
        r2: Coefficient of determination, at most 1; None where all true ages are the same.
        cs5: Cumulative score: share of errors of at most five years.
        coverage: Share of true ages inside the stated range; None where the model states none.
    """

    count: int
    mae: float
    mse: float
    bias: float
    r2: float | None
    cs5: float
    coverage: float | None


def age_metrics(true: Floats, predicted: Floats, ranges: Floats | None = None) -> AgeMetrics:
    """Compares ages.

    Args:
        true: (N,) years, N >= 1.
        predicted: (N,) years.
        ranges: (N, 2) years, the least and the greatest age of each stated range, or None.
    """
    errors = predicted - true
    spread = float(((true - true.mean()) ** 2).sum())
    inside = None if ranges is None else (ranges[:, 0] <= true) & (true <= ranges[:, 1])
    return AgeMetrics(
        count=len(true),
        mae=float(np.abs(errors).mean()),
        mse=float((errors**2).mean()),
        bias=float(errors.mean()),
        r2=1 - float((errors**2).sum()) / spread if spread > 0 else None,
        cs5=float((np.abs(errors) <= 5).mean()),
        coverage=None if inside is None else float(inside.mean()),
    )


@dataclass(frozen=True, slots=True)
class BucketMetrics:
    """Predicted ages against buckets of ages.

    Attributes:
        count: Pictures.
        accuracy: Share of ages in their bucket.
        distance: Mean years from the age to the nearest end of its bucket, 0 within it.
        bias: The same with a sign: above 0 where ages are too high.
    """

    count: int
    accuracy: float
    distance: float
    bias: float


def bucket_metrics(buckets: Floats, predicted: Floats) -> BucketMetrics:
    """Compares ages with buckets.

    Args:
        buckets: (N, 2) from so many years to less than so many, N >= 1.
        predicted: (N,) years.
    """
    over = np.maximum(predicted - buckets[:, 1], 0)
    under = np.maximum(buckets[:, 0] - predicted, 0)
    inside = (buckets[:, 0] <= predicted) & (predicted < buckets[:, 1])
    return BucketMetrics(
        count=len(predicted),
        accuracy=float(inside.mean()),
        distance=float((over + under).mean()),
        bias=float((over - under).mean()),
    )


def overlaps(first: Floats, second: Floats) -> Floats:
    """Returns the intersection over union (N, M) of boxes (N, 4) and (M, 4) as x1, y1, x2, y2."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (first, second)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9))


@dataclass(frozen=True, slots=True)
class Matches:
    """The boxes of one picture against its reference.

    Attributes:
        scores: (N,) of every box that counts: those that meet only an unsure face are left out.
        right: (N,) whether it is the box of a needed face; else it is a false alarm.
        sides: (N,) longest side of that face in pixels at `INPUT_SIDE`; 0 for false alarms.
        point_errors: (N,) mean distance of the key points from the face's, divided by the square
            root of the face's area; NaN where either has none.
        needed: (M,) longest sides of all faces that should be found.
        empty: Whether the picture holds no face at all.
    """

    scores: Floats
    right: Bools
    sides: Floats
    point_errors: Floats
    needed: Floats
    empty: bool


def match(
    boxes: Floats, kps: Floats | None, reference: Floats, reference_kps: Floats | None, shape: tuple[int, int]
) -> Matches:
    """Gives each box to the face it overlaps most, the surest box first, as PASCAL VOC and COCO do.

    Args:
        boxes: (N, 5) x1, y1, x2, y2, score, the surest first.
        kps: (N, 5, 2) their key points, or None.
        reference: (M, 5) the true boxes; those with a score below `SURE` are not needed.
        reference_kps: (M, 5, 2) their key points, or None.
        shape: (height, width) of the picture.
    """
    sizes = reference[:, 2:4] - reference[:, :2]
    sides = sizes.max(axis=1, initial=0) * INPUT_SIDE / max(shape)
    sure = reference[:, 4] >= SURE
    meets = overlaps(boxes[:, :4], reference[:, :4])
    meets[meets < IOU] = 0
    free = sure.copy()
    counted: list[tuple[float, bool, float, float]] = []
    for index, box in enumerate(boxes):
        shares = meets[index] * free
        if shares.any():
            face = int(shares.argmax())
            free[face] = False
            error = np.nan
            if kps is not None and reference_kps is not None:
                gap = np.linalg.norm(kps[index] - reference_kps[face], axis=1).mean()
                error = float(gap / np.sqrt(sizes[face].prod()))
            counted.append((float(box[4]), True, float(sides[face]), error))
        elif not (meets[index] * ~sure).any():
            counted.append((float(box[4]), False, 0.0, np.nan))
    table = np.array(counted, np.float64).reshape(-1, 4)
    return Matches(table[:, 0], table[:, 1] > 0, table[:, 2], table[:, 3], sides[sure], len(reference) == 0)


@dataclass(frozen=True, slots=True)
class SizeRecall:
    """How many faces of a size there are, and the share of them that is found (None without any)."""

    count: int
    recall: float | None


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A detector at one threshold.

    Attributes:
        threshold: Boxes with a lower score are left out.
        recall: Share of needed faces that are found.
        precision: Share of boxes that are a needed face's; None without any box.
        found: Needed faces that are found.
        false_alarms: Boxes that are no face's.
        alarms_per_face: The same, divided by `found`; None where nothing is found.
    """

    threshold: float
    recall: float
    precision: float | None
    found: int
    false_alarms: int
    alarms_per_face: float | None


@dataclass(frozen=True, slots=True)
class DetectionMetrics:
    """A detector against reference boxes.

    Attributes:
        faces: Needed faces.
        at: The detector at `THRESHOLD`.
        empty_pictures: Pictures without any face.
        false_alarms_in_empty: False alarms in these, at `THRESHOLD`.
        recall_by_size: By `SIZES`, at `THRESHOLD`.
        ap50: Average precision at an IoU of 0.5: the area under the precision-recall curve, the
            precision at each recall being the best at that recall or more (PASCAL VOC 2010).
        keypoint_error: Mean distance of found faces' key points as a share of the box's side.
        pareto: The detector at thresholds from 0.1 to 0.9.
        at_alarm_rate: The detector at the lowest threshold with at most `ALARM_RATE` false alarms a found
            face; None where there is none.
        recall_32_at_alarm_rate: The recall of faces of 32 pixels or more there; None without such a face.
    """

    faces: int
    at: OperatingPoint
    empty_pictures: int
    false_alarms_in_empty: int
    recall_by_size: dict[str, SizeRecall]
    ap50: float
    keypoint_error: float | None
    pareto: tuple[OperatingPoint, ...]
    at_alarm_rate: OperatingPoint | None
    recall_32_at_alarm_rate: float | None


def precision_recall(matches: Sequence[Matches]) -> tuple[Floats, Floats]:
    """Returns precision and recall (N,) as the threshold falls over all N counted boxes."""
    scores = np.concatenate([m.scores for m in matches])
    right = np.concatenate([m.right for m in matches])[np.argsort(-scores, kind="stable")]
    hits = np.cumsum(right)
    return hits / np.arange(1, len(hits) + 1), hits / max(sum(len(m.needed) for m in matches), 1)


def detection_metrics(matches: Sequence[Matches]) -> DetectionMetrics:
    """Counts over all pictures.

    Args:
        matches: One a picture, at least one.
    """
    scores, right, sides, errors = (
        np.concatenate([getattr(m, name) for m in matches]) for name in ("scores", "right", "sides", "point_errors")
    )
    needed = np.concatenate([m.needed for m in matches])
    hit = right & (scores >= THRESHOLD)
    ranked = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[ranked])
    # A threshold cannot part boxes with the same score.
    ends = np.diff(scores[ranked], append=-1.0) != 0
    few = np.flatnonzero(ends & (np.arange(1, len(ranked) + 1) - hits <= ALARM_RATE * hits))
    lowest = float(scores[ranked[few[-1]]]) if len(few) else None
    large = int((needed >= 32).sum())

    def at(threshold: float) -> OperatingPoint:
        shown = scores >= threshold
        found, alarms = int((right & shown).sum()), int((~right & shown).sum())
        return OperatingPoint(
            threshold,
            found / max(len(needed), 1),
            found / (found + alarms) if found + alarms else None,
            found,
            alarms,
            alarms / found if found else None,
        )

    def size_recall(low: float, high: float) -> SizeRecall:
        count = int(((low <= needed) & (needed < high)).sum())
        found = int(((low <= sides) & (sides < high) & hit).sum())
        return SizeRecall(count, found / count if count else None)

    precision, recall = precision_recall(matches)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    known = errors[hit & ~np.isnan(errors)]
    return DetectionMetrics(
        faces=len(needed),
        at=at(THRESHOLD),
        empty_pictures=sum(m.empty for m in matches),
        false_alarms_in_empty=sum(int((m.scores >= THRESHOLD).sum()) for m in matches if m.empty),
        recall_by_size={name: size_recall(*ends) for name, ends in SIZES.items()},
        ap50=float((np.diff(recall, prepend=0) * best).sum()),
        keypoint_error=float(known.mean()) if len(known) else None,
        pareto=tuple(map(at, PARETO_THRESHOLDS)),
        at_alarm_rate=None if lowest is None else at(lowest),
        recall_32_at_alarm_rate=None
        if lowest is None or not large
        else int((right & (sides >= 32) & (scores >= lowest)).sum()) / large,
    )
