"""Say how good an exported emotion network is on fold 1, and fit the temperature that makes it honest.

    python -m training.evaluate emotion --model emotion.onnx --data fer2013.zip

Prints a JSON object: the share of fold 1 of the training split that is right, its macro F1, and the temperature for
`training.pack`, fitted on the same. How good a pack is on what no choice was made by, `faceinsight evaluate` measures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from faceinsight.inference.session import create_session, run_batched
from training.data import EMOTIONS, VALIDATION_FOLD, fold, read_expressions
from training.emotion import as_rgb, best_temperature
from training.loop import macro_f1


def on_fold_1(model: Path, data: Path, threads: int) -> dict[str, float]:
    """Return the accuracy, the macro F1, and the divisor of the logits that makes the labels most likely."""
    train, _ = read_expressions(data)
    held = np.array([fold(name) == VALIDATION_FOLD for name in train.names])
    labels = train.labels[held]
    logits = run_batched(create_session(model, threads=threads), as_rgb(train.pictures[held]))
    return {
        "right": round(float((logits.argmax(1) == labels).mean()), 4),
        "f1": round(macro_f1(labels, logits.argmax(1), len(EMOTIONS)), 4),
        "temperature": round(best_temperature(logits, labels), 4),
    }


def main() -> None:
    """Read the command line and fit."""
    parser = argparse.ArgumentParser(description="Evaluate the emotion network on fold 1.")
    parser.add_argument("stage", choices=["emotion"])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="fer2013.zip")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    print(json.dumps(on_fold_1(arguments.model, arguments.data, arguments.threads)))


if __name__ == "__main__":
    main()
