"""Train the compact emotion network on people's votes about FER2013's pictures, and on real faces.

    python -m training.emotion --data fer2013.zip --votes ferplus.csv --detector scrfd_2.5g_kps.onnx --out DIR
        [--start RUN_OR_ONNX] [--teacher RUN [RUN ...]] [--wild utkface.zip expw.zip scenes.zip]
    python -m training.emotion --data fer2013.zip --labels own --out DIR [--start RUN] [--teacher RUN [RUN ...]]

FER2013 shows just the detector's box, widened to a square: that is the crop the app makes for this network, and
the augmentation stands for the detector's scatter and for other tools' crops. Choices are made on fold 1 of the
training split.

With the runs of earlier networks as its teachers, a network learns from what they make of real faces that nobody has
labelled (Xie et al., "Self-training with noisy student improves ImageNet classification", 2020); with FER2013's own
labels, half from these and half from the teachers (Furlanello et al., "Born again neural networks", 2018). It may start
from the weights of an earlier run instead of from nothing (Loshchilov and Hutter, "SGDR", 2017).
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

from training.alignment import cached_points
from training.data import (
    EMOTIONS,
    VALIDATION_FOLD,
    Expressions,
    Floats,
    Picture,
    cached,
    fold,
    frequencies,
    read_expressions,
)
from training.loop import Loop, Plan, Shuffled, answers, best_weights, fit, macro_f1, parser, prepare
from training.networks import Averaged, Classifier, Mirrored, emotion
from training.spoiling import aligned, as_rgb, augmented, blended, middle
from training.warm import start_from, stored_layers
from training.wild import Wild, read_wild

SMALL_SIZE, SMALL_SHARE = 36, 0.4
"""The first part of the schedule runs on smaller pictures: two thirds of the work a step."""
SMOOTHING = 0.1
"""One label in three of FER2013 is disputed among people: full certainty would be wrong to learn. Votes say it."""
BALANCE = 0.5
"""A picture comes as often as the emotions in it are rare, to this power: 0 as they are, 1 all emotions alike."""
WILD_SHARE = 0.35
"""Of a batch, where there are real faces."""
SHARPENED = 1.25
"""The power that teachers' opinions of real faces are raised to."""
CALM_SHARE, CALM_STRENGTH = 0.15, 0.5
"""The last part of the schedule sees pictures nearer to real ones: half the change, and none mixed."""
CROP_SCALE = 1.0
"""A square as long as the longer side of the teacher's box frames a face as FER2013 does (median 1.02)."""
SHOWN = 112
"""Pixels at which a picture of FER2013 is shown to the detector that finds its key points."""


class Source:
    """Pictures to learn from, with what is to be said of them."""

    def __init__(
        self,
        pictures: Picture,
        points: Floats | None,
        targets: Floats,
        chosen: npt.NDArray[np.int64],
        rng: np.random.Generator,
        *,
        balanced: bool = True,
    ) -> None:
        """Keep the pictures.

        Args:
            pictures: Grey (N, S, S).
            points: Eyes, nose and corners of the mouth in them (N, 5, 2).
            targets: Probabilities (N, 8).
            chosen: Which ones to learn from.
            rng: Source of chance.
            balanced: Whether rare emotions come more often.
        """
        self._pictures, self._points, self._targets, self._rng = pictures, points, targets, rng
        repeated = np.repeat(chosen, repeats(targets[chosen], rng)) if balanced else chosen
        self.queue = Shuffled(repeated, rng)

    def draw(self, count: int, strength: float, *, wide: bool) -> tuple[Picture, Floats]:
        """Return augmented pictures (count, 48, 48) and their targets."""
        indices = self.queue.take(count)
        points = [None] * count if self._points is None else self._points[indices]
        pictures = [
            augmented(self._pictures[i], self._rng, strength, wide=wide, points=five)
            for i, five in zip(indices, points, strict=True)
        ]
        return np.stack(pictures), self._targets[indices]


