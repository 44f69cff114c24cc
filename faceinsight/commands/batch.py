"""`faceinsight batch`: an archive of photos and clips into one Parquet table."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from faceinsight.commands.analysis import add_analysis, printable
from faceinsight.errors import FaceInsightError

if TYPE_CHECKING:
    from faceinsight.batch.archive import Engine, Progress

_EPILOG = """A run that ends early, however it ends, is gone on with by the same command: what was finished is in
NAME.parquet.parts. Files that are in the table already are analysed again only where they have changed."""
# Where nobody looks at a terminal, a line now and then.
_SAY_EVERY_S = 60.0
_MOST_JOBS = 1024


def add_batch(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Adds the command.

    Args:
        commands: The subparsers of the command line.
        parents: The options that it has in common with others.
    """
    batch = commands.add_parser(
        "batch", parents=parents, help="analyse an archive of photos and clips into Parquet tables", epilog=_EPILOG
    )
    batch.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="photos, clips, folders, patterns (photos/**/*.jpg), URLs (http, https, s3, gs, abfs), or @FILE: a list "
        "of them, one a line (@- for standard input)",
    )
    batch.add_argument(
        "--out", required=True, metavar="NAME.parquet", help="the table of faces, a path or a URL in object storage"
    )
    batch.add_argument("--jobs", type=_jobs, metavar="N", help="how many work at once (default: as many as cores)")
    batch.add_argument(
        "--engine", choices=("processes", "ray"), default="processes", help="who works (default: %(default)s)"
    )
    batch.add_argument("--ray-address", metavar="ADDRESS", help="of a Ray cluster that runs, or auto")
    batch.add_argument("--retry", action="store_true", help="analyse again what could not be")
    batch.add_argument("--overwrite", action="store_true", help="begin anew, and replace what is there")
    add_analysis(batch)
    batch.set_defaults(run=_batch)


def _jobs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_JOBS:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 to {_MOST_JOBS}")
    return int(text)


def _engine(args: argparse.Namespace) -> tuple[Engine, int]:
    """Returns who works, and about how many at once."""
    from faceinsight.cpus import usable_cpus

    count = args.jobs or usable_cpus()
    if args.engine == "ray" or args.ray_address is not None:
        from faceinsight.batch.cluster import RayCluster

        own = args.jobs if args.ray_address is not None else count
        return RayCluster(own, args.ray_address), count
    from faceinsight.batch.pool import ProcessPool

    return ProcessPool(count), count


def _batch(args: argparse.Namespace) -> int:
    from faceinsight.batch.archive import analyze_archive

    problems = 0

    def complain(error: FaceInsightError) -> None:
        nonlocal problems
        problems += 1
        print(f"faceinsight: {printable(str(error))}", file=sys.stderr)

    engine, workers = _engine(args)
    shown = _Shown()
    steps = analyze_archive(
        args.inputs,
        args.out,
        engine,
        workers,
        args.pack,
        args.models,
        args.provider,
        overwrite=args.overwrite,
        retry=args.retry,
        on_error=complain,
        det_threshold=args.threshold,
        min_face=args.min_face,
        rate=args.rate or None,
        smoothing=args.smoothing / 100,
    )
    try:
        with closing(steps):
            for step in steps:
                shown.show(step)
    except KeyboardInterrupt as stop:
        raise type(stop)(shown.stopped()) from stop
    finally:
        shown.close()
    last = shown.last
    if last is None or not last.total:  # of that was told already, and no table is written
        return 1
    known = f", {last.known} were done before" if last.known else ""
    print(f"{last.done.files} files analysed{known}: {last.done.faces} faces.")
    failed = last.failed + last.done.errors
    if failed:
        print(f"{failed} files could not be analysed: see {args.out.removesuffix('.parquet')}-errors.parquet.")
    print(args.out)
    return 1 if failed or problems else 0


class _Shown:
    """Shows how far a run is: a bar on a terminal, elsewhere a line now and then."""

    def __init__(self) -> None:
        self.last: Progress | None = None
        self._bar: Any = None
        self._said = time.monotonic()

    def show(self, step: Progress) -> None:
        from tqdm import tqdm

        self.last = step
        if self._bar is None:
            quiet = not sys.stderr.isatty()
            self._bar = tqdm(total=step.total, initial=step.known, unit=" files", disable=quiet, dynamic_ncols=True)
            self._began = time.monotonic()
        if self._bar.disable:
            self._say(step)
        else:
            if step.done.errors:
                self._bar.set_postfix_str(f"{step.done.errors} errors", refresh=False)
            self._bar.update(step.known + step.done.files - self._bar.n)

    def _say(self, step: Progress) -> None:
        from tqdm import tqdm

        now = time.monotonic()
        if now < self._said + _SAY_EVERY_S or not step.done.files:
            return
        self._said = now
        rate = step.done.files / (now - self._began)
        finished = step.known + step.done.files
        left = tqdm.format_interval((step.total - finished) / rate)
        print(f"{finished} of {step.total} files, {rate:.1f} a second, {left} left", file=sys.stderr, flush=True)

    def stopped(self) -> str:
        """Returns how a sentence about a run that was stopped goes on."""
        if self.last is None:
            return "."
        finished = self.last.known + self.last.done.files
        return f": {finished} of {self.last.total} files are finished; the same command goes on from there."

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
