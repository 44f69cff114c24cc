"""Train the compact age and gender network on UTKFace.

    python -m training.attributes --data utkface.zip --teacher scrfd_2.5g_kps.onnx --out DIR

Age is a distribution over the years 0 to 100, whose expectation is the answer. Fold 0 is never touched here.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from training.alignment import aligned, cached_points, jittered
from training.data import TEST_FOLD, VALIDATION_FOLD, Picture, read_faces, spoil
from training.detector import to_input
from training.loop import Loop, Plan, plot, prepare
from training.networks import age_and_gender

SIZE = 80
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
    chosen = np.flatnonzero(~np.isin(faces.folds, (TEST_FOLD, VALIDATION_FOLD)))
    held = np.flatnonzero(faces.folds == VALIDATION_FOLD)
    held_pictures = np.stack([aligned(faces.pictures[i], points[i], SIZE, CROP_SCALE) for i in held])
    loop = Loop(
        age_and_gender().to(memory_format=torch.channels_last),
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
        crops = [spoil(jittered(faces.pictures[i], points[i], SIZE, CROP_SCALE, rng), rng, 0.8) for i in indices]
        return np.stack(crops), indices

    def report() -> None:
        guessed, sexes = read(answers(loop.averaged, held_pictures))
        row = {"mae": float(np.abs(guessed - ages[held]).mean()), "right": float((sexes == genders[held]).mean())}
        loop.log({**loop.means(), **row})
        loop.save()

    loop.model.train()
    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(draw)
        while not loop.done:
            pictures, indices = upcoming.result()
            upcoming = ahead.submit(draw)
            with torch.autocast("cpu", torch.bfloat16):
                logits = loop.model(to_input(pictures))
            loop.update(losses(logits, torch.from_numpy(ages[indices]), torch.from_numpy(genders[indices])))
            if loop.step % 300 == 0:
                report()
    report()
    plot(arguments.out)


@torch.no_grad()
def answers(network: torch.nn.Module, pictures: Picture) -> npt.NDArray[np.float32]:
    """Return the network's logits for cut-out faces (N, S, S, 3)."""
    parts = [network(to_input(pictures[i : i + 256])).float().numpy() for i in range(0, len(pictures), 256)]
    return np.concatenate(parts)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train the compact age and gender network.")
    parser.add_argument("--data", type=Path, required=True, help="utkface.zip")
    parser.add_argument("--teacher", type=Path, required=True, help="an SCRFD detector, 640x640, for the key points")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and figures")
    parser.add_argument("--cache", type=Path, help="folder for decoded pictures (default: --out)")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--minutes", type=float, help="train so long, whatever the number of steps")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
