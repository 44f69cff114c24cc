"""Where model packs and their files lie on this machine, and whether they are the right ones."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from faceinsight.errors import ModelFileError, PackError
from faceinsight.packs.spec import ModelFile, PackSpec, parse_pack
from faceinsight.resources import asset

AUTO = "auto"
# The order in which "auto" tries the known packs: what needs no download, then the fastest.
KNOWN_PACKS = ("compact", "buffalo_s", "buffalo_l")
PACK_FILE = "pack.toml"


@dataclass(frozen=True, slots=True)
class ResolvedPack:
    """A declared pack and what of it is on this machine.

    Attributes:
        spec: The declaration.
        paths: Verified model file by stage.
        missing: By stage, one sentence that says what is not here and how to get it.
    """

    spec: PackSpec
    paths: dict[str, Path]
    missing: dict[str, str]


def home() -> Path:
    """Returns FaceInsight's own model folder: `FACEINSIGHT_HOME`, or `~/.faceinsight`."""
    configured = os.environ.get("FACEINSIGHT_HOME")
    return Path(configured).expanduser() if configured else Path.home() / ".faceinsight"


def bundled_models() -> Path:
    """Returns the folder of the packs that come with FaceInsight (it need not exist)."""
    return asset("models")


def pack_roots(models: str | Path | None = None) -> tuple[Path, ...]:
    """Returns the folders that hold packs as subfolders, the first to look in first."""
    explicit = () if models is None else (Path(models).expanduser(),)
    return (*explicit, home(), bundled_models())


def pack_names(models: str | Path | None = None) -> tuple[str, ...]:
    """Returns the names of all packs: the known ones, then the user's own, sorted."""
    own = {entry.parent.name for root in pack_roots(models) if root.is_dir() for entry in root.glob(f"*/{PACK_FILE}")}
    return (*KNOWN_PACKS, *sorted(own - set(KNOWN_PACKS)))


def load_spec(pack: str | Path, models: str | Path | None = None) -> PackSpec:
    """Reads the declaration of a pack.

    Args:
        pack: Name of a pack, or the path of a folder with a pack.toml.
        models: A folder to look in before all others.

    Returns:
        The declaration.

    Raises:
        PackError: If there is no such pack, or its declaration is wrong or unreadable.
    """
    name = str(pack)
    is_path = isinstance(pack, Path) or os.sep in name or name.startswith((".", "~"))
    folders = [Path(pack).expanduser()] if is_path else [r / name for r in pack_roots(models)]
    for folder in folders:
        try:
            text = (folder / PACK_FILE).read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
            raise PackError(
                f"The pack in {folder} cannot be read ({reason}): check its path and permissions."
            ) from error
        # Not resolved: a link to a pack bears the link's name.
        folder = Path(os.path.abspath(folder))
        return parse_pack(text, folder.name, str(folder / PACK_FILE), folder)
    if is_path:
        raise PackError(f"There is no {PACK_FILE} in {folders[0]}: give the folder of a pack.")
    if name not in KNOWN_PACKS:
        known = ", ".join(pack_names(models))
        raise PackError(f"There is no model pack called '{name}': use one of {known}, or a folder.")
    declared = resources.files("faceinsight.packs") / "catalog" / f"{name}.toml"
    return parse_pack(declared.read_text(encoding="utf-8"), name, f"the catalogue entry {name}")


def check_file(path: Path, file: ModelFile) -> str | None:
    """Compares a file with its declaration.

    Args:
        path: The file on disk.
        file: Its declaration.

    Returns:
        None where they agree, else what is different, to be put in brackets.

    Raises:
        OSError: If the file cannot be read.
    """
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        return f"{size} bytes instead of {file.bytes}"
    if file.sha256 is None and file.git_blob is None:
        return None
    if file.sha256 is not None:
        digest, wanted, kind = hashlib.sha256(), file.sha256, "sha256"
    else:
        assert file.git_blob is not None
        # Git names a file by the sha1 of this header and the content.
        digest, wanted, kind = hashlib.sha1(b"blob %d\0" % size), file.git_blob, "git blob id"
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    found = digest.hexdigest()
    return None if found == wanted else f"{kind} {found[:12]}... instead of {wanted[:12]}..."


