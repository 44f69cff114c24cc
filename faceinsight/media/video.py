"""Video files in and out with PyAV, one frame in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

from faceinsight.cpus import usable_cpus
from faceinsight.errors import DamagedMediaError, MediaError
from faceinsight.media.container import opened_container, unreadable
from faceinsight.media.sound import Sound, SoundPiece
from faceinsight.writing import beside, write_error

UInt8Array = npt.NDArray[np.uint8]

# Fine enough for any frame rate, and what MPEG itself counts in.
_TIME_BASE = Fraction(1, 90_000)
_FALLBACK_FPS = 25.0
# Where two frames claim the same time, the later one is moved by this much.
_LEAST_STEP = 90
# 8K, as the best phones film: a decoder keeps up to sixteen such frames.
MAX_FRAME_PIXELS = 36_000_000
# Each further thread keeps frames of its own.
_MAX_THREADS = 4
# What a file may claim beyond that has no meaning, and no encoder would take it.
_LEAST_FPS, _MOST_FPS = 1.0, 240.0
_LONGEST_S = 1e7


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video file says of itself.

    Attributes:
        width: Width of an upright frame in pixels.
        height: Height of an upright frame in pixels.
        fps: Frames a second, on average.
        duration: Length in seconds; 0 where the file does not say.
        note: One sentence about what is not as the file has it, or None.
    """

    width: int
    height: int
    fps: float
    duration: float
    note: str | None = None

    @property
    def frames(self) -> int:
        """About how many frames there are; 0 where the file does not say."""
        return round(self.duration * self.fps)


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One decoded frame.

    Attributes:
        time: Seconds since the first frame of the file.
        pixels: (H, W, 3) uint8 RGB, turned upright.
    """

    time: float
    pixels: UInt8Array


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """How much of a video is read.

    Attributes:
        decoded: Frames with more pixels are refused.
        largest: Frames with more pixels are made smaller; None for none.
        frames: After so many frames reading stops; None for no end.
    """

    decoded: int = MAX_FRAME_PIXELS
    largest: int | None = None
    frames: int | None = None


@contextmanager
def _opened(path: Path, label: str, limits: VideoLimits) -> Iterator[tuple[Any, Any]]:
    with opened_container(path, label) as container:
        tracks = container.streams.video
        if not tracks or tracks[0].codec_context is None:
            if not container.streams.audio:
                raise unreadable(label)
            raise MediaError(f"{label} holds no video, only sound: choose another file.")
        stream = tracks[0]
        codec = stream.codec_context
        if codec.width * codec.height > limits.decoded:
            raise MediaError(
                f"{label} has {codec.width} x {codec.height} pixels a frame, and "
                f"{limits.decoded / 10**6:g} million is the limit: make it smaller and try again."
            )
        # A frame on the way may be larger than the first.
        codec.options = {"max_pixels": str(limits.decoded)}
        codec.thread_type = "AUTO"
        codec.thread_count = min(usable_cpus(), _MAX_THREADS)
        yield container, stream


def read_size(path: str | Path, name: str, limits: VideoLimits) -> int:
    """Returns how many pixels a frame has by what a file says of itself; raises as `probe` does."""
    try:
        with _opened(Path(path), name, limits) as (_, stream):
            return int(stream.codec_context.width * stream.codec_context.height)
    except MediaError:
        raise
    except Exception as error:
        raise unreadable(name) from error


def probe(path: str | Path, name: str | None = None, limits: VideoLimits = VideoLimits()) -> VideoInfo:
    """Reads what a video file says of itself, and its first frame.

    Args:
        path: The file.
        name: What to call the file in messages; its path where None.
        limits: How large a frame may be.

    Returns:
        Size, rate and length.

    Raises:
        MediaError: If the file is missing, empty, no video, cut short before its first frame,
            or has larger frames than may be.
    """
    return first_look(path, name, limits)[0]


def first_look(
    path: str | Path, name: str | None = None, limits: VideoLimits = VideoLimits()
) -> tuple[VideoInfo, UInt8Array]:
    """Does what `probe` does; returns the pixels of the first frame (H, W, 3) too."""
    label = name or str(path)
    try:
        with _opened(Path(path), label, limits) as (container, stream):
            fps = float(stream.average_rate or stream.guessed_rate or _FALLBACK_FPS)
            if stream.duration is not None:
                duration = float(stream.duration * stream.time_base)
            else:
                duration = container.duration / av.time_base if container.duration else 0.0
            full = stream.codec_context.width * stream.codec_context.height
    except MediaError:
        raise
    except Exception as error:
        raise unreadable(label) from error
    first = next(read_frames(path, name=name, limits=limits), None)
    if first is None:
        raise MediaError(f"{label} holds no frame of video: choose another file.")
    height, width = first.pixels.shape[:2]
    note = f"{label} was analysed at {width} x {height} pixels." if width * height < full else None
    info = VideoInfo(width, height, min(max(fps, _LEAST_FPS), _MOST_FPS), max(duration, 0.0), note)
    return info, first.pixels


def read_frames(
    path: str | Path,
    start: float = 0.0,
    end: float | None = None,
    name: str | None = None,
    limits: VideoLimits = VideoLimits(),
) -> Generator[VideoFrame]:
    """Decodes a video frame by frame.

    Args:
        path: The file.
        start: Seconds from the beginning at which to begin.
        end: Seconds from the beginning at which to stop; None for the end of the file.
        name: What to call the file in messages; its path where None.
        limits: How large a frame may be, and how many are read.

    Yields:
        Frames in the order they are shown, all of the size of the first.

    Raises:
        MediaError: If the file cannot be read at all.
        DamagedMediaError: Where it breaks off or reaches a limit, after the frames up to there.
    """
    label = name or str(path)
    time = 0.0
    try:
        with _opened(Path(path), label, limits) as (container, stream):
            for count, (time, frame) in enumerate(_decoded(container, stream, start, end)):
                if count == limits.frames:
                    raise DamagedMediaError(
                        f"{label} was analysed up to {time:.1f} seconds, where the limit of {count} frames is: "
                        "choose a later start for the rest."
                    )
                if count == 0:
                    size = _size(frame, limits.largest)
                yield VideoFrame(time, _upright(frame, size))
    except MediaError:
        raise
    except Exception as error:
        # Decoders raise whatever a broken file leads them to.
        raise DamagedMediaError(
            f"{label} is damaged or cut short after {time:.1f} seconds: choose another copy of it."
        ) from error


def _decoded(container: Any, stream: Any, start: float, end: float | None) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yields frames from `start` to `end` with their seconds since the first one of the file."""
    first = float((stream.start_time or 0) * stream.time_base)
    fps = float(stream.average_rate or _FALLBACK_FPS)
    if start > 0:
        container.seek(int((start + first) / stream.time_base), stream=stream)
    for number, frame in enumerate(container.decode(stream)):
        time = number / fps if frame.time is None else float(frame.time) - first
        if abs(time) > _LONGEST_S:
            raise ValueError("the time of a frame is out of range")
        if end is not None and time > end:
            return
        if time >= start:
            yield time, frame


