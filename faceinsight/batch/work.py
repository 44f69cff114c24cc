"""The work on one file, whoever runs it: a photo or a clip in, a record and an annotated copy out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faceinsight.analyzer import DET_THRESHOLD, FaceAnalyzer
from faceinsight.clips import ClipAnalysis, ClipOptions, iter_clip
from faceinsight.drawing import DrawOptions, caption, draw
from faceinsight.errors import FaceInsightError
from faceinsight.export import analysis_dict, result_head
from faceinsight.media.image import encode_image, load_image
from faceinsight.media.video import SUFFIXES as VIDEO_SUFFIXES
from faceinsight.records import Record
from faceinsight.writing import write_file


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How to analyse files.

    Attributes:
        det_threshold: Faces with a lower detection score, in [0, 1], are left out.
        min_face: Faces whose longest side is shorter, in pixels, are left out.
        rate: Analyses a second of a clip; None for every frame.
        out: The folder for annotated copies, faces.csv and faces.json; None for none.
        tables: Further tables to write, as of `write_records`.
        overwrite: Whether results that are there already may be replaced.
        draw: What to draw into annotated copies.
        smoothing: How steady a clip's answers are over time, from 0 (every frame's own) to 1.
    """

    det_threshold: float = DET_THRESHOLD
    min_face: float = 0.0
    rate: float | None = None
    out: Path | None = None
    tables: tuple[Path, ...] = ()
    overwrite: bool = False
    draw: DrawOptions = DrawOptions()
    smoothing: float = 0.5


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of a file.

    Attributes:
        record: Plain values for JSON.
        lines: The same as text for a person; none where it failed.
        error: Why it could not be analysed, or None.
    """

    record: Record
    lines: tuple[str, ...]
    error: FaceInsightError | None = None


def annotated_suffix(file: Path) -> str:
    """Returns how the name of a file's annotated copy ends."""
    return "-faces.mp4" if is_clip(file) else "-faces.jpg"


def is_clip(file: Path) -> bool:
    """Tells by its suffix whether a file is taken for a clip."""
    return file.suffix.lower() in VIDEO_SUFFIXES


def record_head(analyzer: FaceAnalyzer, file: Path, options: BatchOptions) -> Record:
    """Returns what the record of a file begins with."""
    pack = analyzer.pack.name, analyzer.pack_hash
    head = result_head(str(file), *pack, options.det_threshold, options.min_face)
    return head | {"kind": "clip" if is_clip(file) else "photo"}


def analyze_file(
    analyzer: FaceAnalyzer,
    file: Path,
    target: Path | None,
    options: BatchOptions,
    on_progress: Callable[[str, float], None],
) -> FileResult:
    """Analyses a photo or a clip.

    Args:
        analyzer: The models.
        file: The file.
        target: Its annotated copy; None for none.
        options: How to analyse it.
        on_progress: Called with a clip's name and how much of it is done, in [0, 1].

    Returns:
        What there is to tell of it, with its annotated copy written.

    Raises:
        MediaError: If it cannot be read, or its annotated copy not be written.
    """
    head = record_head(analyzer, file, options)
    if target is not None:
        head["annotated"] = target.name
    if is_clip(file):
        return _clip(analyzer, file, target, options, head, on_progress)
    return _photo(analyzer, file, target, options, head)


def _photo(analyzer: FaceAnalyzer, file: Path, target: Path | None, options: BatchOptions, head: Record) -> FileResult:
    loaded = load_image(file, name=str(file))
    analysis = analyzer.analyze(loaded.pixels, det_threshold=options.det_threshold, min_face=options.min_face)
    if target is not None:
        write_file(target, encode_image(draw(loaded.pixels, analysis.faces, options.draw)))
    lines = [f"{file}: {len(analysis.faces)} faces"]
    for number, face in enumerate(analysis.faces, start=1):
        box = ", ".join(f"{v:.0f}" for v in face.bbox)
        lines.append(f"  {' · '.join(caption(face, number))} · box {box}")
    if loaded.note:
        lines.append(f"  {loaded.note}")
    return FileResult({**head, "note": loaded.note, **analysis_dict(analysis)}, tuple(lines))


def _clip(
    analyzer: FaceAnalyzer,
    file: Path,
    target: Path | None,
    options: BatchOptions,
    head: Record,
    on_progress: Callable[[str, float], None],
) -> FileResult:
    clip_options = ClipOptions(
        rate=options.rate,
        det_threshold=options.det_threshold,
        min_face=options.min_face,
        draw=options.draw,
        smoothing=options.smoothing,
    )
    for step in iter_clip(analyzer, file, target, clip_options, name=str(file)):
        if isinstance(step, ClipAnalysis):
            clip = step
        else:
            on_progress(file.name, step.share)
    on_progress(file.name, 1.0)
    record = {**head, **clip.record()}
    people = len(record["people"])
    followed = "1 person" if people == 1 else f"{people} people"
    lines = [f"{file}: {followed}, {len(record['rows'])} faces in {len(clip.frames)} frames"]
    if clip.note:
        lines.append(f"  {clip.note}")
    return FileResult(record, tuple(lines))
