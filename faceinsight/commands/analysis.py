"""The options of every command that analyses files, and how it prints their names."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable

# Analyses a second of a clip: measured by benchmarks/rates.py, a viewer cannot tell them from every frame's.
USUAL_RATE = 10.0


def add_analysis(parser: argparse.ArgumentParser) -> None:
    """Adds `--threshold`, `--min-face`, `--rate` and `--smoothing`."""
    parser.add_argument(
        "--threshold", type=between(0.05, 1), default=0.5, help="detection threshold (default: %(default)s)"
    )
    parser.add_argument(
        "--min-face", type=between(0, 10_000), default=0, metavar="PX", help="leave out smaller faces (default: 0)"
    )
    parser.add_argument(
        "--rate",
        type=between(0, 1000),
        default=USUAL_RATE,
        metavar="N",
        help="analyses a second of a clip, between which boxes move along; 0 for every frame (default: %(default)g)",
    )
    parser.add_argument(
        "--smoothing",
        type=between(0, 100),
        default=50,
        metavar="PERCENT",
        help="how steady a clip's answers are over time, 0 for every frame's own (default: %(default)s)",
    )


def between(low: float, high: float) -> Callable[[str], float]:
    """Returns a reader of numbers from `low` to `high`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not a number from {low:g} to {high:g}")
        return value

    return read


def printable(text: str) -> str:
    """Returns a line as a terminal may have it: a file's name may hold line breaks, and orders to the terminal."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda match: match[0].encode("unicode_escape").decode(), text)
