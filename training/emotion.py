"""Train the compact emotion network on FER2013.

    python -m training.emotion --data fer2013.zip --out DIR

FER2013 shows just the detector's box, widened to a square: that is the crop the app makes for this network, and
the augmentation stands for the detector's scatter. Choices are made on fold 1 of the training split.
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
from training.loop import Loop, Plan, Shuffled, answers, fit, macro_f1, parser, prepare
from training.networks import emotion

SIZE = 48
CROP_SCALE = 1.0
"""A square as long as the longer side of the teacher's box frames a face as FER2013 does (median 1.02)."""


def augmented(picture: Picture, rng: np.random.Generator) -> Picture:
    """Return a grey picture (48, 48) moved, turned, scaled, mirrored, re-lit, blurred or partly covered."""
    matrix = cv2.getRotationMatrix2D(
        (SIZE / 2, SIZE / 2), float(rng.normal(0, 9)), float(np.exp(rng.normal(0.02, 0.09)))
    )
    matrix[:, 2] += rng.normal(0, 0.05 * SIZE, 2)
    if rng.random() < 0.5:
        matrix[0] = -matrix[0]
        matrix[0, 2] += SIZE - 1
    border = cv2.BORDER_REPLICATE if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    picture = cv2.warpAffine(picture, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=border)
    if rng.random() < 0.5:
        levels = np.arange(256, dtype=np.float32) / 255.0
        table = levels ** np.exp(rng.normal(0, 0.3)) * np.exp(rng.normal(0, 0.2))
        picture = cv2.LUT(picture, (np.clip(table, 0, 1) * 255).astype(np.uint8))
    if rng.random() < 0.15:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.4, 1.1)))
    if rng.random() < 0.3:
        w, h = (int(v) for v in rng.integers(6, 18, 2))
        x, y = int(rng.integers(0, SIZE - w)), int(rng.integers(0, SIZE - h))
        picture[y : y + h, x : x + w] = int(rng.integers(0, 256))
    return picture


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
    held_pictures = as_rgb(data.pictures[held])
    queue = Shuffled(np.flatnonzero(folds != VALIDATION_FOLD), rng)
    plan = Plan(steps=arguments.steps, minutes=arguments.minutes, rate=arguments.rate, average=0.998)
    loop = Loop(emotion().to(memory_format=torch.channels_last), plan, arguments.out)
    if arguments.resume:
        loop.resume()

    def draw() -> tuple[Picture, Tensor]:
        indices = queue.take(arguments.batch)
        pictures = as_rgb(np.stack([augmented(data.pictures[i], rng) for i in indices]))
        return pictures, torch.from_numpy(data.labels[indices])

    def validate(network: nn.Module) -> tuple[float, dict[str, float]]:
        logits = answers(network, held_pictures)
        right = float((logits.argmax(1) == data.labels[held]).mean())
        f1 = macro_f1(data.labels[held], logits.argmax(1), len(EMOTIONS))
        return right, {"right": right, "f1": f1, "temperature": best_temperature(logits, data.labels[held])}

    fit(loop, draw, _losses, 400, validate)


def _losses(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    # One label in three of FER2013 is disputed among people: full certainty would be wrong to learn.
    return {"cross": functional.cross_entropy(logits.float(), labels, label_smoothing=0.1)}


def main() -> None:
    """Read the command line and train."""
    options = parser("Train the compact emotion network.", steps=20000, rate=2.5e-3)
    options.add_argument("--data", type=Path, required=True, help="fer2013.zip")
    options.add_argument("--batch", type=int, default=64)
    train(options.parse_args())


if __name__ == "__main__":
    main()
