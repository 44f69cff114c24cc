"""The pipeline for a video: decode, analyse, follow, draw, encode, beside each other and a few frames at a time."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faceinsight.ahead import ahead
from faceinsight.analyses import Analyses, Rows
from faceinsight.analyzer import DET_THRESHOLD, FaceAnalyzer
from faceinsight.between import faces_between
from faceinsight.drawing import DrawOptions, draw_into
from faceinsight.errors import DamagedMediaError, MediaError
from faceinsight.export import Row, rows_of
from faceinsight.label_layout import LabelLayout
from faceinsight.media.reader import Reader
from faceinsight.media.video import VideoFrame, VideoInfo
from faceinsight.media.writer import VideoWriter
from faceinsight.media.yuv import YuvImage
from faceinsight.people import Person, people_of
from faceinsight.portraits import Portraits
from faceinsight.results import Face, FrameAnalysis
from faceinsight.stream import CutDetector, FaceStream

# How many frames each step may be ahead of the next one.
_AHEAD = 2
# How many bytes of frames wait for the analysis after them, and how many frames at least.
_WAITING_BYTES, _LEAST_WAITING = 48_000_000, 6


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """Which part of a video to analyse, and how.

    Attributes:
        start: Seconds from the beginning at which to begin.
        end: Seconds from the beginning at which to stop; None for the end.
        rate: Analyses a second; None for every frame. Between two analyses boxes move from the one to the
            other, within a scene; where more frames lie between them than may wait, they stay where they were.
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
        frame: The last annotated frame.
    """

    share: float
    seconds_left: float
    frame: YuvImage = field(repr=False)

    @property
    def preview(self) -> npt.NDArray[np.uint8]:
        """The last annotated frame, (H, W, 3) uint8 RGB, made at each call."""
        return self.frame.rgb()


@dataclass(frozen=True, slots=True)
class ClipAnalysis:
    """What a video holds.

    Attributes:
        info: Size, rate and length of the video.
        frames: (seconds from the beginning, analysis) of every analysed frame.
        note: One sentence about what could not be read, or None.
        portraits: By `track_id` the best picture of everybody, (h, w, 3) uint8 RGB, at most 160 pixels a side.
        cuts: Seconds from the beginning of the frames with which another scene begins.
    """

    info: VideoInfo
    frames: Sequence[tuple[float, FrameAnalysis]]
    note: str | None = None
    portraits: Mapping[int, npt.NDArray[np.uint8]] = field(default_factory=dict, compare=False, repr=False)
    cuts: tuple[float, ...] = ()

    def people(self) -> tuple[Person, ...]:
        """Returns everybody who was followed, by number."""
        return people_of(self.frames)

    def rows(self, **columns: Any) -> list[Row]:
        """Returns one row a face and analysed frame, led by `columns` and `time` in seconds."""
        return list(self.iter_rows(**columns))

    def iter_rows(self, **columns: Any) -> Iterator[Row]:
        """Yields what `rows` returns, one row in memory at a time."""
        for at, analysis in self.frames:
            yield from rows_of(analysis, **columns, time=round(at, 3))

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON: the video, its pack, `note`, `frames`, `people` and `rows` with key points."""
        record = self.record()
        return record | {"rows": list(record["rows"])}

    def record(self) -> dict[str, Any]:
        """Returns what `as_dict` does; the `rows` are not in memory, and made anew whenever they are gone through."""
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
            "rows": Rows(self.frames),
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
    notes = [info.note] if info.note else []
    broken = False
    last = options.start
    began = time.monotonic()
    frames = reader.frames(path, options.start, options.end, label)
    found = _Found(label, options.max_faces) if known is None else None
    with ExitStack() as stack:
        steps: Generator[_Step]
        if found is not None:
            # A recording can wait: every analysed frame is looked at as a whole.
            stream = FaceStream(
                analyzer,
                smoothing=options.smoothing,
                det_threshold=options.det_threshold,
                min_face=options.min_face,
                budget_ms=None,
                cuts=False,
            )
            searched = _searched(stream, ahead(frames, _AHEAD), options, info.fps)
            steps = _analysed(stream, ahead(searched, _AHEAD), found)
        else:
            assert known is not None
            steps = _known(ahead(frames, _AHEAD), known, options.draw.blur)
        drawn = ahead(_drawn(ahead(steps, _AHEAD), options.draw), _AHEAD)
        stack.enter_context(closing(drawn))
        writer = None
        if out is not None:
            sound = stack.enter_context(closing(reader.sound(path, options.start)))
            writer = stack.enter_context(VideoWriter(out, info.fps, sound, info.pixel_aspect))
        try:
            for frame in drawn:
                last = frame.time
                if writer is not None:
                    writer.write(frame.image, frame.time - options.start)
                share = _share(frame, options, info)
                left = (time.monotonic() - began) * (1 - share) / max(share, 1e-3)
                yield ClipProgress(share, left, frame.image)
        except DamagedMediaError as error:
            if found is not None and not found.frames:
                raise
            broken = True
            notes.append(str(error))
        if found is not None and not found.frames:
            raise MediaError(f"{label} holds no frame in the chosen range: choose another range.")
    # A demuxer that runs out of data ends quietly: compare with what the file promised.
    promised = min(options.end or info.duration, info.duration)
    if not broken and last < promised - max(1.0, 0.05 * promised):
        notes.append(f"{label} is cut short: it ends after {last:.1f} of {promised:.1f} seconds.")
    if found is not None:
        known = ClipAnalysis(info, found.frames, " ".join(notes) or None, found.portraits.pictures(), tuple(found.cuts))
    assert known is not None
    yield known


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


