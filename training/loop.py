"""The loop that the trainings share: schedule, averaged weights, early stopping, checkpoints, a CSV and a plot."""

from __future__ import annotations

import argparse
import copy
import csv
import math
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from training.data import Picture
from training.muon import Muon

Targets = TypeVar("Targets")


def prepare(seed: int, threads: int) -> np.random.Generator:
    """Fix every source of chance, set the number of threads, and return numpy's generator."""
    random.seed(seed)
    torch.manual_seed(seed)
    # The better the network, the more gradients fall below the normal range, where the CPU is several times slower.
    # Threads inherit this, so it comes before the first of them.
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    return np.random.default_rng(seed)


def fastest_dtype() -> torch.dtype:
    """Return bfloat16 where this processor multiplies matrices faster in it than in float32, else float32.

    Processors without instructions for it emulate bfloat16, and training takes many times as long.
    """
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones(512, 512, dtype=dtype)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            matrix @ matrix
            times.append(time.perf_counter() - start)
        seconds[dtype] = min(times)
    fastest = min(seconds, key=lambda dtype: seconds[dtype])
    taken = ", ".join(f"{dtype} {1000 * s:.2f} ms" for dtype, s in seconds.items())
    print(f"computing in {fastest} (a matrix product: {taken})", flush=True)
    return fastest


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast to train.

    Attributes:
        steps: Optimiser steps in all.
        minutes: If given, the schedule follows the time trained instead, and ends after so many minutes: on a
            machine that is busy with other things this is the only way to finish the schedule in time.
        rate: Highest learning rate.
        warmup: Share of the schedule in which the rate rises.
        decay: Weight decay.
        average: Decay of the averaged weights a step.
        clip: Largest norm of the gradient.
        patience: Reports without a better score after which training ends early.
    """

    steps: int
    rate: float
    minutes: float | None = None
    warmup: float = 0.04
    decay: float = 0.05
    average: float = 0.999
    clip: float = 5.0
    patience: int = 12


class Loop:
    """Trains one network; knows nothing of what it learns.

    Attributes:
        model: The network that the optimiser moves.
        averaged: The exponential moving average of its weights: what gets evaluated.
        best: The averaged weights of the best score so far: what gets exported.
        dtype: What the network and the steps of its convolutions are computed in.
    """

    def __init__(self, model: nn.Module, plan: Plan, out: Path) -> None:
        self.model = model
        self.averaged = copy.deepcopy(model).eval().requires_grad_(False)
        self.plan = plan
        self.out = out
        self.step = 0
        self.seconds = 0.0
        self.best: dict[str, Tensor] | None = None
        self.score = -math.inf
        self._reports_since = 0
        self.dtype = fastest_dtype()
        self.optimizers = _optimizers(model, plan, self.dtype)
        self._last = time.perf_counter()
        self._sums: dict[str, float] = {}
        self._counts = 0
        out.mkdir(parents=True, exist_ok=True)

    @property
    def progress(self) -> float:
        """How much of the schedule is done, 0 to 1."""
        if self.plan.minutes is not None:
            return min(1.0, self.seconds / (60.0 * self.plan.minutes))
        return min(1.0, self.step / self.plan.steps)

    @property
    def done(self) -> bool:
        """Whether the schedule has ended, or nothing has become better for long."""
        return self.progress >= 1.0 or self._reports_since >= self.plan.patience

    def resume(self) -> bool:
        """Continue from the checkpoint in the output folder, if there is one."""
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        for optimizer, stored in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(stored)
        self.step, self.seconds = state["step"], state["seconds"]
        self.best, self.score = state.get("best"), state.get("score", -math.inf)
        print(f"resumed at step {self.step}", flush=True)
        return True

    def save(self) -> None:
        """Write the checkpoint; an interrupted write leaves the last one whole."""
        partial = self.out / "checkpoint.partial"
        torch.save(
            {
                "model": self.model.state_dict(),
                "averaged": self.averaged.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "step": self.step,
                "seconds": self.seconds,
                "best": self.best,
                "score": self.score,
            },
            partial,
        )
        partial.rename(self.out / "checkpoint.pt")

    def update(self, losses: dict[str, Tensor]) -> None:
        """Take one optimiser step down the sum of the losses."""
        rate = self.plan.rate * _shape(self.progress, self.plan.warmup)
        loss = torch.stack(list(losses.values())).sum()
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["ratio"]
            optimizer.step()
        self.step += 1
        self._average()
        now = time.perf_counter()
        # A pause (an evaluation, a suspended process) is not training time.
        self.seconds += min(now - self._last, 5.0)
        self._last = now
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value.detach())
        self._counts += 1

    def means(self) -> dict[str, float]:
        """Return the mean of every loss since the last call."""
        means = {name: total / max(self._counts, 1) for name, total in self._sums.items()}
        self._sums, self._counts = {}, 0
        return means

    def rate(self, score: float) -> None:
        """Take note of a validation score (higher is better), and of the weights that reached it."""
        self._reports_since += 1
        if score > self.score:
            self.score, self._reports_since = score, 0
            self.best = {name: value.clone() for name, value in self.averaged.state_dict().items()}

    def log(self, row: dict[str, float]) -> None:
        """Append a row of figures to metrics.csv and print it."""
        row = {"step": self.step, "minutes": round(self.seconds / 60, 2), **{k: round(v, 5) for k, v in row.items()}}
        path = self.out / "metrics.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(row)
            writer.writerow(row.values())
        print("  ".join(f"{k} {v}" for k, v in row.items()), flush=True)

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.plan.average, (1 + self.step) / (10 + self.step))
        for mean, new in zip(self.averaged.state_dict().values(), self.model.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(new, 1 - decay)
            else:
                mean.copy_(new)


def _optimizers(model: nn.Module, plan: Plan, dtype: torch.dtype) -> list[torch.optim.Optimizer]:
    """Muon for the hidden convolutions (not the first, which sees pixels, nor those that answer), else AdamW."""
    convolutions = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d) and m.bias is None][1:]
    hidden = {id(weight) for weight in convolutions}
    others = [p for p in model.parameters() if id(p) not in hidden]
    # Weight decay pulls on weights only: on biases and normalisation it does harm.
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": plan.decay, "ratio": 1.0},
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0, "ratio": 1.0},
    ]
    return [Muon(convolutions, plan.rate, plan.decay, dtype), torch.optim.AdamW(groups, lr=plan.rate)]


def _shape(progress: float, warmup: float) -> float:
    if progress < warmup:
        return 0.05 + 0.95 * progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) + 0.003


def fit(
    loop: Loop,
    draw: Callable[[], tuple[Picture, Targets]],
    losses: Callable[[Tensor, Targets], dict[str, Tensor]],
    every: int,
    validate: Callable[[nn.Module], tuple[float, dict[str, float]]],
) -> None:
    """Train to the end of the schedule.

    Args:
        loop: The network and its schedule.
        draw: Makes a batch: pictures (B, S, S, 3) RGB, and what ``losses`` compares with.
        losses: The parts of the loss, of the network's outputs and the targets.
        every: Steps between two validations; each ends with a checkpoint.
        validate: Says how good a network is (higher is better), and gives figures to log.
    """

    def report() -> None:
        score, row = validate(loop.averaged)
        loop.rate(score)
        loop.log({**loop.means(), **row})
        loop.save()

    loop.model.train()
    # One batch ahead in one thread: the order of draws stays fixed, and the cores do not wait for OpenCV.
    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(draw)
        while not loop.done:
            pictures, targets = upcoming.result()
            upcoming = ahead.submit(draw)
            with torch.autocast("cpu", torch.bfloat16, enabled=loop.dtype is torch.bfloat16):
                outputs = loop.model(to_input(pictures))
            loop.update(losses(outputs, targets))
            if loop.step % every == 0 or loop.done:
                report()
    plot(loop.out)


def best_weights(run: Path) -> dict[str, Tensor]:
    """Return the averaged weights with the best score of the run in a folder."""
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    weights: dict[str, Tensor] = state.get("best") or state["averaged"]
    return weights


class Shuffled:
    """Endless indices: every one once an epoch, in a new order each time."""

    def __init__(self, indices: npt.NDArray[np.int64], rng: np.random.Generator) -> None:
        self._indices = indices
        self._rng = rng
        self._queue: list[int] = []

    def take(self, count: int) -> npt.NDArray[np.int64]:
        """Return the next indices (count,)."""
        while len(self._queue) < count:
            self._queue.extend(self._rng.permutation(self._indices).tolist())
        taken, self._queue = self._queue[:count], self._queue[count:]
        return np.array(taken)


def to_input(pictures: Picture) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float, channels last in memory: the layout the CPU's kernels like."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().sub_(127.5).div_(128.0)
    return x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def answers(network: nn.Module, pictures: Picture) -> npt.NDArray[np.float32]:
    """Return the network's logits for cut-out faces (N, S, S, 3)."""
    parts = [network(to_input(pictures[i : i + 256])).float().numpy() for i in range(0, len(pictures), 256)]
    return np.concatenate(parts)


