"""Reading a detector's nine outputs, and comparing its boxes with the teacher's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from faceinsight.evaluation.metrics import overlaps
from training.data import Floats, Picture, Scene
from training.networks import STRIDES

Run = Callable[[Floats], list[Floats]]
"""From an input (1, 3, H, W) to the nine outputs."""


@dataclass(frozen=True, slots=True)
class Found:
    """Faces in one picture: boxes (N, 4), scores (N,), key points (N, 5, 2), best first."""

    boxes: Floats
    scores: Floats
    points: Floats


def letterbox(picture: Picture, size: int) -> tuple[Picture, float]:
    """Return the picture scaled into the top left of a black square, and the scale."""
    scale = size / max(picture.shape[:2])
    small = cv2.resize(picture, (round(picture.shape[1] * scale), round(picture.shape[0] * scale)))
    canvas = np.zeros((size, size, 3), np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    return canvas, scale


def detect(
    run: Run,
    picture: Picture,
    least: float = 0.1,
    sizes: tuple[int, ...] = (640,),
) -> Found:
    """Find faces as an SCRFD runtime does: letterbox, decode, non-maximum suppression at an IoU of 0.4.

    Args:
        run: The network.
        picture: (H, W, 3) RGB.
        least: Least score.
        sizes: Sides of the square inputs; with several, their answers are joined before the suppression.
    """
    parts = [_candidates(run, picture, least, size) for size in sizes]
    boxes, scores, points = (np.concatenate(column) for column in zip(*parts, strict=True))
    best = suppress(boxes, scores)
    return Found(boxes[best], scores[best], points[best])


def _candidates(run: Run, picture: Picture, least: float, size: int) -> tuple[Floats, Floats, Floats]:
    canvas, scale = letterbox(picture, size)
    blob = ((canvas.astype(np.float32) - 127.5) / 128.0).transpose(2, 0, 1)[None]
    outputs = [o.reshape(-1, o.shape[-1]) for o in run(blob)]
    boxes, scores, points = [], [], []
    for level, stride in enumerate(STRIDES):
        kept = np.flatnonzero(outputs[level][:, 0] >= least)
        row, column = np.divmod(kept // 2, size // stride)
        centre = np.stack([column, row], 1).astype(np.float32) * stride
        distances = outputs[level + 3][kept] * stride
        boxes.append(np.hstack([centre - distances[:, :2], centre + distances[:, 2:]]))
        scores.append(outputs[level][kept, 0])
        points.append(centre[:, None] + outputs[level + 6][kept].reshape(-1, 5, 2) * stride)
    return np.concatenate(boxes) / scale, np.concatenate(scores), np.concatenate(points) / scale


def suppress(boxes: Floats, scores: Floats, limit: float = 0.4) -> npt.NDArray[np.int64]:
    """Return the indices of the boxes that no better one overlaps by more than ``limit``, best first."""
    order = np.argsort(-scores, kind="stable")
    kept = []
    while order.size:
        kept.append(order[0])
        order = order[1:][overlaps(boxes[order[:1]], boxes[order[1:]])[0] <= limit]
    return np.array(kept, np.int64)


@dataclass(frozen=True, slots=True)
class DetectionReport:
    """A detector against the teacher's labels at one threshold.

    Attributes:
        threshold: Least score.
        faces: Faces of the teacher (score of at least 0.6, longer side of at least 32 pixels at the input).
        recall: Share of these that were found (IoU of at least 0.5).
        found: Boxes at the threshold that meet any face of the teacher (score of at least 0.3).
        false_alarms: Boxes at the threshold that meet none.
        false_alarms_in_empty: Those of them in pictures without a face.
        point_error: Mean distance of the key points from the teacher's, as a share of the box's side.
    """

    threshold: float
    faces: int
    recall: float
    found: int
    false_alarms: int
    false_alarms_in_empty: int
    point_error: float


def count(scenes: list[Scene], answers: list[Found], threshold: float, size: int) -> DetectionReport:
    """Count the answers of at least ``threshold``; ``size`` is the side of the largest input."""
    faces = hits = found = alarms = empty = 0
    errors: list[float] = []
    for scene, answer in zip(scenes, answers, strict=True):
        kept = answer.scores >= threshold
        boxes, points = answer.boxes[kept], answer.points[kept]
        shared = overlaps(scene.boxes[:, :4], boxes)
        sides = (scene.boxes[:, 2:4] - scene.boxes[:, :2]).max(1, initial=0) * size / max(scene.picture.shape[:2])
        sure = (scene.boxes[:, 4] >= 0.6) & (sides >= 32)
        met = (shared >= 0.5).any(1) if len(boxes) else np.zeros(len(scene.boxes), bool)
        faces += int(sure.sum())
        hits += int((met & sure).sum())
        matched = (shared >= 0.5).any(0) if len(scene.boxes) else np.zeros(len(boxes), bool)
        found += int(matched.sum())
        alarms += int((~matched).sum())
        empty += 0 if len(scene.boxes) else len(boxes)
        for index in np.flatnonzero(met & sure):
            gap = np.linalg.norm(points[shared[index].argmax()] - scene.points[index], axis=1).mean()
            errors.append(float(gap / np.sqrt((scene.boxes[index, 2:4] - scene.boxes[index, :2]).prod())))
    mean = float(np.mean(errors)) if errors else 0.0
    return DetectionReport(threshold, faces, hits / max(faces, 1), found, alarms, empty, mean)
