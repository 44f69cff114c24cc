"""Train the compact emotion network on FER2013.

    python -m training.emotion --data fer2013.zip --out DIR [--teacher RUN [RUN ...]] [--start RUN]

FER2013 shows just the detector's box, widened to a square: that is the crop the app makes for this network, and
the augmentation stands for the detector's scatter. Choices are made on fold 1 of the training split.

With the runs of earlier networks as its teachers, a network learns half from FER2013's label and half from what the
teachers make of the same picture (Furlanello et al., "Born again neural networks", 2018): where people disagree about
a label, the teachers' doubt is closer to the truth than the one vote that the data set kept. It may start from the
weights of an earlier run instead of from nothing (Loshchilov and Hutter, "SGDR", 2017).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data import EMOTIONS, VALIDATION_FOLD, Picture, fold, read_expressions
from training.loop import Loop, Plan, Shuffled, answers, best_weights, fit, macro_f1, parser, prepare
from training.networks import Averaged, Mirrored, emotion

SIZE = 48
SMALL_SIZE, SMALL_SHARE = 36, 0.4
"""The first part of the schedule runs on smaller pictures: two thirds of the work a step."""
SMOOTHING = 0.1
"""One label in three of FER2013 is disputed among people: full certainty would be wrong to learn."""
MIXED = 0.3
CALM_SHARE, CALM_STRENGTH = 0.15, 0.5
"""The last part of the schedule sees pictures nearer to real ones: half the change, and none mixed."""
CROP_SCALE = 1.0
"""A square as long as the longer side of the teacher's box frames a face as FER2013 does (median 1.02)."""


def augmented(picture: Picture, rng: np.random.Generator, strength: float = 1.0) -> Picture:
    """Return a grey picture (48, 48) moved, turned, scaled, mirrored, re-lit, blurred or partly covered."""
    matrix = cv2.getRotationMatrix2D(
        (SIZE / 2, SIZE / 2), float(rng.normal(0, 9 * strength)), float(np.exp(rng.normal(0.02, 0.09 * strength)))
    )
    matrix[:, 2] += rng.normal(0, 0.05 * SIZE * strength, 2)
    if rng.random() < 0.5:
        matrix[0] = -matrix[0]
        matrix[0, 2] += SIZE - 1
    border = cv2.BORDER_REPLICATE if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    picture = cv2.warpAffine(picture, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=border)
    if rng.random() < 0.5 * strength:
        levels = np.arange(256, dtype=np.float32) / 255.0
        table = levels ** np.exp(rng.normal(0, 0.3)) * np.exp(rng.normal(0, 0.2))
        picture = cv2.LUT(picture, (np.clip(table, 0, 1) * 255).astype(np.uint8))
    if rng.random() < 0.15 * strength:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.4, 1.1)))
    if rng.random() < 0.3 * strength:
        w, h = (int(v) for v in rng.integers(6, 18, 2))
        x, y = int(rng.integers(0, SIZE - w)), int(rng.integers(0, SIZE - h))
        picture[y : y + h, x : x + w] = int(rng.integers(0, 256))
    return picture


def blended(
    pictures: Picture, targets: npt.NDArray[np.float32], rng: np.random.Generator
) -> tuple[Picture, npt.NDArray[np.float32]]:
    """Mixup (Zhang et al., 2018): return a batch of which `MIXED` are two pictures in one, with both their targets."""
    share = np.where(rng.random(len(pictures)) < MIXED, rng.beta(0.4, 0.4, len(pictures)), 1.0).astype(np.float32)
    other = rng.permutation(len(pictures))
    mix = share[:, None, None]
    pictures = np.rint(mix * pictures + (1 - mix) * pictures[other]).astype(np.uint8)
    return pictures, share[:, None] * targets + (1 - share[:, None]) * targets[other]


def shrunk(pictures: Picture) -> Picture:
    """(N, 48, 48) to (N, 36, 36)."""
    return np.stack([cv2.resize(picture, (SMALL_SIZE, SMALL_SIZE)) for picture in pictures])


