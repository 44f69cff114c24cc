"""Measures what a report costs: seconds and peak memory, for tables of a hundred thousand and of a million faces.

    python -m benchmarks.report

The faces are made up, two a photo, so no examples are cut out. Each report is made by a process of its own.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import keep, machine, run
from faceinsight import tables

EMOTIONS = ("Anger", "Happiness", "Neutral", "Surprise")
MADE = {"pack": "compact", "pack_hash": "00", "version": "0", "analysed_at": datetime(2026, 1, 1, tzinfo=UTC)}


def faces(count: int) -> Iterator[dict[str, Any]]:
    lot = np.random.default_rng(0)
    for number in range(count):
        shares = lot.dirichlet(np.ones(len(EMOTIONS)))
        yield {
            "file": f"/archive/{number // 2:08}.jpg",
            "kind": "photo",
            "width": 640,
            "height": 480,
            "face": 1 + number % 2,
            **dict(zip(("x1", "y1", "x2", "y2"), (10, 10, 80, 90), strict=True)),
            "det_score": 0.9,
            "age": float(lot.uniform(1, 90)),
            "gender": ("female", "male")[number % 3 % 2],
            "emotion": EMOTIONS[int(shares.argmax())],
            **{f"p_{name.lower()}": float(share) for name, share in zip(EMOTIONS, shares, strict=True)},
            **MADE,
        }


def files(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count // 2):
        row = {
            "file": f"/archive/{number:08}.jpg",
            "kind": "photo",
            "status": "ok",
            "faces": 2,
            "frames": 1,
            "took": 0.1,
        }
        yield row | MADE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--out", type=Path, help="also write the rows here")
    args = parser.parse_args()
    lines = [machine(), "", "| faces in the tables | seconds | peak MB |", "| --- | --- | --- |"]
    with tempfile.TemporaryDirectory() as name:
        paths = tables.TablePaths.of(Path(name) / "results.parquet")
        for count in args.rows:
            for path, schema, rows in (
                (paths.faces, tables.faces_schema(EMOTIONS), faces(count)),
                (paths.files, tables.files_schema(), files(count)),
            ):
                tables.write_table(path, schema, tables.batches(rows, schema), {})
            took = run(["faceinsight", "report", paths.faces, "--overwrite"])
            lines.append(f"| {count:,} | {took.wall:.1f} | {took.memory:.0f} |")
            print(lines[-1], flush=True)
    if args.out is not None:
        keep(args.out, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
