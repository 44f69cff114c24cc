"""Runs a pack's own stages over a data set, exactly as the app does, and compares the answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from faceinsight.analyzer import FaceAnalyzer
from faceinsight.errors import MediaError, PackError
from faceinsight.evaluation.datasets import (
    EMOTIONS,
    FOLDS,
    RACES,
    DataSet,
    Person,
    Reference,
    Sample,
    Truth,
    canonical_emotion,
    read_detection,
    read_fer2013,
    read_rafdb,
    read_utkface,
)
from faceinsight.evaluation.datasets import fold as fold_of
from faceinsight.evaluation.metrics import (
    age_metrics,
    class_metrics,
    detection_metrics,
    match,
    precision_recall,
)
from faceinsight.evaluation.report import DETECTION_NOTES, Report
from faceinsight.evaluation.source import Source, base_name
from faceinsight.inference.attributes import GENDERS
from faceinsight.media.image import UInt8Array
from faceinsight.results import Face

KINDS = ("fer2013", "utkface", "rafdb", "detection")
AGE_BANDS: dict[str, tuple[float, float]] = {
    "0-9": (0, 9),
    "10-19": (10, 19),
    "20-39": (20, 39),
    "40-59": (40, 59),
    "60+": (60, np.inf),
}
# Boxes of less certain faces add next to nothing to the average precision.
LEAST_SCORE = 0.05
_CHUNK = 64


def evaluate(
    kind: str,
    path: str | Path,
    analyzer: FaceAnalyzer,
    *,
    split: str | None = None,
    fold: int | None = None,
    limit: int | None = None,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Report:
    """Measures a pack on a data set.

    Args:
        kind: "fer2013", "rafdb" (expressions), "utkface" (age, gender) or "detection" (boxes).
        path: The data set's folder or zip archive.
        analyzer: The pack's models.
        split: Which split of an expression data set; None for its public test.
        fold: Take only the files whose name falls into this fold, 0 to 9; None for all.
        limit: Take at most so many pictures, spread evenly by chance, the same ones every time.
        on_progress: Told now and then which share is done, in [0, 1].

    Returns:
        The report.

    Raises:
        MediaError: If the path is no such data set, or no picture of it is left or can be read.
        PackError: If the pack lacks the stage.

    Example:
        >>> report = evaluate("fer2013", "fer2013.zip", FaceAnalyzer())
        >>> report.emotion.accuracy
    """
    if kind not in KINDS:
        raise MediaError(f"There is no kind of data set called '{kind}': use one of {', '.join(KINDS)}.")
    expressions = kind in ("fer2013", "rafdb")
    if split is not None and not expressions:
        raise MediaError(f"{kind} has no splits: choose a fold instead, or measure all of it.")
    if fold is not None and (expressions or not 0 <= fold < FOLDS):
        raise MediaError(f"{kind} has no fold {fold}: choose {'a split' if expressions else '0 to 9'} instead.")
    if limit is not None and limit < 1:
        raise MediaError(f"{limit} pictures are none to measure: choose a limit above zero.")
    blank = Report(
        data_set=kind,
        path=Path(path).resolve().name,
        fold=fold,
        limit=limit,
        pack=analyzer.pack.name,
        version=_version(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    with Source(path) as source:
        if expressions:
            read = read_fer2013 if kind == "fer2013" else read_rafdb
            return _emotion(blank, analyzer, _narrowed(read(source, split), blank), on_progress)
        if kind == "utkface":
            return _attributes(blank, analyzer, _narrowed(read_utkface(source), blank), on_progress)
        return _detection(blank, analyzer, _narrowed(read_detection(source), blank), on_progress)


def _version() -> str:
    try:
        return version("faceinsight")
    except PackageNotFoundError:  # run out of a checkout that is not installed
        return "not installed"


def _narrowed(data: DataSet[Truth], report: Report) -> DataSet[Truth]:
    """Returns the samples of the report's fold, as many as its limit allows."""
    samples = [s for s in data.samples if report.fold is None or fold_of(base_name(s.name)) == report.fold]
    if report.limit is not None:
        # The first ones would be of one class or age: names are sorted. The hash is chance that repeats itself.
        ranks = sorted(range(len(samples)), key=lambda i: hashlib.sha1(f"limit {samples[i].name}".encode()).digest())
        samples = [samples[i] for i in sorted(ranks[: report.limit])]
    if not samples:
        raise MediaError(f"No picture of {report.path} is left to measure: choose another split, fold or limit.")
    return replace(data, samples=tuple(samples))


def _chunks(
    report: Report, data: DataSet[Truth], on_progress: Callable[[float], None]
) -> Iterator[list[tuple[Sample[Truth], UInt8Array]]]:
    """Yields decoded pictures some at a time; those that cannot be read are counted as skipped."""
    some = False
    for start in range(0, len(data.samples), _CHUNK):
        chunk = []
        for sample in data.samples[start : start + _CHUNK]:
            try:
                chunk.append((sample, sample.load()))
            except MediaError:
                data.skipped["picture cannot be read"] += 1
        if chunk:
            some = True
            yield chunk
        on_progress(min(start + _CHUNK, len(data.samples)) / len(data.samples))
    if not some:
        raise MediaError(f"None of the pictures of {report.path} can be read: get another copy of it.")


def _labels_of(analyzer: FaceAnalyzer, stage: str) -> tuple[str, ...]:
    """Returns a stage's classes; raises PackError where the pack cannot run it."""
    if stage not in analyzer.stages:
        reason = analyzer.missing.get(stage, f"it declares no {stage} model: choose another pack.")
        raise PackError(f"Pack {analyzer.pack.name} cannot be measured on this data set: {reason}")
    return dict(analyzer.pack.face_models)[stage].labels


