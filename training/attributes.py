"""Train the compact age and gender network on UTKFace and FG-NET, or a further head on a part of UTKFace's file names.

    python -m training.attributes --data utkface.zip --out DIR [--start attributes.onnx | --start RUN]
        [--fgnet fgnet.zip --web expw.zip --teacher scrfd_2.5g_kps.onnx]
    python -m training.attributes --data utkface.zip --out DIR --column 2 --classes 5

Age is a distribution over the years 0 to 100, whose expectation is the answer. Fold 0 is never touched here.

UTKFace's crops are one kind of picture. FG-NET's scanned family photos are another, with many children; faces of the
web, which carry no label, are a third: there the network learns, on strongly changed crops, what its own averaged
weights say of an unchanged one and of its mirror image (Tarvainen and Valpola, "Mean teachers", 2017).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data import TEST_FOLD, VALIDATION_FOLD, Floats, Picture
from training.loop import Loop, Plan, answers, best_weights, fit, macro_f1, parser, prepare, to_input
from training.networks import age_and_gender, further_head
from training.people import UNKNOWN, YEARS, Pool, alike, fgnet, utkface, web
from training.warm import start_from

SIZE = 80
EARLY_SIZE = 64
"""Side of the crops in the first part of the schedule: two thirds of the work, and coarse things are learnt first."""
FGNET_SHARE, WEB_SHARE = 0.09, 0.16
"""Of a batch, where the sets are given."""
CALM_SHARE = 0.2
"""The last part of the schedule sees pictures nearer to real ones."""
BUCKETS = (3, 10, 20, 30, 40, 50, 60, 70)
"""First years of FairFace's buckets of ages."""


def losses(logits: Tensor, ages: Tensor, genders: Tensor) -> dict[str, Tensor]:
    """Compare logits (B, 103) with ages in years and genders (0 female, 1 male, `UNKNOWN`)."""
    logits = logits.float()
    years = torch.arange(YEARS, dtype=torch.float32)
    # Neighbouring ages look alike, the more so the older: the distribution that stands for one label is as wide.
    spread = (0.7 + 0.07 * ages[:, None]).clamp(max=3.0)
    wanted = torch.softmax(-0.5 * ((years - ages[:, None]) / spread).square(), 1)
    guess = torch.log_softmax(logits[:, 2:], 1)
    gender = functional.cross_entropy(
        logits[:, :2], genders, label_smoothing=0.03, ignore_index=UNKNOWN, reduction="sum"
    )
    return {
        "gender": gender / len(logits),
        "distribution": functional.kl_div(guess, wanted, reduction="batchmean") * 0.6,
        "age": ((guess.exp() * years).sum(1) - ages).abs().mean() / 8.0,
    }


def agreement(logits: Tensor, opinions: Tensor) -> Tensor:
    """Return how far logits (B, 103) are from another network's logits for the same faces."""
    parts = []
    for columns in (slice(0, 2), slice(2, None)):
        wanted = opinions[:, columns].float().softmax(1)
        parts.append(functional.kl_div(logits[:, columns].float().log_softmax(1), wanted, reduction="batchmean"))
    return parts[0] + 0.6 * parts[1]


