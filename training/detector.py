"""Train the compact face detector to answer as a larger SCRFD detector does.

    python -m training.detector --data scenes.zip --faces utkface.zip --teacher scrfd_2.5g_kps.onnx --out DIR

Pictures of fold 0 (see `faceinsight.evaluation.fold`) are never touched here: they are for `faceinsight evaluate`.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.canvases import Composer, Pool, Teacher
from training.data import TEST_FOLD, VALIDATION_FOLD, Floats, Picture, fold, read_faces, read_scenes
from training.loop import Loop, Plan, plot, prepare
from training.networks import Detector

SHAPES = ((16, 320), (8, 448), (4, 640))
"""Batch size and crop side: many small crops for variety, a few whole canvases for the largest faces."""
SHAPE_ODDS = (0.7, 0.12, 0.18)


def losses(outputs: list[Tensor], targets: list[Tensor]) -> dict[str, Tensor]:
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
    target = torch.cat(targets, 1)
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


def to_input(pictures: Picture) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float, channels last in memory: the layout the CPU's kernels like."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().sub_(127.5).div_(128.0)
    return x.contiguous(memory_format=torch.channels_last)


def train(arguments: argparse.Namespace) -> None:
    """Run the training that the command line asks for."""
    rng = prepare(arguments.seed, arguments.threads)
    scenes = [s for s in read_scenes(arguments.data) if fold(s.name) not in (TEST_FOLD, VALIDATION_FOLD)]
    faces = read_faces(arguments.faces, arguments.cache or arguments.out)
    chosen = np.flatnonzero(~np.isin(faces.folds, (TEST_FOLD, VALIDATION_FOLD)))
    pool = Pool(Composer(scenes, faces, chosen), Teacher(arguments.teacher, arguments.threads), arguments.pool, rng)
    loop = Loop(
        Detector().to(memory_format=torch.channels_last),
        Plan(steps=arguments.steps, minutes=arguments.minutes, rate=arguments.rate, average=0.9985),
        arguments.out,
    )
    if arguments.resume and loop.resume():
        print(f"resumed at step {loop.step}")
    pool.grow(arguments.first)

    def draw() -> tuple[Picture, list[Floats]]:
        if rng.random() < arguments.fresh:
            pool.grow(1)
        count, size = SHAPES[int(rng.choice(len(SHAPES), p=SHAPE_ODDS))]
        return pool.batch(count, size)

    loop.model.train()
    # One batch ahead in one thread: the order of draws stays fixed, and the cores do not wait for OpenCV.
    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(draw)
        while not loop.done:
            pictures, targets = upcoming.result()
            upcoming = ahead.submit(draw)
            with torch.autocast("cpu", torch.bfloat16):
                outputs = loop.model(to_input(pictures))
            loop.update(losses(outputs, [torch.from_numpy(t) for t in targets]))
            if loop.step % 100 == 0:
                loop.log(loop.means())
            if loop.step % 500 == 0:
                loop.save()
    loop.save()
    plot(arguments.out)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train the compact face detector.")
    parser.add_argument("--data", type=Path, required=True, help="scenes.zip")
    parser.add_argument("--faces", type=Path, required=True, help="utkface.zip")
    parser.add_argument("--teacher", type=Path, required=True, help="an SCRFD detector, 640x640")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and figures")
    parser.add_argument("--cache", type=Path, help="folder for decoded pictures (default: --out)")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--minutes", type=float, help="train so long, whatever the number of steps")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--pool", type=int, default=3000, help="canvases kept in memory")
    parser.add_argument("--first", type=int, default=300, help="canvases made before the first step")
    parser.add_argument("--fresh", type=float, default=0.5, help="new canvases a step")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
