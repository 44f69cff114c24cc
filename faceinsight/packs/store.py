"""FaceInsight's own model folder: what was fetched into it, by one process at a time, and how it is taken out again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceinsight.errors import PackError
from faceinsight.packs.locate import bundled_models, candidates, check_file, home, load_spec
from faceinsight.packs.spec import ModelFile, PackSpec
from faceinsight.writing import alone, clear_leftovers, make_folder, reason, write_error, write_file

# What was fetched into a pack's folder, by name with its sha256.
_RECEIPT = ".fetched.json"
_PART = re.compile(r"\.fetch-[0-9a-f]{16}-(.+)\.part")


@dataclass(frozen=True, slots=True)
class FileState:
    """What is on this machine of one file of a pack.

    Attributes:
        stage: The stage that it is of.
        file: Its declaration.
        path: Where the right file is, the first to be used; None where it is not here.
        wrong: Files of its name that are not the declared one: each with what is different.
    """

    stage: str
    file: ModelFile
    path: Path | None
    wrong: tuple[tuple[Path, str], ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """What became of the files of a pack.

    Attributes:
        gone: Those that were removed.
        kept: Those that others put where they are: each with a sentence about it.
    """

    gone: tuple[Path, ...]
    kept: tuple[tuple[Path, str], ...]


class LockedError(PackError):
    """Another process changes the files of a pack."""


def folder_of(spec: PackSpec) -> Path:
    """Returns the folder that a pack's files are fetched into."""
    return home() / spec.name


@contextmanager
def locked(spec: PackSpec) -> Iterator[None]:
    """Keeps all other processes from changing the files of a pack.

    Raises:
        LockedError: If another one does so now.
        MediaError: If the folder cannot be written to.
    """
    # Not in the pack's own folder, which may have to go.
    make_folder(home())
    busy = f"Another FaceInsight changes the files of pack {spec.name}: wait for it to end, and try again."
    with alone(home() / f".{spec.name}.lock", LockedError(busy)):
        yield


def inspect_pack(pack: str | Path, models: str | Path | None = None) -> tuple[FileState, ...]:
    """Reads and hashes every file of a pack, wherever it may lie.

    Args:
        pack: Name of a pack, or the path of its folder.
        models: A folder to look in before all others.

    Returns:
        The state of every declared file.

    Raises:
        PackError: If there is no such pack, or its declaration is wrong.
    """
    spec = load_spec(pack, models)
    states = []
    for stage, file in spec.files.items():
        right: Path | None = None
        wrong = []
        for path in candidates(spec, file, models):
            if (difference := _difference(path, file)) is None:
                right = right or path
            elif difference:
                wrong.append((path, difference))
        states.append(FileState(stage, file, right, tuple(dict(wrong).items())))
    return tuple(states)


def _difference(path: Path, file: ModelFile) -> str | None:
    """Returns None for the right file, "" for none at all, else what is wrong."""
    try:
        return check_file(path, file) if path.is_file() else ""
    except OSError as error:
        return reason(error)


def receipt_of(folder: Path) -> dict[str, str]:
    """Returns which files were fetched into a folder: by name with their sha256."""
    try:
        receipt: Any = json.loads((folder / _RECEIPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(receipt, dict):
        return {}
    return {name: digest for name, digest in receipt.items() if isinstance(digest, str)}


def note_fetched(folder: Path, name: str, content: Path) -> None:
    """Notes that a file is being fetched into a folder; to be called before it takes its name.

    Raises:
        MediaError: If that cannot be written.
    """
    _write_receipt(folder, receipt_of(folder) | {name: _sha256(content)})


def _write_receipt(folder: Path, receipt: dict[str, str]) -> None:
    write_file(folder / _RECEIPT, json.dumps(receipt, indent=1).encode())


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def part_path(target: Path, of: str) -> Path:
    """Returns where a download is written to until it is whole.

    Args:
        target: Where it goes then.
        of: What is downloaded; what is had of anything else is not to be gone on with.
    """
    return target.with_name(f".fetch-{hashlib.sha256(of.encode()).hexdigest()[:16]}-{target.name}.part")


def clear_parts(folder: Path, name: str | None = None, keep: Path | None = None) -> None:
    """Removes what downloads that broke off left in a folder.

    Args:
        folder: The folder.
        name: Only that of a file of this name.
        keep: What stays.
    """
    for part in folder.glob(".fetch-*.part"):
        found = _PART.fullmatch(part.name)
        if found and name in (None, found[1]) and part != keep:
            with suppress(OSError):
                part.unlink()


def remove_pack(pack: str | Path) -> Removed:
    """Removes what was fetched of a pack; what others put on this machine stays.

    Args:
        pack: Name of a pack, or the path of its folder.

    Returns:
        What was removed, and which files of the pack stay.

    Raises:
        PackError: If there is no such pack, or it comes with FaceInsight.
        LockedError: If another process fetches it now.
        MediaError: If a file cannot be removed.
    """
    spec = load_spec(pack)
    if spec.folder is not None and spec.folder.is_relative_to(Path(bundled_models()).absolute()):
        raise PackError(f"Pack {spec.name} comes with FaceInsight: there is nothing to remove.")
    folder = folder_of(spec)
    gone: list[Path] = []
    kept: list[tuple[Path, str]] = []
    with locked(spec):
        receipt = receipt_of(folder)
        for name, digest in list(receipt.items()):
            path = folder / name
            try:
                inside = path.resolve().is_relative_to(folder.resolve()) and not path.is_symlink()
                if inside and path.is_file():
                    if _sha256(path) != digest:
                        kept.append((path, "it was changed since it was fetched"))
                        continue
                    path.unlink()
                    gone.append(path)
            except OSError as error:
                raise write_error(error, str(path)) from error
            del receipt[name]
        _clear(folder, receipt)
    changed = {path for path, _ in kept}
    states = inspect_pack(pack)
    others = [state.path for state in states if state.path] + [path for state in states for path, _ in state.wrong]
    kept += [(path, "FaceInsight did not put it there") for path in others if path not in changed]
    return Removed(tuple(gone), tuple(kept))


def _clear(folder: Path, receipt: dict[str, str]) -> None:
    """Removes what is only there for files that have gone, and the folders that are empty then."""
    if not folder.is_dir():
        return
    for inner in [folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())]:
        clear_leftovers(inner)
        clear_parts(inner)
    if receipt:
        _write_receipt(folder, receipt)
    else:
        (folder / _RECEIPT).unlink(missing_ok=True)
    for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        with suppress(OSError):
            inner.rmdir()
    with suppress(OSError):
        folder.rmdir()
