"""Say how good an exported emotion network is on fold 1, and fit the temperature that makes it honest.

    python -m training.evaluate emotion --model emotion.onnx --data fer2013.zip --votes ferplus.csv

Prints a JSON object for fold 1 of the training split: the share that is right and the macro F1 where one emotion has
most of the votes, the cross-entropy with everyone's votes, and the temperature for `training.pack`, fitted on the same;
then what logits moved against each emotion's frequency would give (`--balance` of `training.export`). Without votes,
FER2013's own label counts. How good a pack is on what no choice was made by, `faceinsight evaluate` measures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from faceinsight.inference.session import create_session, run_batched
from training.data import EMOTIONS, VALIDATION_FOLD, Floats, fold, frequencies, read_expressions
from training.emotion import best_temperature
from training.loop import macro_f1
from training.spoiling import as_rgb

BALANCES = (-0.2, -0.1, 0.1, 0.2, 0.3, 0.4, 0.5)


def on_fold_1(model: Path, data: Path, votes: Path | None, threads: int) -> dict[str, object]:
    """Return what the module says about an ONNX file."""
    train = read_expressions(data, votes)
    held = np.array([fold(name) == VALIDATION_FOLD for name in train.names])
    labels, shares = train.labels[held], train.shares[held]
    logits = run_batched(create_session(model, threads=threads), as_rgb(train.pictures[held]))
    temperature = best_temperature(logits, shares)
    cross = functional.cross_entropy(torch.from_numpy(logits / temperature), torch.from_numpy(shares))
    clear = labels >= 0

    def figures(logits: Floats) -> dict[str, float]:
        guesses = logits[clear].argmax(1)
        return {
            "right": round(float((guesses == labels[clear]).mean()), 4),
            "f1": round(macro_f1(labels[clear], guesses, len(EMOTIONS)), 4),
        }

    rare = -np.log(frequencies(train.shares))
    return {
        **figures(logits),
        "cross": round(float(cross), 4),
        "temperature": round(temperature, 4),
        "balance": {str(balance): figures(logits + balance * rare) for balance in BALANCES},
    }


def main() -> None:
    """Read the command line and fit."""
    parser = argparse.ArgumentParser(description="Evaluate the emotion network on fold 1.")
    parser.add_argument("stage", choices=["emotion"])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="fer2013.zip")
    parser.add_argument("--votes", type=Path, help="ferplus.csv")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    print(json.dumps(on_fold_1(arguments.model, arguments.data, arguments.votes, arguments.threads), indent=1))


if __name__ == "__main__":
    main()
