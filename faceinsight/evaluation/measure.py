"""Runs a pack's own stages over a data set, exactly as the app does, and compares the answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from faceinsight import __version__
from faceinsight.analyzer import FaceAnalyzer
from faceinsight.errors import MediaError
from faceinsight.evaluation.agesets import person_of, read_fairface, read_fgnet
from faceinsight.evaluation.datasets import (
    FOLDS,
    DataSet,
    Reference,
    Truth,
    read_detection,
    read_fer2013,
    read_rafdb,
    read_utkface,
)
from faceinsight.evaluation.datasets import fold as fold_of
from faceinsight.evaluation.expressions import measure_labels, measure_votes
from faceinsight.evaluation.ferplus import read_ferplus
from faceinsight.evaluation.metrics import detection_metrics, match, precision_recall
from faceinsight.evaluation.people import measure_fairface, measure_fgnet, measure_utkface
from faceinsight.evaluation.report import DETECTION_NOTES, Report
from faceinsight.evaluation.running import chunks
from faceinsight.evaluation.source import Source, base_name

KINDS = ("fer2013", "ferplus", "rafdb", "utkface", "fairface", "fgnet", "detection")
_WITH_SPLITS = ("fer2013", "ferplus", "rafdb", "fairface")
# Boxes of less certain faces add next to nothing to the average precision.
LEAST_SCORE = 0.05


def evaluate(
    kind: str,
    path: str | Path,
    analyzer: FaceAnalyzer,
    *,
    votes: str | Path | None = None,
    split: str | None = None,
    fold: int | None = None,
    limit: int | None = None,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Report:
    """Measures a pack on a data set.

    Args:
        kind: "fer2013", "ferplus", "rafdb" (expressions), "utkface", "fairface" (age, gender), "fgnet" (age)
            or "detection" (boxes).
        path: The data set's folder or zip archive.
        analyzer: The pack's models.
        votes: Of ferplus: the CSV file of the votes on FER2013's pictures.
        split: Which split of an expression data set or of FairFace; None for its public test.
        fold: Take only the files whose name falls into this fold, 0 to 9; None for all. Of fgnet it is the
            person's number that falls into a fold.
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
    splits = kind in _WITH_SPLITS
    if (votes is None) == (kind == "ferplus"):
        raise MediaError(
            "ferplus is measured against votes: give the file of them, ferplus.csv."
            if votes is None
            else f"{kind} is not measured against votes: leave them away, or choose ferplus."
        )
    if split is not None and not splits:
        raise MediaError(f"{kind} has no splits: choose a fold instead, or measure all of it.")
    if fold is not None and (splits or not 0 <= fold < FOLDS):
        raise MediaError(f"{kind} has no fold {fold}: choose {'a split' if splits else '0 to 9'} instead.")
    if limit is not None and limit < 1:
        raise MediaError(f"{limit} pictures are none to measure: choose a limit above zero.")
    blank = Report(
        data_set=kind,
        path=Path(path).resolve().name,
        fold=fold,
        limit=limit,
        pack=analyzer.pack.name,
        version=__version__,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    with Source(path) as source:
        if kind == "ferplus":
            assert votes is not None
            return measure_votes(blank, analyzer, _narrowed(read_ferplus(source, votes, split), blank), on_progress)
        if kind in ("fer2013", "rafdb"):
            read = read_fer2013 if kind == "fer2013" else read_rafdb
            return measure_labels(blank, analyzer, _narrowed(read(source, split), blank), on_progress)
        if kind == "utkface":
            return measure_utkface(blank, analyzer, _narrowed(read_utkface(source), blank), on_progress)
        if kind == "fairface":
            return measure_fairface(blank, analyzer, _narrowed(read_fairface(source, split), blank), on_progress)
        if kind == "fgnet":
            return measure_fgnet(blank, analyzer, _narrowed(read_fgnet(source), blank, person_of), on_progress)
        return _detection(blank, analyzer, _narrowed(read_detection(source), blank), on_progress)


def _narrowed(data: DataSet[Truth], report: Report, key: Callable[[str], str] = base_name) -> DataSet[Truth]:
    """Returns the samples of the report's fold, decided by a key of the name, as many as its limit allows."""
    samples = [s for s in data.samples if report.fold is None or fold_of(key(s.name)) == report.fold]
    if report.limit is not None:
        # The first ones would be of one class or age: names are sorted. The hash is chance that repeats itself.
        ranks = sorted(range(len(samples)), key=lambda i: hashlib.sha1(f"limit {samples[i].name}".encode()).digest())
        samples = [samples[i] for i in sorted(ranks[: report.limit])]
    if not samples:
        raise MediaError(f"No picture of {report.path} is left to measure: choose another split, fold or limit.")
    return replace(data, samples=tuple(samples))


def _detection(
    report: Report, analyzer: FaceAnalyzer, data: DataSet[Reference], on_progress: Callable[[float], None]
) -> Report:
    matches = []
    for chunk in chunks(report, data, on_progress):
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
