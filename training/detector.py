"""Train the compact face detector to answer as a larger SCRFD detector does.

    python -m training.detector --data scenes.zip --faces utkface.zip --teacher scrfd_2.5g_kps.onnx --out DIR

Pictures of fold 0 (see `faceinsight.evaluation.fold`) are never touched here: they are for `faceinsight evaluate`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.canvases import Composer, Pool, Teacher
from training.data import TEST_FOLD, VALIDATION_FOLD, Floats, Picture, Scene, fold, read_faces, read_scenes
from training.detection import count, detect
from training.loop import Loop, Plan, fit, parser, prepare
from training.networks import Detector

SHAPES = ((16, 320), (8, 448), (4, 640))
"""Batch size and crop side: many small crops for variety, a few whole canvases for the largest faces."""
SHAPE_ODDS = (0.7, 0.12, 0.18)


def losses(outputs: list[Tensor], targets: list[Floats]) -> dict[str, Tensor]:
    """Compare the student's nine outputs with the teacher's.

    Args:
        outputs: What `Detector` returns.
        targets: Per stride (B, N, 16), as `Pool.batch` makes them.

    Returns:
        The weighted losses of scores, boxes and key points.
    """
    logits = torch.cat([o[..., 0] for o in outputs[:3]], 1).float()
    boxes = torch.cat(outputs[3:6], 1).float()
    points = torch.cat(outputs[6:], 1).float()
    target = torch.cat([torch.from_numpy(t) for t in targets], 1)
    wanted, counts = target[..., 0], target[..., 15]
    total = (wanted * counts).sum().clamp(min=1.0)

    # Quality focal loss: the further from the teacher's score, the more a cell weighs.
    gap = (logits.sigmoid() - wanted).abs().square()
    cross = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    score = (gap * cross * counts).sum() / total

    chosen = (wanted > 0.2) & (counts > 0)
    weight = wanted[chosen]
    weight = weight / weight.sum().clamp(min=1.0)
    box, true_box = boxes[chosen], target[..., 1:5][chosen]
    side = (true_box[:, :2] + true_box[:, 2:]).clamp(min=0.1).prod(1).sqrt()[:, None]
    overlap = 1.0 - generalised_iou(box, true_box)
    edges = ((box - true_box) / side).abs().mean(1)
    offsets = ((points[chosen] - target[..., 5:15][chosen]) / side).abs().mean(1)
    return {
        "score": score,
        "overlap": (overlap * weight).sum(),
        "edges": 2.0 * (edges * weight).sum(),
        "points": 4.0 * (offsets * weight).sum(),
    }


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """GIoU of boxes (K, 4) given as distances left, top, right, bottom from a shared point."""
    first = first.clamp(min=0)
    shared = torch.minimum(first, second)
    around = torch.maximum(first, second)
    inter = _area(shared)
    union = (_area(first) + _area(second) - inter).clamp(min=1e-6)
    hull = _area(around).clamp(min=1e-6)
    return inter / union - (hull - union) / hull


def _area(distances: Tensor) -> Tensor:
    return (distances[:, :2] + distances[:, 2:]).prod(1)


def train(arguments: argparse.Namespace) -> None:
    """Run the training that the command line asks for."""
    rng = prepare(arguments.seed, arguments.threads)
    every = read_scenes(arguments.data)
    scenes = [s for s in every if fold(s.name) not in (TEST_FOLD, VALIDATION_FOLD)]
    held = [s for s in every if fold(s.name) == VALIDATION_FOLD]
    faces = read_faces(arguments.faces, arguments.cache or arguments.out)
    chosen = np.flatnonzero(~np.isin(faces.folds, (TEST_FOLD, VALIDATION_FOLD)))
    pool = Pool(Composer(scenes, faces, chosen), Teacher(arguments.teacher, arguments.threads), arguments.pool, rng)
    plan = Plan(steps=arguments.steps, minutes=arguments.minutes, rate=arguments.rate, average=0.9985)
    loop = Loop(Detector().to(memory_format=torch.channels_last), plan, arguments.out)
    if arguments.resume:
        loop.resume()
    pool.grow(arguments.first)

    def draw() -> tuple[Picture, list[Floats]]:
        if rng.random() < arguments.fresh:
            pool.grow(1)
        count, size = SHAPES[int(rng.choice(len(SHAPES), p=SHAPE_ODDS))]
        return pool.batch(count, size)

    fit(loop, draw, losses, 1000, lambda network: validate(network, held))


@torch.no_grad()
def validate(network: nn.Module, scenes: list[Scene]) -> tuple[float, dict[str, float]]:
    """Compare a network with the teacher at the threshold whose false alarms are one in twenty of its faces."""

    def run(blob: Floats) -> list[Floats]:
        outputs = network(torch.from_numpy(blob).contiguous(memory_format=torch.channels_last))
        return [o.sigmoid().numpy() for o in outputs[:3]] + [o.numpy() for o in outputs[3:]]

    answers = [detect(run, scene.picture) for scene in scenes]
    best = {"recall": 0.0, "threshold": 1.0}
    for threshold in np.arange(0.1, 0.95, 0.02):
        report = count(scenes, answers, float(threshold), 640)
        if report.false_alarms <= 0.05 * report.found and report.recall > best["recall"]:
            best = {"recall": report.recall, "threshold": float(threshold)}
    return best["recall"], best


def main() -> None:
    """Read the command line and train."""
    options = parser("Train the compact face detector.", steps=20000, rate=3e-3)
    options.add_argument("--data", type=Path, required=True, help="scenes.zip")
    options.add_argument("--faces", type=Path, required=True, help="utkface.zip")
    options.add_argument("--teacher", type=Path, required=True, help="an SCRFD detector, 640x640")
    options.add_argument("--pool", type=int, default=3000, help="canvases kept in memory")
    options.add_argument("--first", type=int, default=300, help="canvases made before the first step")
    options.add_argument("--fresh", type=float, default=0.5, help="new canvases a step")
    train(options.parse_args())


if __name__ == "__main__":
    main()
