"""Reads video files with PyAV, one frame in memory at a time."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from faceinsight.cpus import usable_cpus
from faceinsight.errors import DamagedMediaError, MediaError
from faceinsight.media.container import RESTART_S, opened_container, unreadable
from faceinsight.media.yuv import YuvImage

UInt8Array = npt.NDArray[np.uint8]

_FILMS = (".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".vob", ".ogv")
_TRANSPORT_STREAMS = (".ts", ".mts", ".m2ts", ".m2t")
_FLASH_AND_WINDOWS = (".flv", ".f4v", ".wmv", ".asf")
SUFFIXES = frozenset((*_FILMS, *_TRANSPORT_STREAMS, *_FLASH_AND_WINDOWS))
_FALLBACK_FPS = 25.0
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
        pixel_aspect: Width of a pixel as it is to be shown, in its heights.
    """

    width: int
    height: int
    fps: float
    duration: float
    note: str | None = None
    pixel_aspect: float = 1.0

    @property
    def frames(self) -> int:
        """About how many frames there are; 0 where the file does not say."""
        return round(self.duration * self.fps)


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One decoded frame.

    Attributes:
        time: Seconds since the first frame of the file.
        image: The picture, turned upright.
    """

    time: float
    image: YuvImage

    @property
    def pixels(self) -> UInt8Array:
        """The picture as (H, W, 3) uint8 RGB, made at each call."""
        return self.image.rgb()


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
        # The one that players show: a cover is a video of one picture, and may come first.
        stream = container.streams.best("video")
        if stream is None or stream.codec_context is None:
            if not container.streams.audio:
                raise unreadable(label)
            raise MediaError(f"{label} holds no video, only sound: choose another file.")
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
            duration = _duration(container, stream)
            full = stream.codec_context.width * stream.codec_context.height
            stored = stream.codec_context.width, stream.codec_context.height
            aspect = float(stream.sample_aspect_ratio or 1)
    except MediaError:
        raise
    except Exception as error:
        raise unreadable(label) from error
    first = next(read_frames(path, name=name, limits=limits), None)
    if first is None:
        raise MediaError(f"{label} holds no frame of video: choose another file.")
    width, height = first.image.width, first.image.height
    if (width < height) != (stored[0] < stored[1]):
        aspect = 1 / aspect
    note = f"{label} was analysed at {width} x {height} pixels." if width * height < full else None
    info = VideoInfo(width, height, min(max(fps, _LEAST_FPS), _MOST_FPS), max(duration, 0.0), note, aspect)
    return info, first.pixels


def _duration(container: Any, stream: Any) -> float:
    """Returns how long the pictures last by what a file says, in seconds; 0 where it does not."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    # In Matroska the file's own is that of its longest track; by this tag each tells when it ends.
    end = re.fullmatch(r"(\d{1,4}):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if end:
        hours, minutes, seconds = map(float, end.groups())
        return 3600 * hours + 60 * minutes + seconds - float((stream.start_time or 0) * stream.time_base)
    return container.duration / av.time_base if container.duration else 0.0


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
                yield VideoFrame(time, YuvImage.of_frame(frame, size))
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
    shift, last = 0.0, -math.inf
    for number, frame in enumerate(container.decode(stream)):
        time = number / fps if frame.time is None else float(frame.time) - first + shift
        if time < last - RESTART_S:
            shift, time = shift + last + 1 / fps - time, last + 1 / fps
        last = max(last, time)
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
