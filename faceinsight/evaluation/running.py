"""What every measurement does: decode pictures some at a time, ask for a stage, find the one face of a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from faceinsight.analyzer import FaceAnalyzer
from faceinsight.errors import MediaError, PackError
from faceinsight.evaluation.datasets import DataSet, Sample, Truth
from faceinsight.evaluation.report import Report
from faceinsight.media.image import UInt8Array
from faceinsight.results import Face

_CHUNK = 64

Progress = Callable[[float], None]


def chunks(
    report: Report, data: DataSet[Truth], on_progress: Progress
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


def labels_of(analyzer: FaceAnalyzer, stage: str) -> tuple[str, ...]:
    """Returns a stage's classes; raises PackError where the pack cannot run it."""
    if stage not in analyzer.stages:
        reason = analyzer.missing.get(stage, f"it declares no {stage} model: choose another pack.")
        raise PackError(f"Pack {analyzer.pack.name} cannot be measured on this data set: {reason}")
    return dict(analyzer.pack.face_models)[stage].labels


def whole(picture: UInt8Array) -> Face:
    """Returns the whole picture as a face without key points."""
    return Face(bbox=(0.0, 0.0, float(picture.shape[1]), float(picture.shape[0])), det_score=1.0)


def surest(faces: tuple[Face, ...]) -> Face | None:
    """Returns the face with the highest score of detection."""
    return faces[0] if faces else None


def largest(faces: tuple[Face, ...]) -> Face | None:
    """Returns the face with the largest box."""
    return max(faces, key=lambda f: (f.bbox[2] - f.bbox[0]) * (f.bbox[3] - f.bbox[1]), default=None)


def framed_face(
    analyzer: FaceAnalyzer, picture: UInt8Array, choose: Callable[[tuple[Face, ...]], Face | None]
) -> Face | None:
    """Returns the face of a picture that a face fills."""
    # A detector expects a head in a frame, not a frame of a head.
    y, x = picture.shape[0] // 2, picture.shape[1] // 2
    face = choose(analyzer.detect(np.pad(picture, ((y, y), (x, x), (0, 0)))))
    if face is None:
        return None
    x1, y1, x2, y2 = face.bbox
    kps = face.kps
    return replace(
        face,
        bbox=(x1 - x, y1 - y, x2 - x, y2 - y),
        kps=None if kps is None else tuple((px - x, py - y) for px, py in kps),
    )