def as_rgb(pictures: Picture) -> Picture:
    """(N, 48, 48) grey to (N, 48, 48, 3)."""
    return np.repeat(pictures[..., None], 3, axis=3)


def best_temperature(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """Return the divisor of the logits that makes the labels most likely."""
    choices = np.exp(np.linspace(np.log(0.3), np.log(3.0), 200))
    scores = [functional.cross_entropy(torch.from_numpy(logits / t), torch.from_numpy(labels)) for t in choices]
    return float(choices[int(np.argmin(scores))])


def train(arguments: argparse.Namespace) -> None:
    """Run the training that the command line asks for."""
    rng = prepare(arguments.seed, arguments.threads)
    data, _ = read_expressions(arguments.data)
    folds = np.array([fold(name) for name in data.names])
    held = np.flatnonzero(folds == VALIDATION_FOLD)
    held_pictures = {SIZE: as_rgb(data.pictures[held]), SMALL_SIZE: as_rgb(shrunk(data.pictures[held]))}
    targets = np.eye(len(EMOTIONS), dtype=np.float32)[data.labels] * (1 - SMOOTHING) + SMOOTHING / len(EMOTIONS)
    if arguments.teacher is not None:
        targets = (targets + opinions(arguments.teacher, data.pictures)) / 2
    queue = Shuffled(np.flatnonzero(folds != VALIDATION_FOLD), rng)
    plan = Plan(steps=arguments.steps, minutes=arguments.minutes, rate=arguments.rate, average=0.998)
    network = emotion().to(memory_format=torch.channels_last)
    if arguments.start is not None:
        network.load_state_dict(best_weights(arguments.start))
    loop = Loop(network, plan, arguments.out)
    if arguments.resume:
        loop.resume()

    def early() -> bool:
        return arguments.start is None and loop.progress < SMALL_SHARE

    def draw() -> tuple[Picture, Tensor]:
        indices = queue.take(arguments.batch)
        calm = loop.progress > 1 - CALM_SHARE
        pictures = np.stack([augmented(data.pictures[i], rng, CALM_STRENGTH if calm else 1.0) for i in indices])
        wanted = targets[indices]
        if early():
            pictures = shrunk(pictures)
        if not calm:
            pictures, wanted = blended(pictures, wanted, rng)
        return as_rgb(pictures), torch.from_numpy(wanted)

    def validate(network: nn.Module) -> tuple[float, dict[str, float]]:
        logits = answers(network, held_pictures[SMALL_SIZE if early() else SIZE])
        right = float((logits.argmax(1) == data.labels[held]).mean())
        f1 = macro_f1(data.labels[held], logits.argmax(1), len(EMOTIONS))
        return right, {"right": right, "f1": f1, "temperature": best_temperature(logits, data.labels[held])}

    fit(loop, draw, _losses, 1000, validate)


def opinions(runs: list[Path], pictures: Picture) -> npt.NDArray[np.float32]:
    """Return the probabilities (N, 7) that the networks of earlier runs give together for pictures (N, 48, 48)."""
    teachers: list[nn.Module] = []
    for run in runs:
        teacher = emotion().eval()
        teacher.load_state_dict(best_weights(run))
        teachers.append(teacher)
    logits = torch.from_numpy(answers(Mirrored(Averaged(teachers)), as_rgb(pictures)))
    opinions: npt.NDArray[np.float32] = logits.softmax(1).numpy()
    return opinions


def _losses(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    return {"cross": functional.cross_entropy(logits.float(), targets)}


def main() -> None:
    """Read the command line and train."""
    options = parser("Train the compact emotion network.", steps=30000, rate=2.5e-3)
    options.add_argument("--data", type=Path, required=True, help="fer2013.zip")
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--teacher", type=Path, nargs="+", help="--out of earlier runs to learn from as well")
    options.add_argument("--start", type=Path, help="--out of an earlier run whose weights to begin with")
    train(options.parse_args())


if __name__ == "__main__":
    main()