def candidates(spec: PackSpec, file: ModelFile, models: str | Path | None) -> tuple[Path, ...]:
    """Returns every place where a file of a pack may lie, the first to look in first."""
    explicit = () if models is None else (Path(models).expanduser(),)
    own = () if spec.folder is None else (spec.folder,)
    folders = (
        *own,
        *explicit,
        *(root / spec.name for root in (*explicit, home())),
        Path.home() / ".insightface" / "models" / spec.name,
        Path.home() / ".hsemotion",
        bundled_models() / spec.name,
    )
    return tuple(folder / file.name for folder in folders)


def states_of(spec: PackSpec, models: str | Path | None) -> tuple[object, ...]:
    """Returns what the disk says of every file that may be a pack's: as long as it stays, so do the files."""
    found = []
    for file in spec.files.values():
        for path in candidates(spec, file, models):
            with suppress(OSError):
                state = path.stat()
                found.append((path, state.st_size, state.st_mtime_ns, state.st_ino))
    return tuple(found)


def _locate(spec: PackSpec, file: ModelFile, models: str | Path | None) -> Path | None:
    wrong: list[str] = []
    for path in candidates(spec, file, models):
        try:
            if not path.is_file():
                continue
            difference = check_file(path, file)
        except OSError as error:
            difference = error.strerror or "it cannot be read"
        if difference is None:
            return path
        wrong.append(f"{path} is not the file that pack {spec.name} declares ({difference})")
    if wrong:
        again = f"and run `faceinsight models fetch {spec.name}`" if file.url else "and replace it"
        raise ModelFileError(f"The model file {wrong[0]}: remove it {again}.")
    return None


def how_to_get(spec: PackSpec, file: ModelFile) -> str:
    """Returns the end of a sentence that says how a missing file is had."""
    if file.url:
        return f"run `faceinsight models fetch {spec.name}`"
    return f"put it into {spec.folder or home() / spec.name}"


def resolve(pack: str | Path = AUTO, models: str | Path | None = None) -> ResolvedPack:
    """Finds and verifies the files of a pack.

    Args:
        pack: Name of a pack, the path of a folder with a pack.toml, or "auto" for the first pack
            whose detector is here.
        models: A folder to look in before all others.

    Returns:
        The pack, with a verified path or a note for every declared stage.

    Raises:
        PackError: If there is no such pack, its declaration is wrong, or "auto" finds none.
        ModelFileError: If a file is there but not the declared one, or cannot be read.
    """
    if pack == AUTO:
        return _resolve_first(models)
    spec = load_spec(pack, models)
    paths: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for stage, file in spec.files.items():
        path = _locate(spec, file, models)
        if path is not None:
            paths[stage] = path
        else:
            size = f" ({file.bytes / 1e6:.1f} MB)" if file.bytes else ""
            missing[stage] = f"{file.name}{size} is not here: {how_to_get(spec, file)}."
    if spec.detector is None:
        missing["detector"] = f"pack {spec.name} holds no detector: choose another pack."
    return ResolvedPack(spec, paths, missing)


def pack_hash(resolved: ResolvedPack) -> str:
    """Returns what tells a pack from every other: the sha256 over those of its files that are here.

    Raises:
        ModelFileError: If a file cannot be read.
    """
    files = {stage: resolved.paths[stage] for stage in sorted(resolved.paths)}
    if resolved.spec.folder is not None:
        files[PACK_FILE] = resolved.spec.folder / PACK_FILE
    total = hashlib.sha256()
    for stage, path in files.items():
        try:
            with path.open("rb") as stream:
                total.update(f"{stage} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
        except OSError as error:
            raise ModelFileError(f"{path} cannot be read ({error.strerror}): check its permissions.") from error
    return total.hexdigest()


def _resolve_first(models: str | Path | None) -> ResolvedPack:
    for name in pack_names(models):
        resolved = resolve(name, models)
        if "detector" in resolved.paths:
            return resolved
    looked = ", ".join(str(p) for p in (*pack_roots(models), "~/.insightface/models", "~/.hsemotion"))
    raise PackError(
        f"No model pack is on this machine (looked in {looked}): run "
        "`faceinsight models fetch buffalo_s` (20 MB, for non-commercial research), or give the "
        "folder of your own pack with --pack."
    )
