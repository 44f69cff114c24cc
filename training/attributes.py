"""Train the compact age and gender network on UTKFace, or a further head on another part of its file names.

    python -m training.attributes --data utkface.zip --teacher scrfd_2.5g_kps.onnx --out DIR
    python -m training.attributes --data utkface.zip --teacher scrfd_2.5g_kps.onnx --out DIR --column 2 --classes 5

Age is a distribution over the years 0 to 100, whose expectation is the answer. Fold 0 is never touched here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.alignment import aligned, cached_points, jittered
from training.data import TEST_FOLD, VALIDATION_FOLD, Picture, read_faces, spoil
from training.loop import Loop, Plan, Shuffled, answers, fit, macro_f1, parser, prepare
from training.networks import age_and_gender, further_head

SIZE = 80
EARLY_SIZE = 56
"""Side of the crops in the first half of the schedule: half the work, and the coarse things are learnt first."""
CROP_SCALE = 0.9
"""UTKFace's pictures show 0.84 times what ArcFace's crop shows: little more than that can be learnt from them."""
YEARS = 101
SPREAD = 2.5
"""Deviation, in years, of the distribution that stands for one label: neighbouring ages look alike."""


def losses(logits: Tensor, ages: Tensor, genders: Tensor) -> dict[str, Tensor]:
    """Compare logits (B, 103) with ages in years and genders (0 female, 1 male)."""
    logits = logits.float()
    years = torch.arange(YEARS, dtype=torch.float32)
    wanted = torch.softmax(-0.5 * ((years - ages[:, None]) / SPREAD).square(), 1)
    guess = torch.log_softmax(logits[:, 2:], 1)
    return {
        "gender": functional.cross_entropy(logits[:, :2], genders, label_smoothing=0.03),
        "distribution": functional.kl_div(guess, wanted, reduction="batchmean") * 0.6,
        "age": ((guess.exp() * years).sum(1) - ages).abs().mean() / 8.0,
    }


def read(logits: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return ages in years and genders (0 female, 1 male) from logits (N, 103)."""
    weights = np.exp(logits[:, 2:] - logits[:, 2:].max(1, keepdims=True))
    ages = (weights * np.arange(YEARS)).sum(1) / weights.sum(1)
    return ages, logits[:, :2].argmax(1)


def train(arguments: argparse.Namespace) -> None:
    """Run the training that the command line asks for."""
    rng = prepare(arguments.seed, arguments.threads)
    cache = arguments.cache or arguments.out
    faces = read_faces(arguments.data, cache)
    points, _, _ = cached_points(faces.pictures, arguments.teacher, 128, cache / "utkface_points.npz")
    ages, genders = np.minimum(faces.ages, YEARS - 1), 1 - faces.genders
    classes, labels = _further(faces.names, arguments.column, arguments.classes)
    queue = Shuffled(np.flatnonzero((labels >= 0) & ~np.isin(faces.folds, (TEST_FOLD, VALIDATION_FOLD))), rng)
    held = np.flatnonzero((labels >= 0) & (faces.folds == VALIDATION_FOLD))
    held_pictures = np.stack([aligned(faces.pictures[i], points[i], SIZE, CROP_SCALE) for i in held])
    network = further_head(classes) if classes else age_and_gender()
    plan = Plan(steps=arguments.steps, minutes=arguments.minutes, rate=arguments.rate, average=0.998)
    loop = Loop(network.to(memory_format=torch.channels_last), plan, arguments.out)
    if arguments.resume:
        loop.resume()

    def draw() -> tuple[Picture, npt.NDArray[np.int64]]:
        indices = queue.take(arguments.batch)
        size = EARLY_SIZE if loop.progress < 0.5 else SIZE
        crops = [spoil(jittered(faces.pictures[i], points[i], size, CROP_SCALE, rng), rng, 0.8) for i in indices]
        return np.stack(crops), indices

    def compare(logits: Tensor, indices: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        if classes:
            wanted = torch.from_numpy(labels[indices])
            return {"cross": functional.cross_entropy(logits.float(), wanted, label_smoothing=0.1)}
        return losses(logits, torch.from_numpy(ages[indices]), torch.from_numpy(genders[indices]))

    def validate(network: nn.Module) -> tuple[float, dict[str, float]]:
        logits = answers(network, held_pictures)
        if classes:
            right = float((logits.argmax(1) == labels[held]).mean())
            return right, {"right": right, "f1": macro_f1(labels[held], logits.argmax(1), classes)}
        guessed, sexes = read(logits)
        error = guessed - ages[held]
        mae, mse = float(np.abs(error).mean()), float(np.square(error).mean())
        right = float((sexes == genders[held]).mean())
        row = {"mae": mae, "mse": mse, "r2": 1 - mse / float(ages[held].var()), "right": right}
        # A year weighs as much as two faces in a hundred.
        return 2 * right - mae / 25, row | {"f1": macro_f1(genders[held], sexes, 2)}

    fit(loop, draw, compare, 300, validate)


def _further(names: list[str], column: int | None, classes: int) -> tuple[int, npt.NDArray[np.int64]]:
    """Return the number of classes (0 for age and gender) and the label of every face (-1 where a name has none)."""
    if column is None:
        return 0, np.zeros(len(names), np.int64)
    parts = [name.split("_") for name in names]
    labels = [int(p[column]) if len(p) > column and p[column].isdigit() else -1 for p in parts]
    return classes, np.array([label if label < classes else -1 for label in labels])


def main() -> None:
    """Read the command line and train."""
    options = parser("Train the compact age and gender network.", steps=12000, rate=3e-3)
    options.add_argument("--data", type=Path, required=True, help="utkface.zip")
    options.add_argument("--teacher", type=Path, required=True, help="an SCRFD detector, 640x640, for the key points")
    options.add_argument("--column", type=int, help="train a further head: which part of the file names, from 0")
    options.add_argument("--classes", type=int, default=5, help="number of classes of a further head")
    options.add_argument("--batch", type=int, default=64)
    train(options.parse_args())


if __name__ == "__main__":
    main()
