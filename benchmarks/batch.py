"""Measures `faceinsight batch`: processes and Ray against a plain loop over `FaceAnalyzer.analyze`.

    python -m benchmarks.batch

The loop is what a user would write: one analyzer with its default threads, one photo after another, by its path. All
look at the same photos, views of the photos that dependencies bring: small ones, as the web has them, and as a phone
takes them. Beside them stand loops in processes of their own, one thread and a part of the photos each: what the cores
can give. The rates count from when the models are loaded and the first photos (of a batch: a fifth) are done; the whole
time is from the start to the finished tables.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import keep, machine
from faceinsight import FaceAnalyzer
from faceinsight.batch.archive import Engine, analyze_archive
from faceinsight.batch.cluster import RayCluster
from faceinsight.batch.pool import ProcessPool
from faceinsight.media.image import encode_image
from tests.material import HOPPER, OTHER_THREE, THREE, Camera

VIEWS = (Camera("t1.jpg", 640, 440, 1280), THREE, HOPPER, OTHER_THREE)
# Of the large ones, a part as many.
SIZES = {"640x480": (640, 480), "1600x1200": (1600, 1200), "4000x3000": (4000, 3000)}
PARTS = {"640x480": 1, "1600x1200": 2, "4000x3000": 6}
# What must be reached, and what is aimed at.
BARS = {"processes": (1.6, 1.9), "ray": (0.8, 1.0)}


@dataclass(frozen=True)
class Measured:
    """What a run took: photos a second once it is under way, and the seconds of all of it."""

    rate: float
    seconds: float


def write_photos(folder: Path, size: tuple[int, int], count: int) -> list[Path]:
    """Writes views of photos, each a little different."""
    paths = [folder / f"{number:04}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(encode_image(VIEWS[number % len(VIEWS)].moved(number / 7).frame(size)))
    return paths


def loop(paths: list[Path], threads: int | None = None) -> Measured:
    """Runs the plain loop."""
    began = time.perf_counter()
    analyzer = FaceAnalyzer(threads=threads)
    analyzer.analyze(paths[0])
    ready = time.perf_counter()
    for path in paths[1:]:
        analyzer.analyze(path)
    ended = time.perf_counter()
    return Measured((len(paths) - 1) / (ended - ready), ended - began)


def loops(paths: list[Path], jobs: int) -> Measured:
    """Runs loops side by side."""
    began = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        found = pool.starmap(loop, [(paths[n::jobs], 1) for n in range(jobs)], chunksize=1)
    return Measured(sum(one.rate for one in found), time.perf_counter() - began)


def archive(paths: list[Path], engine: Engine, jobs: int) -> Measured:
    """Runs a batch."""
    began = time.perf_counter()
    first: tuple[float, int] | None = None
    with tempfile.TemporaryDirectory() as out:
        steps = analyze_archive([str(paths[0].parent)], f"{out}/r.parquet", engine, jobs)
        with closing(steps):
            for step in steps:
                if first is None and step.done.files >= len(paths) // 5:
                    first = time.perf_counter(), step.done.files
                last, at = step, time.perf_counter()
    assert last.done.errors == 0
    assert first is not None
    return Measured((last.done.files - first[1]) / (at - first[0]), time.perf_counter() - began)


def main() -> None:
    """Prints the rows, and keeps them where it is told to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--count", type=int, default=1200, help="how many small photos; of larger ones a half and a sixth"
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--size", choices=SIZES, action="append", help="only photos of this size")
    parser.add_argument("--out", type=Path, help="write the rows to this file too")
    args = parser.parse_args()
    runs: dict[str, Callable[[list[Path]], Measured]] = {
        "loop over FaceAnalyzer.analyze": loop,
        f"{args.jobs} loops side by side": lambda paths: loops(paths, args.jobs),
        f"batch --jobs {args.jobs}": lambda paths: archive(paths, ProcessPool(args.jobs), args.jobs),
    }
    if importlib.util.find_spec("ray"):
        runs["batch --engine ray"] = lambda paths: archive(paths, RayCluster(args.jobs), args.jobs)
    lines = [machine(), ""]
    for name in args.size or SIZES:
        count = args.count // PARTS[name]
        lines += [f"{count} photos of {name}, 1 to 6 faces each:", "", "| run | photos a second | all of it, s |"]
        lines.append("| --- | --- | --- |")
        with tempfile.TemporaryDirectory() as folder:
            paths = write_photos(Path(folder), SIZES[name], count)
            found = {run: measure(paths) for run, measure in runs.items()}
        lines += [f"| {run} | {one.rate:.1f} | {one.seconds:.1f} |" for run, one in found.items()]
        rates = [one.rate for one in found.values()]
        lines += ["", f"batch against the loop: {rates[2] / rates[0]:.2f}x (at least {BARS['processes'][0]}x)"]
        lines.append(f"batch against loops side by side: {rates[2] / rates[1]:.2f}x")
        if len(rates) > 3:
            lines.append(f"Ray against processes: {rates[3] / rates[2]:.2f}x (at least {BARS['ray'][0]}x)")
        lines.append("")
        print("\n".join(lines[-12:]), flush=True)
    if args.out:
        keep(args.out, "\n".join(lines))


if __name__ == "__main__":
    main()