def _size(frame: av.VideoFrame, largest: int | None) -> tuple[int, int]:
    """Returns the width and height to bring frames like this one to, before they are turned."""
    pixels = frame.width * frame.height
    if largest is None or pixels <= largest:
        return frame.width, frame.height
    side = math.sqrt(largest / pixels)
    return max(int(frame.width * side), 1), max(int(frame.height * side), 1)


def _upright(frame: av.VideoFrame, size: tuple[int, int]) -> UInt8Array:
    pixels = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
    # FFmpeg counts quarter turns counter-clockwise, as numpy does.
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.asarray(np.rot90(pixels, turns) if turns else pixels, np.uint8)


class VideoWriter:
    """Writes an H.264 MP4 that every browser plays; a context manager.

    The file bears its name only once the block has ended without an error; until then, and whatever happens, a file
    that was there before stays.
    """

    def __init__(self, path: str | Path, fps: float, sound: Iterator[SoundPiece] | None = None) -> None:
        """Prepares a file; nothing is written before the first frame.

        Args:
            path: The MP4 file to write.
            fps: Frames a second, a hint to the encoder; frames carry their own times.
            sound: The sound to write as well, of `read_sound`; None for none.
        """
        self.path = Path(path)
        self._fps = fps
        self._pieces = sound
        self._sound: Sound | None = None
        self._container: Any = None
        self._stream: Any = None
        self._last = -_LEAST_STEP
        # What is left to do in the end: the new file takes its name, or goes.
        self._ending = ExitStack()

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, pixels: UInt8Array, time: float) -> None:
        """Appends a frame.

        Args:
            pixels: (H, W, 3) uint8 RGB; every frame of the file of the same size.
            time: Seconds since the beginning of the written file.

        Raises:
            MediaError: If the file cannot be written.
        """
        height, width = pixels.shape[:2]
        with self._errors():
            if self._container is None:
                self._open(width, height)
            # 4:2:0 needs even sides: the last row or column is doubled where they are odd.
            even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            frame.time_base = _TIME_BASE
            frame.pts = max(round(time / _TIME_BASE), self._last + _LEAST_STEP)
            self._last = frame.pts
            self._container.mux(self._stream.encode(frame))
            if self._sound is not None:
                # Beside its pictures: a player need not look for it at the end of the file.
                self._container.mux(list(self._sound.until(time + 1 / self._fps)))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (FFmpegError, OSError) as error:
            raise write_error(error, self.path.name) from error

    def _open(self, width: int, height: int) -> None:
        part = self._ending.enter_context(beside(self.path))
        # faststart moves the index to the front: a browser plays before it has the whole file.
        self._container = av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"})
        rate = Fraction(self._fps).limit_denominator(1001)
        stream = self._container.add_stream("libx264", rate=rate)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _TIME_BASE
        stream.options = {"preset": "veryfast", "crf": "21"}
        self._stream = stream
        if self._pieces is not None:
            self._sound = Sound(self._pieces, self._container)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._container is not None:
            with self._errors(), self._ending:
                try:
                    self._container.mux(self._stream.encode())
                    if self._sound is not None:
                        self._container.mux(list(self._sound.close()))
                finally:
                    self._container.close()
            return
        if self._container is not None:
            # Without a name, its index is not moved to its front. The error that got us here is the one to tell of.
            with suppress(OSError):
                Path(self._container.name).unlink()
            with suppress(FFmpegError, OSError):
                self._container.close()
        self._ending.__exit__(kind, error, trace)