@dataclass(frozen=True, slots=True)
class _Searched:
    """A frame, whether another scene begins with it, and where it is analysed its pixels and faces."""

    frame: VideoFrame
    is_cut: bool
    pixels: npt.NDArray[np.uint8] | None
    faces: tuple[Face, ...]


@dataclass(frozen=True, slots=True)
class _Step:
    """A frame; how many scenes there were before its own; its own analysis, or None."""

    frame: VideoFrame
    scene: int
    analysis: FrameAnalysis | None


class _Found:
    """What is found in a clip as it goes by."""

    def __init__(self, label: str, max_faces: int | None) -> None:
        self.frames = Analyses()
        self.portraits = Portraits()
        self.cuts: list[float] = []
        self._label, self._max_faces = label, max_faces

    def add(self, time: float, pixels: npt.NDArray[np.uint8], analysis: FrameAnalysis) -> None:
        """Takes in the next analysed frame; raises DamagedMediaError where there are more faces than may be."""
        self.frames.append(time, analysis)
        self.portraits.add(pixels, analysis)
        if self._max_faces is not None and self.frames.faces > self._max_faces:
            raise DamagedMediaError(
                f"{self._label} was analysed up to {time:.1f} seconds, where the limit of {self._max_faces} "
                "faces is: choose a later start for the rest."
            )


def _searched(
    stream: FaceStream, frames: Generator[VideoFrame], options: ClipOptions, fps: float
) -> Generator[_Searched]:
    """Says where scenes begin, and finds the faces of the frames that are due as often as asked for."""
    cuts = CutDetector()
    due, since = options.start, -1  # frames since the last analysed one, from the first of these on
    with closing(frames):
        for frame in frames:
            is_cut = cuts.is_cut(frame.image.luma)
            since += since >= 0
            if options.draw.blur and (is_cut or since > _most_waiting(frame)):
                # Blurred are all from a scene's first frame on, and no frame before the analysis after it is known.
                due = frame.time
            # Half a frame early is nearer to the wanted time than half a frame late.
            if since >= 0 and options.rate is not None and frame.time < due - 0.5 / fps:
                yield _Searched(frame, is_cut, None, ())
                continue
            since = 0
            if options.rate is not None:
                due = max(due, frame.time - 1 / options.rate) + 1 / options.rate
            pixels = frame.pixels
            yield _Searched(frame, is_cut, pixels, stream.search(pixels))


def _analysed(stream: FaceStream, searched: Generator[_Searched], found: _Found) -> Generator[_Step]:
    """Follows and describes the faces that were found."""
    with closing(searched):
        for seen in searched:
            frame, analysis = seen.frame, None
            if seen.is_cut:
                stream.cut()
                found.cuts.append(frame.time)
            if seen.pixels is not None:
                analysis = stream.process(seen.pixels, frame.time, seen.faces)
                found.add(frame.time, seen.pixels, analysis)
            yield _Step(frame, len(found.cuts), analysis)


def _known(frames: Generator[VideoFrame], known: ClipAnalysis, blur: bool) -> Generator[_Step]:
    """Yields what `_analysed` did, out of what it found then."""
    coming = iter(known.frames)
    upcoming = next(coming, None)
    before: _Step | None = None
    with closing(frames):
        for frame in frames:
            step = _Step(frame, bisect_right(known.cuts, frame.time), None)
            while upcoming is not None and upcoming[0] <= frame.time:
                step = replace(step, analysis=upcoming[1])
                upcoming = next(coming, None)
            if blur and step.analysis is None and upcoming is not None:
                # Frames that cannot wait for the next analysis are to know of it: nobody is to be seen unblurred.
                after = _Step(replace(frame, time=upcoming[0]), bisect_right(known.cuts, upcoming[0]), upcoming[1])
                step = replace(step, analysis=replace(upcoming[1], faces=_faces_of(step, before, after, every=True)))
            before = step if step.analysis is not None else before
            yield step


def _most_waiting(frame: VideoFrame) -> int:
    """Returns how many frames like this one may wait for the analysis after them."""
    return max(_WAITING_BYTES // frame.image.data.nbytes, _LEAST_WAITING)


def _drawn(steps: Generator[_Step], options: DrawOptions) -> Generator[VideoFrame]:
    """Draws into the frames; those between two analyses wait for the later one."""
    layout = LabelLayout()
    before: _Step | None = None
    waiting: deque[_Step] = deque()

    def draw(after: _Step | None) -> Iterator[VideoFrame]:
        while waiting:
            step = waiting.popleft()
            draw_into(step.frame.image, _faces_of(step, before, after, options.blur), options, layout=layout)
            yield step.frame

    try:
        with closing(steps):
            for step in steps:
                waiting.append(step)
                if step.analysis is not None:
                    yield from draw(step)
                    before = step
                elif len(waiting) > _most_waiting(step.frame):
                    yield from draw(None)
    except DamagedMediaError:
        yield from draw(None)
        raise
    yield from draw(None)


def _faces_of(step: _Step, before: _Step | None, after: _Step | None, every: bool) -> tuple[Face, ...]:
    """Returns the faces of a frame, out of the analyses before and after it, where they are of its scene."""
    earlier, later = (
        None if known is None or known.analysis is None or known.scene != step.scene else known.analysis.faces
        for known in (before, after)
    )
    if earlier is None or later is None or before is None or after is None:
        return earlier or later or ()
    share = (step.frame.time - before.frame.time) / max(after.frame.time - before.frame.time, 1e-6)
    return faces_between(earlier, later, min(share, 1.0), every)
