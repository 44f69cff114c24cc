"""The command line: `faceinsight app | analyze | batch | report | evaluate | models`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

from faceinsight import __version__
from faceinsight.commands.analysis import add_analysis, printable
from faceinsight.commands.batch import add_batch
from faceinsight.commands.models import add_models
from faceinsight.errors import FaceInsightError
from faceinsight.logs import set_up
from faceinsight.options import DEBUG, MODELS, PAGE, add_options, settle
from faceinsight.stopping import Terminated, exit_status, stoppable

_EPILOG = """exit status: 0 where all went well, 1 where something could not be done, 2 for a wrong command line,
130 after Ctrl+C and 143 after SIGTERM (what was finished is kept); the page ends with 0 after either"""


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="faceinsight",
        description="Where every face is, and its apparent age, gender and emotion.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"faceinsight {__version__}")
    parser.set_defaults(run=lambda args: _help(parser), options=(DEBUG,))
    commands = parser.add_subparsers(dest="command")
    common = argparse.ArgumentParser(add_help=False)
    add_options(common, (DEBUG,))
    models = argparse.ArgumentParser(add_help=False)
    add_options(models, MODELS)
    models.set_defaults(options=(DEBUG, *MODELS))

    app = commands.add_parser("app", parents=[common, models], help="serve the page")
    add_options(app, PAGE)
    app.set_defaults(run=_app, options=(DEBUG, *MODELS, *PAGE))

    analyze = commands.add_parser("analyze", parents=[common, models], help="analyse photos and clips")
    analyze.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a photo, a clip, or a folder of them")
    table = analyze.add_mutually_exclusive_group()
    table.add_argument("--json", action="store_true", help="print JSON")
    table.add_argument("--csv", action="store_true", help="print CSV")
    analyze.add_argument("--out", type=Path, metavar="DIR", help="write annotated files, faces.csv and faces.json")
    analyze.add_argument(
        "--table",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="write a table: CSV, JSON, JSON Lines or Parquet, by the ending (.csv, .json, .jsonl, .parquet); "
        "may be given several times",
    )
    analyze.add_argument("--overwrite", action="store_true", help="replace results that are there already")
    add_analysis(analyze)
    analyze.add_argument("--blur", action="store_true", help="blur faces in annotated files")
    analyze.set_defaults(run=_analyze)

    add_batch(commands, [common, models])

    report = commands.add_parser("report", parents=[common], help="make a page about the tables of many files")
    report.add_argument("table", type=Path, metavar="FILE", help="results.parquet, beside the tables that belong to it")
    report.add_argument("--out", type=Path, metavar="FILE", help="the page (default: the table's name with .html)")
    report.add_argument("--blur", action="store_true", help="blur the example faces")
    report.add_argument("--overwrite", action="store_true", help="replace a page that is there already")
    report.set_defaults(run=_report)

    evaluate = commands.add_parser("evaluate", parents=[common, models], help="measure a pack on a data set")
    kinds = ["fer2013", "ferplus", "rafdb", "utkface", "fairface", "fgnet", "detection"]
    evaluate.add_argument("kind", choices=kinds, help="which data set it is")
    evaluate.add_argument("path", type=Path, metavar="PATH", help="its folder or zip archive")
    evaluate.add_argument("--votes", type=Path, metavar="FILE", help="of ferplus: people's votes, ferplus.csv")
    evaluate.add_argument(
        "--split", help="of fer2013, ferplus, rafdb, fairface: which split (default: the public test, or val)"
    )
    evaluate.add_argument(
        "--fold",
        type=int,
        metavar="N",
        help="of the others: files whose name falls into fold 0 to 9 (of fgnet: the person's number)",
    )
    evaluate.add_argument("--limit", type=int, metavar="N", help="at most so many pictures, spread evenly")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON (-: print it, no tables)")
    evaluate.add_argument("--plots", type=Path, metavar="DIR", help="draw charts into this folder")
    evaluate.set_defaults(run=_evaluate)

    add_models(commands, common)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: The arguments; those of the process where None.

    Returns:
        The exit status: 0 for success, 1 where something could not be done, 130 and 143 where it was stopped.
    """
    args = build_parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name need be no text
    try:
        settle(args, args.options, os.environ)
    except FaceInsightError as error:
        print(f"faceinsight: {error}", file=sys.stderr)
        return 1
    set_up(getattr(args, "log_format", "text"), args.debug)
    # The page is stopped by these, and says itself how.
    stops = nullcontext() if args.run is _app else stoppable()
    try:
        with stops:
            status = int(args.run(args))
            sys.stdout.flush()  # here, where a reader that has gone is no error yet
            return status
    except KeyboardInterrupt as stop:
        # On a terminal, where "^C" or a progress stands, on a line of its own.
        start = "\n" if sys.stderr.isatty() else ""
        print(f"{start}faceinsight: stopped{str(stop) or '.'}", file=sys.stderr)
        return exit_status(signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does: no more can be said, and no error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except FaceInsightError as error:
        if args.debug:
            raise
        print(f"faceinsight: {printable(str(error))}", file=sys.stderr)
        return 1


def _help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return 0


def _app(args: argparse.Namespace) -> NoReturn:
    # Gradio takes seconds to import, and the other commands do without it.
    from faceinsight.ui import LaunchOptions, launch
    from faceinsight.ui.limits import Limits, frames_of

    chosen = {option.name: getattr(args, option.name) for option in (*MODELS, *PAGE) if option.name != "max_visitors"}
    limits = replace(Limits.of(os.environ), max_visitors=args.max_visitors)
    launch(LaunchOptions(limits=limits, frames=frames_of(os.environ), **chosen))
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that analyse a clip would be waited for, or be cut short within native code that then aborts.
    os._exit(0)


def _analyze(args: argparse.Namespace) -> int:
    from faceinsight.batch import BatchOptions, analyze_files, find_files
    from faceinsight.drawing import DrawOptions
    from faceinsight.errors import DiskFullError
    from faceinsight.export import to_csv
    from faceinsight.records import json_pieces, record_rows

    options = BatchOptions(
        det_threshold=args.threshold,
        min_face=args.min_face,
        rate=args.rate or None,
        out=args.out,
        tables=tuple(args.table),
        overwrite=args.overwrite,
        draw=DrawOptions(blur=args.blur),
        smoothing=args.smoothing / 100,
    )
    done = failed = 0

    def complain(error: FaceInsightError) -> None:
        nonlocal failed
        failed += 1
        print(f"faceinsight: {printable(str(error))}", file=sys.stderr)

    files = find_files(args.paths, complain, args.out)
    chosen = args.pack, args.models, args.provider
    stop: BaseException | None = None

    def records() -> Iterator[dict[str, Any]]:
        nonlocal done, stop
        try:
            with closing(analyze_files(files, *chosen, options, _show_progress)) as results:
                for result in results:
                    done += 1
                    if result.error is not None:
                        complain(result.error)
                    elif not (args.json or args.csv):
                        print(*map(printable, result.lines), sep="\n", flush=True)
                    yield result.record
        except (KeyboardInterrupt, DiskFullError) as error:
            # What was finished goes before the sentence about why there is no more of it.
            stop = error

    if args.json:
        sys.stdout.writelines(json_pieces(records()))
    elif args.csv:
        rows = [row for record in records() for row in record_rows(record)]
        sys.stdout.write(to_csv(rows, ("file", "face")))
    else:
        for _ in records():
            pass
    if isinstance(stop, KeyboardInterrupt):
        places = [str(place) for place in (args.out, *args.table) if place is not None]
        where = f", their results are in {' and '.join(places)}" if places and done else ""
        raise type(stop)(f": {done} of {len(files)} files are finished{where}.")
    if stop is not None:
        raise stop
    return 1 if failed else 0


def _report(args: argparse.Namespace) -> int:
    from faceinsight.report import write_report

    out = args.out or args.table.with_suffix(".html")
    figures = write_report(args.table, out, args.blur, args.overwrite)
    files = sum(figures.files.values())
    print(f"{out}: {figures.faces} faces of photos and {figures.people} people of clips in {files} files")
    return 0


def _show_progress(name: str, share: float) -> None:
    if sys.stderr.isatty():
        end = "\n" if share >= 1 else ""
        print(f"\r{name} {share:.0%}", end=end, file=sys.stderr, flush=True)


def _evaluate(args: argparse.Namespace) -> int:
    from faceinsight.analyzer import FaceAnalyzer
    from faceinsight.evaluation import evaluate
    from faceinsight.evaluation.plots import check_plots, write_plots
    from faceinsight.export import to_json
    from faceinsight.writing import clear_leftovers, write_file

    if args.json not in (None, Path("-")):
        clear_leftovers(args.json.parent)
    if args.plots is not None:
        check_plots()  # now, not after minutes of measuring
    report = evaluate(
        args.kind,
        args.path,
        FaceAnalyzer(args.pack, models=args.models, provider=args.provider),
        votes=args.votes,
        split=args.split,
        fold=args.fold,
        limit=args.limit,
        on_progress=lambda share: _show_progress(args.kind, share),
    )
    text = to_json(report.as_dict())
    if args.json == Path("-"):
        sys.stdout.write(text)
    else:
        print(report.as_text())
        if args.json is not None:
            write_file(args.json, text.encode())
    if args.plots is not None:
        write_plots(report, args.plots)
    return 0