def _whole(picture: UInt8Array) -> Face:
    return Face(bbox=(0.0, 0.0, float(picture.shape[1]), float(picture.shape[0])), det_score=1.0)


def _emotion(
    report: Report, analyzer: FaceAnalyzer, data: DataSet[str], on_progress: Callable[[float], None]
) -> Report:
    own = [canonical_emotion(label) for label in _labels_of(analyzer, "emotion")]
    labels = [label for label in own if label in EMOTIONS or any(s.truth == label for s in data.samples)]
    known = tuple(sample for sample in data.samples if sample.truth in labels)
    if not known:
        raise PackError(f"Pack {report.pack} knows none of the expressions of {report.path}: choose another pack.")
    for sample in data.samples:
        if sample.truth not in labels:
            data.skipped[f"{sample.truth}, which the pack does not know"] += 1
    columns = [own.index(label) for label in labels]
    true: list[int] = []
    rows: list[tuple[float, ...]] = []
    for chunk in _chunks(report, replace(data, samples=known), on_progress):
        pictures = [picture for _, picture in chunk]
        faces = analyzer.describe(pictures, [_whole(picture) for picture in pictures], ("emotion",))
        true += [labels.index(sample.truth) for sample, _ in chunk]
        rows += [face.emotion.probabilities for face in faces if face.emotion is not None]
    probabilities = np.array(rows)[:, columns]
    probabilities /= np.maximum(probabilities.sum(axis=1, keepdims=True), 1e-12)
    notes = [f"Classes: {', '.join(labels)}."]
    if left_out := [label for label in own if label not in labels]:
        notes.append(f"Not in the data set, so left out of the pack's answers: {', '.join(left_out)}.")
    return replace(
        report,
        split=data.split,
        size=len(true),
        skipped=dict(data.skipped),
        crop="The pictures are faces already: the whole picture is the face's box, without key points.",
        notes=tuple(notes),
        emotion=class_metrics(labels, np.array(true), probabilities),
    )


def _find_face(analyzer: FaceAnalyzer, picture: UInt8Array) -> Face | None:
    """Returns the surest face of a picture that a face fills."""
    # A detector expects a head in a frame, not a frame of a head.
    y, x = picture.shape[0] // 2, picture.shape[1] // 2
    faces = analyzer.detect(np.pad(picture, ((y, y), (x, x), (0, 0))))
    if not faces:
        return None
    x1, y1, x2, y2 = faces[0].bbox
    kps = faces[0].kps
    return replace(
        faces[0],
        bbox=(x1 - x, y1 - y, x2 - x, y2 - y),
        kps=None if kps is None else tuple((px - x, py - y) for px, py in kps),
    )


def _attributes(
    report: Report, analyzer: FaceAnalyzer, data: DataSet[Person], on_progress: Callable[[float], None]
) -> Report:
    _labels_of(analyzer, "attributes")
    people: list[Person] = []
    answers: list[Face] = []
    found = 0
    for chunk in _chunks(report, data, on_progress):
        pictures = [picture for _, picture in chunk]
        faces = [_find_face(analyzer, picture) for picture in pictures]
        found += sum(face is not None for face in faces)
        boxed = [face or _whole(picture) for face, picture in zip(faces, pictures, strict=True)]
        answers += analyzer.describe(pictures, boxed, ("attributes",))
        people += [sample.truth for sample, _ in chunk]
    true_age = np.array([person.age for person in people], np.float64)
    age = np.array([face.age for face in answers], np.float64)
    ranges = None if answers[0].age_range is None else np.array([face.age_range for face in answers], np.float64)
    gender = np.array([GENDERS.index(person.gender) for person in people])
    shares = np.array([face.gender.probabilities for face in answers if face.gender is not None])
    race = np.array([person.race for person in people])
    every = np.ones(len(people), bool)
    bands = {"all": every} | {name: (low <= true_age) & (true_age <= high) for name, (low, high) in AGE_BANDS.items()}
    races = {name: race == name for name in RACES}
    return replace(
        report,
        size=len(people),
        skipped=dict(data.skipped),
        crop="The face is the surest one that the pack's detector finds in the picture padded by half its side; "
        "where it finds none, the whole picture without key points.",
        found=found / len(people),
        age={
            name: age_metrics(true_age[part], age[part], None if ranges is None else ranges[part])
            for name, part in bands.items()
            if part.any()
        },
        gender={
            name: class_metrics(GENDERS, gender[part], shares[part])
            for name, part in (bands | races).items()
            if part.any()
        },
        curves={"true_age": true_age, "age": age},
    )


def _detection(
    report: Report, analyzer: FaceAnalyzer, data: DataSet[Reference], on_progress: Callable[[float], None]
) -> Report:
    matches = []
    for chunk in _chunks(report, data, on_progress):
        for sample, picture in chunk:
            faces = analyzer.detect(picture, det_threshold=LEAST_SCORE)
            boxes = np.array([(*face.bbox, face.det_score) for face in faces], np.float64).reshape(-1, 5)
            kps = np.array([face.kps for face in faces]) if faces and faces[0].kps is not None else None
            matches.append(match(boxes, kps, sample.truth.boxes, sample.truth.kps, picture.shape[:2]))
    precision, recall = precision_recall(matches)
    return replace(
        report,
        size=len(matches),
        skipped=dict(data.skipped),
        crop="The whole picture.",
        notes=DETECTION_NOTES,
        detection=detection_metrics(matches),
        curves={"precision": precision, "recall": recall},
    )