def repeats(targets: Floats, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return how often each picture (N,) comes in an epoch: twice on average, the rarer its emotions the oftener."""
    weights = targets @ frequencies(targets) ** -BALANCE
    return np.floor(2 * weights / weights.mean() + rng.random(len(weights))).astype(np.int64)


def shrunk(pictures: Picture) -> Picture:
    """(N, 48, 48) to (N, 36, 36)."""
    return np.stack([cv2.resize(picture, (SMALL_SIZE, SMALL_SIZE)) for picture in pictures])


def best_temperature(logits: Floats, shares: Floats) -> float:
    """Return the divisor of the logits that makes the votes (N, 8) most likely."""
    choices = np.exp(np.linspace(np.log(0.3), np.log(3.0), 200))
    scores = [functional.cross_entropy(torch.from_numpy(logits / t), torch.from_numpy(shares)) for t in choices]
    return float(choices[int(np.argmin(scores))])


class Held:
    """What choices are made on: fold 1 of FER2013's training split, and the same faces aligned by eyes and mouth."""

    def __init__(self, data: Expressions, points: Floats | None) -> None:
        held = np.array([fold(name) == VALIDATION_FOLD for name in data.names]) & (data.labels >= 0)
        self.labels, self._shares = data.labels[held], data.shares[held]
        self._small = as_rgb(shrunk(data.pictures[held]))
        self._views = {"right": (as_rgb(data.pictures[held]), self.labels)}
        if points is not None:
            self._views["aligned"] = (as_rgb(aligned(data.pictures[held], points[held])), self.labels)

    def score(self, network: nn.Module, *, small: bool = False) -> tuple[float, dict[str, float]]:
        """Return the mean share of right answers over all views, and what there is to log."""
        if small:
            right = float((answers(network, self._small).argmax(1) == self.labels).mean())
            return right, {"right": right}
        row = {}
        for name, (pictures, labels) in self._views.items():
            logits = answers(network, pictures)
            row[name] = float((logits.argmax(1) == labels).mean())
            if name == "right":
                row["f1"] = macro_f1(labels, logits.argmax(1), len(EMOTIONS))
                row["temperature"] = best_temperature(logits, self._shares)
        return float(np.mean([row[name] for name in self._views])), row


def train(arguments: argparse.Namespace) -> None:
    """Run the training that the command line asks for."""
    rng = prepare(arguments.seed, arguments.threads)
    wide = arguments.labels == "votes"
    data = read_expressions(arguments.data, arguments.votes if wide else None)
    cache = arguments.cache or arguments.out
    points = None
    if arguments.detector is not None:
        path = cache / f"fer2013_{arguments.labels}_points.npz"
        points, _, _ = cached_points(as_rgb(data.pictures), arguments.detector, SHOWN, path)
    targets = data.shares if wide else data.shares * (1 - SMOOTHING) + SMOOTHING / len(EMOTIONS)
    if arguments.teacher is not None and not wide:
        targets = (targets + opinions(arguments.teacher, as_rgb(data.pictures))) / 2
    learnt = np.flatnonzero(np.array([fold(name) for name in data.names]) != VALIDATION_FOLD)
    sources = [(Source(data.pictures, points, targets, learnt, rng, balanced=wide), arguments.batch)]
    if arguments.wild is not None:
        web = read_wild(arguments.wild, cache / "wild.npz")
        share = round(WILD_SHARE * arguments.batch)
        said = cached(arguments.out / "opinions.npy", lambda: web_opinions(arguments.teacher, web))
        real = Source(web.pictures, web.points, said, np.arange(len(said)), rng)
        sources = [(sources[0][0], arguments.batch - share), (real, share)]
    held = Held(data, points)
    plan = Plan(steps=arguments.steps, minutes=arguments.minutes, rate=arguments.rate, average=0.998)
    network = emotion().to(memory_format=torch.channels_last)
    if arguments.start is not None:
        begin(network, arguments.start, as_rgb(sources[0][0].draw(512, CALM_STRENGTH, wide=wide)[0]))
    loop = Loop(network, plan, arguments.out)
    if arguments.resume:
        loop.resume()

    def early() -> bool:
        return arguments.start is None and loop.progress < SMALL_SHARE

    def draw() -> tuple[Picture, Tensor]:
        calm = loop.progress > 1 - CALM_SHARE
        parts = [source.draw(count, CALM_STRENGTH if calm else 1.0, wide=wide) for source, count in sources]
        pictures, wanted = (np.concatenate(part) for part in zip(*parts, strict=True))
        if early():
            pictures = shrunk(pictures)
        if not calm:
            pictures, wanted = blended(pictures, wanted, rng)
        return as_rgb(pictures), torch.from_numpy(wanted)

    fit(loop, draw, _losses, arguments.every, lambda network: held.score(network, small=early()))


def begin(network: Classifier, source: Path, pictures: Picture) -> None:
    """Give a network the weights of an earlier run, or of an ONNX file that knows all emotions, or all but contempt."""
    if source.is_dir():
        network.load_state_dict(best_weights(source))
        return
    known = len(stored_layers(source)[1][1])
    rows = [i for i, name in enumerate(EMOTIONS) if name != "Contempt" or known == len(EMOTIONS)]
    start_from(network, source, pictures, rows)


def opinions(runs: list[Path], pictures: Picture) -> Floats:
    """Return the probabilities (N, 8) that the networks of earlier runs give together for pictures (N, 48, 48, 3)."""
    teachers: list[nn.Module] = []
    for run in runs:
        teacher = emotion().eval()
        teacher.load_state_dict(best_weights(run))
        teachers.append(teacher)
    logits = torch.from_numpy(answers(Mirrored(Averaged(teachers)), pictures))
    probabilities: Floats = logits.softmax(1).numpy()
    return probabilities


def web_opinions(runs: list[Path], web: Wild) -> Floats:
    """Return what teachers make of real faces (N, 8).

    Where a face has a label of the web's, the emotions with which the teachers meet that label more often than others
    gain by it: how much a label says, the teachers' own answers tell.
    """
    seen = opinions(runs, as_rgb(middle(web.pictures))) ** SHARPENED
    seen /= seen.sum(1, keepdims=True)
    labelled = web.labels >= 0
    met = seen[labelled].T @ np.eye(len(EMOTIONS), dtype=np.float32)[web.labels[labelled]]
    likely = (met + 1) / (met + 1).sum(1, keepdims=True)
    seen[labelled] *= likely[:, web.labels[labelled]].T
    return (seen / seen.sum(1, keepdims=True)).astype(np.float32)


def _losses(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    return {"cross": functional.cross_entropy(logits.float(), targets)}


def main() -> None:
    """Read the command line and train."""
    options = parser("Train the compact emotion network.", steps=30000, rate=2.5e-3)
    options.add_argument("--data", type=Path, required=True, help="fer2013.zip")
    options.add_argument("--votes", type=Path, help="ferplus.csv")
    options.add_argument("--labels", choices=["votes", "own"], default="votes", help="own: FER2013's one label")
    options.add_argument("--detector", type=Path, help="finds FER2013's key points: some faces are aligned by them")
    options.add_argument("--wild", type=Path, nargs="+", help="zips of real faces to learn on from the teachers")
    options.add_argument("--teacher", type=Path, nargs="+", help="--out of earlier runs to learn from as well")
    options.add_argument("--start", type=Path, help="an earlier run's --out, or emotion.onnx, to begin with")
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--every", type=int, default=1000, help="steps between two validations")
    arguments = options.parse_args()
    if arguments.labels == "votes" and arguments.votes is None:
        options.error("--labels votes needs --votes ferplus.csv")
    if arguments.wild is not None and arguments.teacher is None:
        options.error("--wild needs --teacher: nobody else says what the faces show")
    train(arguments)


if __name__ == "__main__":
    main()