def macro_f1(labels: npt.NDArray[np.int64], guesses: npt.NDArray[np.int64], classes: int) -> float:
    """Return the mean over the classes of the F1 score."""
    table = np.bincount(labels * classes + guesses, minlength=classes * classes).reshape(classes, classes)
    return float(np.mean(2 * table.diagonal() / np.maximum(table.sum(0) + table.sum(1), 1)))


def parser(description: str, steps: int, rate: float) -> argparse.ArgumentParser:
    """Return a command line with the options that all trainings share."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--out", type=Path, required=True, help="folder for checkpoints and figures")
    options.add_argument("--cache", type=Path, help="folder for decoded pictures (default: --out)")
    options.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")
    options.add_argument("--steps", type=int, default=steps)
    options.add_argument("--minutes", type=float, help="train so long, whatever the number of steps")
    options.add_argument("--rate", type=float, default=rate)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--seed", type=int, default=1)
    return options


def plot(out: Path) -> None:
    """Draw every column of metrics.csv against the step into metrics.png."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name not in ("step", "minutes")]
    figure, axes = pyplot.subplots(1, len(names), figsize=(3.2 * len(names), 2.8), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        axis.plot([float(row["minutes"]) for row in rows], [float(row[name]) for row in rows])
        axis.set_title(name)
        axis.set_xlabel("minutes")
    figure.tight_layout()
    figure.savefig(out / "metrics.png", dpi=110)
    pyplot.close(figure)
