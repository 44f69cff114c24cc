"""What an archive's run is: the settings that its rows share, and its files in shards. Whoever works gets these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faceinsight.analyzer import DET_THRESHOLD
from faceinsight.batch.sources import Source
from faceinsight.packs import AUTO, pack_hash, resolve
from faceinsight.tables import KINDS

# Some seconds of work: what is under way is lost when a machine dies.
SHARD_FILES = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """What all rows of a table were made with.

    Attributes:
        pack: Name of the model pack.
        pack_hash: As `pack_hash` of packs.
        emotions: Labels of its emotion model.
        det_threshold: Faces with a lower detection score, in [0, 1], are left out.
        min_face: Faces whose longest side is shorter, in pixels, are left out.
        rate: Analyses a second of a clip; None for every frame.
        smoothing: How steady a clip's answers are over time, from 0 (every frame's own) to 1.
    """

    pack: str
    pack_hash: str
    emotions: tuple[str, ...]
    det_threshold: float = DET_THRESHOLD
    min_face: float = 0.0
    rate: float | None = None
    smoothing: float = 0.5

    @classmethod
    def of(cls, pack: str | Path = AUTO, models: str | Path | None = None, **others: Any) -> Settings:
        """Returns the settings with a pack that is on this machine; raises PackError where it cannot be used."""
        resolved = resolve(pack, models)
        emotion = dict(resolved.spec.face_models).get("emotion") if "emotion" in resolved.paths else None
        return cls(resolved.spec.name, pack_hash(resolved), emotion.labels if emotion else (), **others)

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self) | {"emotions": list(self.emotions)}

    def difference(self, earlier: Mapping[str, Any]) -> str | None:
        """Returns in a few words what is different in settings read back from JSON; None where all is the same."""
        for name, value in self.as_dict().items():
            if name in earlier and earlier[name] == value:
                continue
            if name == "pack_hash":
                return "other files of the pack"
            return f"{name} {earlier.get(name)!r} instead of {value!r}"
        return None


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker has to know.

    Attributes:
        settings: What to make rows with.
        pack: As of `resolve`: the same pack has to be on the worker's machine.
        models: As of `resolve`.
        provider: What runs the models, as of `FaceAnalyzer`.
        threads: Threads within one operator of a model.
        out: The table of faces, a path or a URL.
        parts: Name of the folder beside it that finished shards are written into.
    """

    settings: Settings
    pack: str
    models: str | None
    provider: str
    threads: int
    out: str
    parts: str


@dataclass(frozen=True, slots=True)
class Shard:
    """Files that are worked on together.

    Attributes:
        name: What its part is called.
        sources: The files.
    """

    name: str
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """What a finished shard adds up to.

    Attributes:
        files: How many files are finished.
        errors: How many of them could not be analysed.
        faces: How many rows of faces there are.
    """

    files: int = 0
    errors: int = 0
    faces: int = 0

    def __add__(self, other: Finished) -> Finished:
        return Finished(self.files + other.files, self.errors + other.errors, self.faces + other.faces)


def shards_of(sources: Sequence[Source], run: str, workers: int) -> Iterator[Shard]:
    """Yields the shards of a run: clips alone, the largest first, then photos in their order.

    Towards the end shards become smaller, so that all workers end at about the same time: each has half of a worker's
    part of what is left.

    Source: Hummel, Schonberg and Flynn, "Factoring", Communications of the ACM 35 (8), 1992; shard by shard.

    Args:
        sources: The files.
        run: The run's name, which its shards' names begin with.
        workers: How many work at once.
    """
    clips = sorted((s for s in sources if s.kind == KINDS[1]), key=lambda s: -(s.bytes or 0))
    photos = [s for s in sources if s.kind == KINDS[0]]
    groups: list[tuple[Source, ...]] = [(clip,) for clip in clips]
    at = 0
    while at < len(photos):
        size = min(SHARD_FILES, max(1, (len(photos) - at) // (2 * workers)))
        groups.append(tuple(photos[at : at + size]))
        at += size
    for number, group in enumerate(groups):
        yield Shard(f"{run}-{number:06}", group)