def read(logits: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return ages in years and genders (0 female, 1 male) from logits (N, 103)."""
    weights = np.exp(logits[:, 2:] - logits[:, 2:].max(1, keepdims=True))
    ages = (weights * np.arange(YEARS)).sum(1) / weights.sum(1)
    return ages, logits[:, :2].argmax(1)


def bucket_accuracy(ages: npt.NDArray[np.int64], guesses: Floats) -> float:
    """Return the share of ages in the right bucket of FairFace's, every bucket counting the same."""
    true, guess = (np.digitize(np.floor(years), BUCKETS) for years in (ages, guesses))
    return float(np.mean([(guess[true == bucket] == bucket).mean() for bucket in np.unique(true)]))


def shared_genders(network: nn.Module, pool: Pool, people: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return a gender for every picture of people who have several: what the network says of all their grown-up ones.

    FG-NET does not name genders, and a child's is hard to see; that of the same person at thirty is not.
    """
    logits = answers(network, np.stack([pool.clean(i, SIZE) for i in range(len(people))]))
    logits += answers(network, np.stack([pool.clean(i, SIZE)[:, ::-1] for i in range(len(people))]))
    margins = (logits[:, 1] - logits[:, 0]) / 2
    genders = np.full(len(people), UNKNOWN)
    for person in np.unique(people):
        grown = margins[(people == person) & (pool.ages >= 15)]
        if len(grown) and abs(grown.mean()) > 1.0:
            genders[people == person] = int(grown.mean() > 0)
    return genders


class Validation:
    """Faces that no network is trained on, cut beforehand: as they are, and as poor pictures show them."""

    def __init__(self, pool: Pool, held: npt.NDArray[np.int64], old: Pool | None, rows: npt.NDArray[np.int64]) -> None:
        rng = np.random.default_rng(99)
        self.ages, self.genders = pool.ages[held], pool.genders[held]
        self.faces = {size: np.stack([pool.clean(i, size) for i in held]) for size in (EARLY_SIZE, SIZE)}
        self.poor = {size: np.stack([pool.crop(i, size, rng, calm=False) for i in held]) for size in (EARLY_SIZE, SIZE)}
        self.old_ages = None if old is None else old.ages[rows]
        self.old = {} if old is None else {s: np.stack([old.clean(i, s) for i in rows]) for s in (EARLY_SIZE, SIZE)}

    def __call__(self, network: nn.Module, size: int) -> tuple[float, dict[str, float]]:
        """Return a score (higher is better) and the figures behind it."""
        guessed, sexes = read(answers(network, self.faces[size]))
        error = guessed - self.ages
        child = self.ages < 10
        row = {
            "mae": float(np.abs(error).mean()),
            "bias": float(error.mean()),
            "right": float((sexes == self.genders).mean()),
            "child_mae": float(np.abs(error[child]).mean()),
            "child_right": float((sexes == self.genders)[child].mean()),
            "bucket": bucket_accuracy(self.ages, guessed),
        }
        guessed, sexes = read(answers(network, self.poor[size]))
        row |= {
            "poor_mae": float(np.abs(guessed - self.ages).mean()),
            "poor_right": float((sexes == self.genders).mean()),
            "poor_bucket": bucket_accuracy(self.ages, guessed),
        }
        # A year weighs as much as two faces in a hundred.
        score = 2 * row["right"] + row["poor_right"] + row["poor_bucket"] - (row["mae"] + row["poor_mae"] / 2) / 25
        if self.old_ages is not None:
            error = read(answers(network, self.old[size]))[0] - self.old_ages
            bands = ((0, 5), (6, 12), (13, 19), (20, 100))
            row |= {"old_mae": float(np.abs(error).mean()), "old_bias": float(error.mean())}
            row |= {f"bias_{a}": float(error[(a <= self.old_ages) & (self.old_ages <= b)].mean()) for a, b in bands}
            # Few people: half as much, and what lies off on one side counts twice.
            score -= (row["old_mae"] + abs(row["old_bias"])) / 50
        return score, row | {"score": score}


def train(arguments: argparse.Namespace) -> None:
    """Run the training that the command line asks for."""
    rng = prepare(arguments.seed, arguments.threads)
    cache = arguments.cache or arguments.out
    pool, folds, names = utkface(arguments.data, cache, arguments.even)
    if arguments.column is not None:
        train_further_head(arguments, rng, pool, folds, names)
        return
    held = np.flatnonzero(folds == VALIDATION_FOLD)[::2]
    pools, old, rows = [pool], None, np.empty(0, np.int64)
    network = age_and_gender()
    begin(network, arguments.start, pool, rng)
    if arguments.fgnet is not None:
        old, people, held_back = fgnet(arguments.fgnet, arguments.teacher, cache)
        rows = np.flatnonzero(held_back)
        if arguments.start is not None:
            old.genders[:] = shared_genders(network.eval(), old, people)
            old.weights[:] = alike(old.weights, old.genders)
            known = len(np.unique(people[old.genders != UNKNOWN]))
            print(f"FG-NET: the gender of {known} of {len(np.unique(people))} people is clear", flush=True)
        pools.append(old)
    counts = [0] * len(pools)
    if old is not None:
        counts[1] = round(arguments.batch * FGNET_SHARE)
    unlabelled = 0
    if arguments.web is not None:
        pools.append(web(arguments.web, arguments.teacher, cache))
        unlabelled = round(arguments.batch * WEB_SHARE)
        counts.append(unlabelled)
    counts[0] = arguments.batch - sum(counts[1:])
    validation = Validation(pool, held, old, rows)
    plan = Plan(arguments.steps, arguments.rate, arguments.minutes, average=0.996, patience=1000)
    loop = Loop(network.to(memory_format=torch.channels_last), plan, arguments.out)
    if arguments.resume:
        loop.resume()

    def size() -> int:
        return EARLY_SIZE if loop.progress < arguments.early else SIZE

    def draw() -> tuple[Picture, tuple[Tensor, Tensor, Picture]]:
        side, calm = size(), loop.progress > 1 - CALM_SHARE
        crops, ages, genders, plain = [], [], [], []
        for number, (part, count) in enumerate(zip(pools, counts, strict=True)):
            for i in part.take(count, rng):
                crops.append(part.crop(i, side, rng, calm=calm))
                ages.append(part.ages[i])
                genders.append(part.genders[i])
                if unlabelled and number == len(pools) - 1:
                    plain += [part.clean(i, side), part.clean(i, side, 0)[:, ::-1]]
        views = np.stack(plain) if plain else np.empty((0, side, side, 3), np.uint8)
        return np.stack(crops), (torch.tensor(np.array(ages)), torch.tensor(np.array(genders)), views)

    def compare(logits: Tensor, targets: tuple[Tensor, Tensor, Picture]) -> dict[str, Tensor]:
        ages, genders, views = targets
        known = len(logits) - unlabelled
        found = losses(logits[:known], ages[:known], genders[:known])
        if unlabelled:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=loop.dtype is torch.bfloat16):
                opinions = loop.averaged(to_input(views)).float().reshape(unlabelled, 2, -1).mean(1)
            # At first the averaged weights know no more of the web than the file they come from.
            share = unlabelled / known * min(1.0, loop.progress / 0.3)
            found["web"] = agreement(logits[known:], opinions) * share
        return found

    fit(loop, draw, compare, arguments.every, lambda network: validation(network, size()))


def begin(network: nn.Module, start: Path | None, pool: Pool, rng: np.random.Generator) -> None:
    """Give the network the weights of an exported file or of an earlier run."""
    if start is None:
        return
    if start.suffix == ".onnx":
        chosen = pool.take(256, rng)
        start_from(network, start, np.stack([pool.clean(i, SIZE) for i in chosen]))
    else:
        network.load_state_dict(best_weights(start))


def train_further_head(
    arguments: argparse.Namespace,
    rng: np.random.Generator,
    pool: Pool,
    folds: npt.NDArray[np.int64],
    names: list[str],
) -> None:
    """Train a classifier of another part of UTKFace's file names."""
    labels = _further(names, arguments.column, arguments.classes)
    pool.weights[:] = (labels >= 0) & ~np.isin(folds, (TEST_FOLD, VALIDATION_FOLD))
    held = np.flatnonzero((labels >= 0) & (folds == VALIDATION_FOLD))
    faces = np.stack([pool.clean(i, SIZE) for i in held])
    plan = Plan(arguments.steps, arguments.rate, arguments.minutes, average=0.998)
    loop = Loop(further_head(arguments.classes).to(memory_format=torch.channels_last), plan, arguments.out)
    if arguments.resume:
        loop.resume()

    def draw() -> tuple[Picture, npt.NDArray[np.int64]]:
        indices = pool.take(arguments.batch, rng)
        return np.stack([pool.crop(i, SIZE, rng, calm=True) for i in indices]), indices

    def compare(logits: Tensor, indices: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        wanted = torch.from_numpy(labels[indices])
        return {"cross": functional.cross_entropy(logits.float(), wanted, label_smoothing=0.1)}

    def validate(network: nn.Module) -> tuple[float, dict[str, float]]:
        guesses = answers(network, faces).argmax(1)
        right = float((guesses == labels[held]).mean())
        return right, {"right": right, "f1": macro_f1(labels[held], guesses, arguments.classes)}

    fit(loop, draw, compare, arguments.every, validate)


def _further(names: list[str], column: int, classes: int) -> npt.NDArray[np.int64]:
    """Return the label of every face, `UNKNOWN` where a name has none."""
    parts = [name.split("_") for name in names]
    labels = [int(p[column]) if len(p) > column and p[column].isdigit() else UNKNOWN for p in parts]
    return np.array([label if label < classes else UNKNOWN for label in labels])


def main() -> None:
    """Read the command line and train."""
    options = parser("Train the compact age and gender network.", steps=12000, rate=3e-3)
    options.add_argument("--data", type=Path, required=True, help="utkface.zip")
    options.add_argument("--teacher", type=Path, help="with --fgnet, --web: an SCRFD detector, 640x640, for key points")
    options.add_argument("--fgnet", type=Path, help="fgnet.zip")
    options.add_argument("--web", type=Path, help="a zip of unlabelled faces, such as expw.zip")
    options.add_argument("--start", type=Path, help="an exported file, or --out of an earlier run, to begin with")
    options.add_argument("--even", type=float, default=0.5, help="how even UTKFace's ages are drawn, from 0 to 1")
    options.add_argument("--early", type=float, default=0.4, help="share of the schedule that sees smaller crops")
    options.add_argument("--column", type=int, help="train a further head: which part of the file names, from 0")
    options.add_argument("--classes", type=int, default=5, help="number of classes of a further head")
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--every", type=int, default=800, help="steps between two validations")
    arguments = options.parse_args()
    if arguments.teacher is None and (arguments.fgnet or arguments.web):
        options.error("--fgnet and --web need --teacher")
    train(arguments)


if __name__ == "__main__":
    main()
