"""Measures a pack's emotions: against one label a picture, or against the votes of several people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from faceinsight.analyzer import FaceAnalyzer
from faceinsight.errors import PackError
from faceinsight.evaluation.datasets import EMOTIONS, DataSet, canonical_emotion
from faceinsight.evaluation.ferplus import VOTED, Votes
from faceinsight.evaluation.metrics import Floats, class_metrics, cross_entropy
from faceinsight.evaluation.report import Report
from faceinsight.evaluation.running import Progress, chunks, labels_of, whole
from faceinsight.media.image import UInt8Array

_CROP = "The pictures are faces already: the whole picture is the face's box, without key points."


def measure_labels(report: Report, analyzer: FaceAnalyzer, data: DataSet[str], on_progress: Progress) -> Report:
    """Compares emotions with labels; classes that only one of the two knows are left out."""
    own = _own_labels(analyzer)
    labels = [label for label in own if label in EMOTIONS or any(s.truth == label for s in data.samples)]
    known = tuple(sample for sample in data.samples if sample.truth in labels)
    if not known:
        raise PackError(f"Pack {report.pack} knows none of the expressions of {report.path}: choose another pack.")
    for sample in data.samples:
        if sample.truth not in labels:
            data.skipped[f"{sample.truth}, which the pack does not know"] += 1
    true: list[int] = []
    rows: list[Floats] = []
    for chunk in chunks(report, replace(data, samples=known), on_progress):
        true += [labels.index(sample.truth) for sample, _ in chunk]
        rows.append(_answers(analyzer, [picture for _, picture in chunk], own, labels))
    notes = [f"Classes: {', '.join(labels)}."]
    if left_out := [label for label in own if label not in labels]:
        notes.append(f"Not in the data set, so left out of the pack's answers: {', '.join(left_out)}.")
    return replace(
        report,
        split=data.split,
        size=len(true),
        skipped=dict(data.skipped),
        crop=_CROP,
        notes=tuple(notes),
        emotion=class_metrics(labels, np.array(true), np.concatenate(rows)),
    )


def measure_votes(report: Report, analyzer: FaceAnalyzer, data: DataSet[Votes], on_progress: Progress) -> Report:
    """Compares emotions with the majority of people's votes, over FER+'s eight classes whatever the pack knows."""
    own = _own_labels(analyzer)
    true: list[int] = []
    votes: list[tuple[float, ...]] = []
    rows: list[Floats] = []
    for chunk in chunks(report, data, on_progress):
        true += [VOTED.index(sample.truth.majority) for sample, _ in chunk]
        votes += [sample.truth.shares for sample, _ in chunk]
        rows.append(_answers(analyzer, [picture for _, picture in chunk], own, VOTED))
    probabilities = np.concatenate(rows)
    notes = [
        "A label is what more than half of the votes say, single votes left out; the cross-entropy is with the shares "
        "of the votes for the eight classes.",
    ]
    if unknown := [label for label in VOTED if label not in own]:
        notes.append(f"Unknown to the pack, so never its answer: {', '.join(unknown)}.")
    return replace(
        report,
        split=data.split,
        size=len(true),
        skipped=dict(data.skipped),
        crop=_CROP,
        notes=tuple(notes),
        emotion=class_metrics(VOTED, np.array(true), probabilities),
        cross_entropy=cross_entropy(np.array(votes), probabilities),
    )


def _own_labels(analyzer: FaceAnalyzer) -> list[str]:
    return [canonical_emotion(label) for label in labels_of(analyzer, "emotion")]


def _answers(analyzer: FaceAnalyzer, pictures: list[UInt8Array], own: list[str], labels: Sequence[str]) -> Floats:
    """Returns the probabilities (N, K) that a pack with its own labels gives to K labels; 0 for one it lacks."""
    faces = analyzer.describe(pictures, [whole(picture) for picture in pictures], ("emotion",))
    given = np.array([face.emotion.probabilities for face in faces if face.emotion is not None])
    probabilities = np.zeros((len(given), len(labels)))
    for column, label in enumerate(labels):
        if label in own:
            probabilities[:, column] = given[:, own.index(label)]
    return np.asarray(probabilities / np.maximum(probabilities.sum(axis=1, keepdims=True), 1e-12))
