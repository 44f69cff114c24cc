"""Train the compact emotion network on FER2013.

    python -m training.emotion --data fer2013.zip --out DIR

FER2013 shows just the detector's box, widened to a square: that is the crop the app makes for this network, and
the augmentation stands for the detector's scatter. Choices are made on fold 1 of the training split.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from training.attributes import answers
from training.data import VALIDATION_FOLD, Picture, fold, read_expressions
from training.detector import to_input
from training.loop import Loop, Plan, plot, prepare
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
    chosen, held = np.flatnonzero(folds != VALIDATION_FOLD), np.flatnonzero(folds == VALIDATION_FOLD)
    held_pictures = as_rgb(data.pictures[held])
    loop = Loop(
        emotion().to(memory_format=torch.channels_last),
        Plan(steps=arguments.steps, minutes=arguments.minutes, rate=arguments.rate, average=0.998),
        arguments.out,
    )
    if arguments.resume and loop.resume():
        print(f"resumed at step {loop.step}")
    queue: list[int] = []

    def draw() -> tuple[Picture, npt.NDArray[np.int64]]:
        if len(queue) < arguments.batch:
            queue.extend(rng.permutation(chosen).tolist())
        indices = np.array([queue.pop(0) for _ in range(arguments.batch)])
        return as_rgb(np.stack([augmented(data.pictures[i], rng) for i in indices])), indices

    def report() -> None:
        logits = answers(loop.averaged, held_pictures)
        right = float((logits.argmax(1) == data.labels[held]).mean())
        loop.log({**loop.means(), "right": right, "temperature": best_temperature(logits, data.labels[held])})
        loop.save()

    loop.model.train()
    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(draw)
        while not loop.done:
            pictures, indices = upcoming.result()
            upcoming = ahead.submit(draw)
            with torch.autocast("cpu", torch.bfloat16):
                logits = loop.model(to_input(pictures))
            labels = torch.from_numpy(data.labels[indices])
            loop.update({"cross": _cross_entropy(logits, labels)})
            if loop.step % 400 == 0:
                report()
    report()
    plot(arguments.out)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    # One label in three of FER2013 is disputed among people: full certainty would be wrong to learn.
    return functional.cross_entropy(logits.float(), labels, label_smoothing=0.1)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train the compact emotion network.")
    parser.add_argument("--data", type=Path, required=True, help="fer2013.zip")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and figures")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--minutes", type=float, help="train so long, whatever the number of steps")
    parser.add_argument("--rate", type=float, default=2.5e-3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
