"""Many photos and clips one after another: one table, annotated copies, no file lost to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceinsight.analyzer import DET_THRESHOLD, FaceAnalyzer
from faceinsight.clips import ClipAnalysis, ClipOptions, iter_clip
from faceinsight.drawing import DrawOptions, caption, draw
from faceinsight.errors import FaceInsightError
from faceinsight.export import Row, analysis_dict, csv_bytes, rows_of, to_json
from faceinsight.media.image import encode_image, load_image
from faceinsight.packs import AUTO
from faceinsight.writing import make_folder, write_file

VIDEO_SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ts", ".3gp", ".ogv"))


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How to analyse files.

    Attributes:
        det_threshold: Faces with a lower detection score, in [0, 1], are left out.
        min_face: Faces whose longest side is shorter, in pixels, are left out.
        rate: Analyses a second of a clip; None for every frame.
        out: The folder for annotated copies, faces.csv and faces.json; None for none.
        draw: What to draw into annotated copies.
        smoothing: How steady a clip's answers are over time, from 0 (every frame's own) to 1.
    """

    det_threshold: float = DET_THRESHOLD
    min_face: float = 0.0
    rate: float | None = None
    out: Path | None = None
    draw: DrawOptions = DrawOptions()
    smoothing: float = 0.5


@dataclass(slots=True)
class BatchResult:
    """What became of the files.

    Attributes:
        records: One object a file, for JSON.
        rows: One row a face (and analysed frame of a clip), for CSV.
        lines: The same as text for a person.
        failed: How many files could not be analysed.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    failed: int = 0


def analyze_files(
    files: Sequence[Path],
    pack: str | Path = AUTO,
    models: str | Path | None = None,
    options: BatchOptions = BatchOptions(),
    *,
    on_error: Callable[[FaceInsightError], None] = lambda error: None,
    on_progress: Callable[[str, float], None] = lambda name, share: None,
) -> BatchResult:
    """Analyses photos and clips, one after another.

    Args:
        files: The files; a suffix known for videos makes a clip.
        pack: Name of a pack, a folder with a pack.toml, or "auto".
        models: A folder to look for model files in before all others.
        options: How to analyse them, and where to write.
        on_error: Told of every file that cannot be analysed; the others are, all the same.
        on_progress: Called with a clip's name and how much of it is done, in [0, 1].

    Returns:
        The results in the order of the files.

    Raises:
        PackError: If the pack cannot be used.
        MediaError: If the output folder cannot be written.
    """
    analyzer = FaceAnalyzer(pack, models=models)
    if options.out is not None:
        make_folder(options.out)
    result = BatchResult()
    taken: set[str] = set()
    for file in files:
        target = None if options.out is None else options.out / _free_stem(file, taken)
        try:
            if file.suffix.lower() in VIDEO_SUFFIXES:
                _clip(analyzer, file, target, options, result, on_progress)
            else:
                _photo(analyzer, file, target, options, result)
        except FaceInsightError as error:
            result.failed += 1
            on_error(error)
    if options.out is not None:
        write_file(options.out / "faces.csv", csv_bytes(result.rows, ("file", "face")))
        write_file(options.out / "faces.json", to_json(result.records).encode())
    return result


def _photo(
    analyzer: FaceAnalyzer,
    file: Path,
    target: Path | None,
    options: BatchOptions,
    result: BatchResult,
) -> None:
    loaded = load_image(file)
    analysis = analyzer.analyze(loaded.pixels, det_threshold=options.det_threshold, min_face=options.min_face)
    if target is not None:
        picture = draw(loaded.pixels, analysis.faces, options.draw)
        write_file(target.with_name(f"{target.name}-faces.jpg"), encode_image(picture))
    result.records.append({"file": str(file), "note": loaded.note, **analysis_dict(analysis)})
    result.rows += rows_of(analysis, file=str(file))
    result.lines.append(f"{file}: {len(analysis.faces)} faces")
    for number, face in enumerate(analysis.faces, start=1):
        box = ", ".join(f"{v:.0f}" for v in face.bbox)
        result.lines.append(f"  {' · '.join(caption(face, number))} · box {box}")
    if loaded.note:
        result.lines.append(f"  {loaded.note}")


def _clip(
    analyzer: FaceAnalyzer,
    file: Path,
    target: Path | None,
    options: BatchOptions,
    result: BatchResult,
    on_progress: Callable[[str, float], None],
) -> None:
    out = None if target is None else target.with_name(f"{target.name}-faces.mp4")
    clip_options = ClipOptions(
        rate=options.rate,
        det_threshold=options.det_threshold,
        min_face=options.min_face,
        draw=options.draw,
        smoothing=options.smoothing,
    )
    for step in iter_clip(analyzer, file, out, clip_options):
        if isinstance(step, ClipAnalysis):
            clip = step
        else:
            on_progress(file.name, step.share)
    on_progress(file.name, 1.0)
    result.records.append({"file": str(file), **clip.as_dict()})
    rows = clip.rows(file=str(file))
    result.rows += rows
    people = len(clip.people())
    followed = "1 person" if people == 1 else f"{people} people"
    result.lines.append(f"{file}: {followed}, {len(rows)} faces in {len(clip.frames)} frames")
    if clip.note:
        result.lines.append(f"  {clip.note}")


def _free_stem(file: Path, taken: set[str]) -> str:
    """Returns a name that no earlier file of the batch has: same names come in many folders."""
    stem, number = file.stem, 2
    while stem in taken:
        stem = f"{file.stem}-{number}"
        number += 1
    taken.add(stem)
    return stem
