"""`faceinsight models list | fetch | verify | path | remove`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from faceinsight.errors import FaceInsightError, PackError


def add_models(commands: Any, common: argparse.ArgumentParser) -> None:
    """Adds the command.

    Args:
        commands: The subparsers of the command line.
        common: The options that every command has.
    """
    models = commands.add_parser("models", parents=[common], help="list, download, check and remove model packs")
    models.set_defaults(run=_list)
    verbs = models.add_subparsers(dest="verb")
    verbs.add_parser("list", parents=[common], help="list the packs (the default)")
    fetch = verbs.add_parser("fetch", parents=[common], help="download a pack, or go on with a download")
    fetch.add_argument("name", metavar="PACK", help="buffalo_s or buffalo_l")
    fetch.add_argument("--accept-licence", action="store_true", help="accept the licences without being asked")
    fetch.add_argument(
        "--from",
        dest="source",
        metavar="DIR",
        help="take the files from this folder (or address): model files, or the archives that they are published in",
    )
    fetch.set_defaults(run=_fetch)
    verify = verbs.add_parser("verify", parents=[common], help="hash every file of the packs")
    verify.add_argument("name", nargs="?", metavar="PACK", help="only this one, of which nothing may be missing")
    verify.set_defaults(run=_verify)
    path = verbs.add_parser("path", parents=[common], help="print where the files of a pack are")
    path.add_argument("name", nargs="?", metavar="PACK", help="without it: where packs are put")
    path.set_defaults(run=_path)
    remove = verbs.add_parser("remove", parents=[common], help="remove what was downloaded of a pack")
    remove.add_argument("name", metavar="PACK", help="a pack that was downloaded")
    remove.set_defaults(run=_remove)


def _list(args: argparse.Namespace) -> int:
    from faceinsight.packs import load_spec, pack_names
    from faceinsight.packs.store import inspect_pack

    for name in pack_names():
        try:
            spec, states = load_spec(name), inspect_pack(name)
        except PackError as error:
            print(f"{name}: unusable. {error}")
            continue
        print(f"{name}: {spec.title}")
        for state in states:
            where: object = state.path or ("not here" if not state.wrong else f"wrong: {state.wrong[0][0]}")
            print(f"  {state.stage:<11} {state.file.name:<26} {where}  [{state.file.licence}]")
        if any(state.path is None and state.file.url for state in states):
            print(f"  To get it: faceinsight models fetch {name}")
    return 0


def _fetch(args: argparse.Namespace) -> int:
    from faceinsight.packs.fetch import fetch_pack, missing_files
    from faceinsight.packs.transfer import Watcher

    missing = missing_files(args.name).values()
    if not missing:
        print("All files are here already.")
        return 0
    for licence in sorted({file.licence for file in missing}):
        print(f"Licence: {licence}")
    if not args.accept_licence:
        _ask(args.name)
    shown = _Line()
    try:
        fetched = fetch_pack(args.name, Watcher(shown.progress, shown.say), args.source)
    finally:
        shown.end()
    print("\n".join(map(str, fetched)) or "All files are here already.")
    return 0


def _ask(name: str) -> None:
    """Has the licence accepted on a terminal; raises FaceInsightError where it is not."""
    if sys.stdin.isatty() and sys.stderr.isatty():
        print(f"Do you accept this for the files of {name}? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
    raise FaceInsightError(
        f"The licences of {name} are not accepted, so nothing was downloaded: accept them with --accept-licence."
    )


class _Line:
    """The line of a terminal that shows how far a download is; where there is no terminal, only what delays it."""

    def __init__(self) -> None:
        self._open = False

    def progress(self, name: str, done: int, total: int | None) -> None:
        if sys.stderr.isatty():
            of = f" of {total / 1e6:.1f}" if total else ""
            print(f"\r{name} {done / 1e6:.1f}{of} MB\x1b[K", end="", file=sys.stderr, flush=True)
            self._open = True

    def say(self, sentence: str) -> None:
        self.end()
        print(sentence, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._open:
            print(file=sys.stderr)
        self._open = False


def _verify(args: argparse.Namespace) -> int:
    from faceinsight.packs import pack_names
    from faceinsight.packs.store import inspect_pack

    problems = 0
    for name in (args.name,) if args.name else pack_names():
        try:
            states = inspect_pack(name)
        except PackError as error:
            if args.name:
                raise
            print(f"{name}: {error}")
            problems += 1
            continue
        if not args.name and all(state.path is None and not state.wrong for state in states):
            continue  # nothing of it was ever fetched
        for state in states:
            for path, difference in state.wrong:
                print(f"{name}: {path} is wrong ({difference}): {_remedy(name, state)}.")
            if state.path is not None:
                print(
                    f"{name}: {state.path} is {'right' if _is_pinned(state) else 'there; its pack declares no hash'}."
                )
            elif not state.wrong:
                print(f"{name}: {state.file.name} is missing: {_remedy(name, state)}.")
            problems += bool(state.wrong) or state.path is None
    return 1 if problems else 0


def _is_pinned(state: Any) -> bool:
    return bool(state.file.sha256 or state.file.git_blob)


def _remedy(name: str, state: Any) -> str:
    """Returns what to do about a file that is missing or wrong."""
    if state.path is not None:
        return "it is not used, remove it"
    if state.file.url:
        return f"run `faceinsight models fetch {name}`"
    return "put the right one there" if state.wrong else "put it into the pack's folder"


def _path(args: argparse.Namespace) -> int:
    from faceinsight.packs import home, resolve

    if args.name is None:
        print(home())
        return 0
    resolved = resolve(args.name)
    for path in resolved.paths.values():
        print(path)
    if resolved.missing:
        raise PackError(f"Pack {resolved.spec.name} is not whole: {next(iter(resolved.missing.values()))}")
    return 0


def _remove(args: argparse.Namespace) -> int:
    from faceinsight.packs.store import remove_pack

    removed = remove_pack(args.name)
    for path in removed.gone:
        print(f"Removed {path}")
    for path, why in removed.kept:
        print(f"Left {path}: {why}.")
    if not removed.gone and not removed.kept:
        print(f"Nothing of {args.name} was downloaded.")
    return 0
