"""The pipeline for a video: decode, analyse, follow, draw, encode, one frame in memory at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faceinsight.analyzer import DET_THRESHOLD, FaceAnalyzer
from faceinsight.drawing import DrawOptions, draw
from faceinsight.errors import DamagedMediaError, MediaError
from faceinsight.export import Row, rows_of
from faceinsight.label_layout import LabelLayout
from faceinsight.media.reader import Reader
from faceinsight.media.video import VideoFrame, VideoInfo, VideoWriter
from faceinsight.people import Person, people_of
from faceinsight.portraits import Portraits
from faceinsight.results import FrameAnalysis
from faceinsight.stream import FaceStream


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """Which part of a video to analyse, and how.

    Attributes:
        start: Seconds from the beginning at which to begin.
        end: Seconds from the beginning at which to stop; None for the end.
        rate: Analyses a second; None for every frame. Frames between two analyses keep the labels
            of the earlier one.
        det_threshold: New faces with a lower detection score, in [0, 1], are left out; those that are
            followed go on with less.
        min_face: Faces whose longest side is shorter, in pixels, are left out.
        draw: What to draw into the annotated video.
        smoothing: How steady the answers are over time, from 0 (every frame's own) to 1.
        max_faces: After so many faces, summed over the frames, the analysis ends with a note; None for no end.
    """

    start: float = 0.0
    end: float | None = None
    rate: float | None = None
    det_threshold: float = DET_THRESHOLD
    min_face: float = 0.0
    draw: DrawOptions = DrawOptions()
    smoothing: float = 0.5
    max_faces: int | None = None


@dataclass(frozen=True, slots=True)
class ClipProgress:
    """How far a running analysis is.

    Attributes:
        share: How much of the video is done, in [0, 1].
        seconds_left: Estimated seconds until the end.
        preview: The last annotated frame, (H, W, 3) uint8 RGB.
    """

    share: float
    seconds_left: float
    preview: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ClipAnalysis:
    """What a video holds.

    Attributes:
        info: Size, rate and length of the video.
        frames: (seconds from the beginning, analysis) of every analysed frame.
        note: One sentence about what could not be read, or None.
        portraits: By `track_id` the best picture of everybody, (h, w, 3) uint8 RGB, at most 160 pixels a side.
    """

    info: VideoInfo
    frames: tuple[tuple[float, FrameAnalysis], ...]
    note: str | None = None
    portraits: Mapping[int, npt.NDArray[np.uint8]] = field(default_factory=dict, compare=False, repr=False)

    def people(self) -> tuple[Person, ...]:
        """Returns everybody who was followed, by number."""
        return people_of(self.frames)

    def rows(self, **columns: Any) -> list[Row]:
        """Returns one row a face and analysed frame, led by `columns` and `time` in seconds."""
        return [row for time, analysis in self.frames for row in rows_of(analysis, **columns, time=round(time, 3))]

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON: the video, the pack, `note`, `frames`, `people` and `rows`."""
        first = self.frames[0][1]
        return {
            "width": self.info.width,
            "height": self.info.height,
            "fps": round(self.info.fps, 3),
            "duration": round(self.info.duration, 3),
            "pack": first.pack,
            "stages": list(first.stages),
            "missing": dict(first.missing),
            "note": self.note,
            "frames": len(self.frames),
            "people": [person.as_dict() for person in self.people()],
            "rows": self.rows(),
        }


def _check(options: ClipOptions, info: VideoInfo, label: str) -> None:
    if options.end is not None and options.end <= options.start:
        raise MediaError(
            f"The range ends at {options.end:g} s, not after its start at {options.start:g} s: correct it."
        )
    if options.start < 0 or (info.duration and options.start >= info.duration):
        raise MediaError(
            f"{label} lasts {info.duration:.1f} s, and the range starts at {options.start:g} s: "
            "choose an earlier start."
        )
    if options.rate is not None and options.rate <= 0:
        raise MediaError(f"The analysis rate is {options.rate:g}: give a number above zero.")


def _share(frame: VideoFrame, options: ClipOptions, info: VideoInfo) -> float:
    end = info.duration if options.end is None else min(options.end, info.duration or options.end)
    length = end - options.start
    return min((frame.time - options.start) / length, 1.0) if length > 0 else 0.0


def iter_clip(
    analyzer: FaceAnalyzer,
    path: str | Path,
    out: str | Path | None = None,
    options: ClipOptions = ClipOptions(),
    name: str | None = None,
    reader: Reader = Reader(),
    known: ClipAnalysis | None = None,
) -> Iterator[ClipProgress | ClipAnalysis]:
    """Analyses a video step by step, and writes it annotated where asked to.

    Closing the iterator before its end cancels the analysis; nothing is left at `out` then.

    Args:
        analyzer: The models.
        path: The video file.
        out: The MP4 file to write; None for none.
        options: Which part, how often, what to draw.
        name: What to call the file in messages; its path where None.
        reader: Who reads the file.
        known: The result of an earlier call for the same part of the same video: it is only drawn anew.

    Yields:
        A ClipProgress after every frame, then the ClipAnalysis.

    Raises:
        MediaError: If the video cannot be read at all, the range is wrong, or `out` cannot be
            written. A video that breaks off is analysed as far as it goes, with a note.
    """
    path = Path(path)
    label = name or str(path)
    info = reader.probe(path, label)
    _check(options, info, label)
    analyses: list[tuple[float, FrameAnalysis]] = []
    portraits = Portraits()
    notes = [info.note] if info.note else []
    broken, faces = False, 0
    last = options.start
    began = time.monotonic()
    layout = LabelLayout()
    frames = reader.frames(path, options.start, options.end, label)
    sound = reader.sound(path, options.start)
    with (
        closing(frames),
        closing(sound),
        VideoWriter(out, info.fps, sound) if out else nullcontext() as writer,
    ):
        try:
            steps = _analyses(analyzer, frames, options, info.fps) if known is None else _known(frames, known)
            for frame, analysis, fresh in steps:
                last = frame.time
                if fresh:
                    analyses.append((frame.time, analysis))
                    portraits.add(frame.pixels, analysis)
                    faces += len(analysis.faces)
                    if options.max_faces is not None and faces > options.max_faces:
                        raise DamagedMediaError(
                            f"{label} was analysed up to {last:.1f} seconds, where the limit of {options.max_faces} "
                            "faces is: choose a later start for the rest."
                        )
                drawn = draw(frame.pixels, analysis.faces, options.draw, layout=layout)
                if writer is not None:
                    writer.write(drawn, frame.time - options.start)
                share = _share(frame, options, info)
                left = (time.monotonic() - began) * (1 - share) / max(share, 1e-3)
                yield ClipProgress(share, left, drawn)
        except DamagedMediaError as error:
            if not analyses:
                raise
            broken = True
            notes.append(str(error))
        if not analyses:
            raise MediaError(f"{label} holds no frame in the chosen range: choose another range.")
    # A demuxer that runs out of data ends quietly: compare with what the file promised.
    promised = min(options.end or info.duration, info.duration)
    if not broken and last < promised - max(1.0, 0.05 * promised):
        notes.append(f"{label} is cut short: it ends after {last:.1f} of {promised:.1f} seconds.")
    yield known or ClipAnalysis(info, tuple(analyses), " ".join(notes) or None, portraits.pictures())


def analyze_clip(
    analyzer: FaceAnalyzer,
    path: str | Path,
    out: str | Path | None = None,
    options: ClipOptions = ClipOptions(),
    name: str | None = None,
    reader: Reader = Reader(),
) -> ClipAnalysis:
    """Does what `iter_clip` does, and returns its result alone."""
    for step in iter_clip(analyzer, path, out, options, name, reader):
        if isinstance(step, ClipAnalysis):
            return step
    raise AssertionError("iter_clip ends with a result")


def _analyses(
    analyzer: FaceAnalyzer, frames: Iterable[VideoFrame], options: ClipOptions, fps: float
) -> Iterator[tuple[VideoFrame, FrameAnalysis, bool]]:
    """Yields every frame with the latest analysis, and whether that is the frame's own."""
    # A recording can wait: every analysed frame is looked at as a whole.
    stream = FaceStream(
        analyzer,
        smoothing=options.smoothing,
        det_threshold=options.det_threshold,
        min_face=options.min_face,
        budget_ms=None,
    )
    latest: FrameAnalysis | None = None
    due = options.start
    for frame in frames:
        # Half a frame early is nearer to the wanted time than half a frame late.
        if latest is not None and options.rate is not None and frame.time < due - 0.5 / fps:
            yield frame, latest, False
            continue
        latest = stream.process(frame.pixels, frame.time)
        if options.rate is not None:
            due = max(due, frame.time - 1 / options.rate) + 1 / options.rate
        yield frame, latest, True


def _known(frames: Iterable[VideoFrame], known: ClipAnalysis) -> Iterator[tuple[VideoFrame, FrameAnalysis, bool]]:
    """Yields what `_analyses` did, out of what it found then."""
    coming = iter(known.frames)
    latest = known.frames[0][1]
    upcoming = next(coming, None)
    for frame in frames:
        fresh = False
        while upcoming is not None and upcoming[0] <= frame.time:
            latest, fresh = upcoming[1], True
            upcoming = next(coming, None)
        yield frame, latest, fresh
