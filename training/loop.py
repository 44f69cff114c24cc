"""The loop that the three trainings share: schedule, averaged weights, checkpoints, a CSV of figures and a plot."""

from __future__ import annotations

import copy
import csv
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from training.muon import Muon


def prepare(seed: int, threads: int) -> np.random.Generator:
    """Fix every source of chance, set the number of threads, and return numpy's generator."""
    random.seed(seed)
    torch.manual_seed(seed)
    # The better the network, the more gradients fall below the normal range, where the CPU is several times slower.
    # Threads inherit this, so it comes before the first of them.
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    return np.random.default_rng(seed)


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
    """

    steps: int
    rate: float
    minutes: float | None = None
    warmup: float = 0.04
    decay: float = 0.05
    average: float = 0.999
    clip: float = 5.0


class Loop:
    """Trains one network; knows nothing of what it learns.

    Attributes:
        model: The network that the optimiser moves.
        averaged: The exponential moving average of its weights: what gets evaluated and exported.
    """

    def __init__(self, model: nn.Module, plan: Plan, out: Path) -> None:
        self.model = model
        self.averaged = copy.deepcopy(model).eval().requires_grad_(False)
        self.plan = plan
        self.out = out
        self.step = 0
        self.seconds = 0.0
        self.optimizers = _optimizers(model, plan)
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
        """Whether the schedule has ended."""
        return self.progress >= 1.0

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


def _optimizers(model: nn.Module, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the hidden convolutions (not the first, which sees pixels, nor those that answer), else AdamW."""
    convolutions = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d) and m.bias is None][1:]
    hidden = {id(weight) for weight in convolutions}
    others = [p for p in model.parameters() if id(p) not in hidden]
    # Weight decay pulls on weights only: on biases and normalisation it does harm.
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": plan.decay, "ratio": 1.0},
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0, "ratio": 1.0},
    ]
    return [Muon(convolutions, plan.rate, plan.decay), torch.optim.AdamW(groups, lr=plan.rate)]


def _shape(progress: float, warmup: float) -> float:
    if progress < warmup:
        return 0.05 + 0.95 * progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) + 0.003


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
