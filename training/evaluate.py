"""Fit the temperature that makes the emotion network's probabilities honest.

    python -m training.evaluate emotion --model emotion.onnx --data fer2013.zip

Prints the temperature for `training.pack`, fitted on fold 1 of the training split, as a JSON object. How good a
pack is, `faceinsight evaluate` measures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from faceinsight.inference.session import create_session, run_batched
from training.data import VALIDATION_FOLD, fold, read_expressions
from training.emotion import as_rgb, best_temperature


def fit_temperature(model: Path, data: Path, threads: int) -> float:
    """Return the divisor of the logits that makes the held-back labels most likely."""
    train, _ = read_expressions(data)
    held = np.array([fold(name) == VALIDATION_FOLD for name in train.names])
    blob: npt.NDArray[np.float32] = (as_rgb(train.pictures[held]).astype(np.float32) - 127.5) / 128.0
    logits = run_batched(create_session(model, threads=threads), np.ascontiguousarray(blob.transpose(0, 3, 1, 2)))
    return best_temperature(logits, train.labels[held])


def main() -> None:
    """Read the command line and fit."""
    parser = argparse.ArgumentParser(description="Fit the emotion network's temperature.")
    parser.add_argument("stage", choices=["emotion"])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="fer2013.zip")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    print(json.dumps({"temperature": round(fit_temperature(arguments.model, arguments.data, arguments.threads), 4)}))


if __name__ == "__main__":
    main()
