"""Video files in and out with PyAV, one frame in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
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

from faceinsight.errors import DamagedMediaError, MediaError
from faceinsight.media.image import MAX_PIXELS
from faceinsight.media.sound import Sound
from faceinsight.writing import beside, write_error

UInt8Array = npt.NDArray[np.uint8]

# Fine enough for any frame rate, and what MPEG itself counts in.
_TIME_BASE = Fraction(1, 90_000)
_FALLBACK_FPS = 25.0
# Where two frames claim the same time, the later one is moved by this much.
_LEAST_STEP = 90


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video file says of itself.

    Attributes:
        width: Width of an upright frame in pixels.
        height: Height of an upright frame in pixels.
        fps: Frames a second, on average.
        duration: Length in seconds; 0 where the file does not say.
    """

    width: int
    height: int
    fps: float
    duration: float

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


def _unreadable(label: str) -> MediaError:
    return MediaError(
        f"{label} is not a video that can be read, or it is cut short: choose an MP4, MOV, WebM or MKV file."
    )


def _open(path: Path, label: str) -> Any:
    try:
        if path.stat().st_size == 0:
            raise MediaError(f"{label} is empty: choose another file.")
        container = av.open(str(path))
    except FFmpegError as error:
        raise _unreadable(label) from error
    except OSError as error:
        raise MediaError(
            f"{label} cannot be read ({(error.strerror or str(error)).lower()}): check the path."
        ) from error
    if not container.streams.video or container.streams.video[0].codec_context is None:
        sound = bool(container.streams.audio)
        container.close()
        if not sound:
            raise _unreadable(label)
        raise MediaError(f"{label} holds no video, only sound: choose another file.")
    return container


def probe(path: str | Path, name: str | None = None) -> VideoInfo:
    """Reads what a video file says of itself, and its first frame.

    Args:
        path: The file.
        name: What to call the file in messages; its own name where None.

    Returns:
        Size, rate and length.

    Raises:
        MediaError: If the file is missing, empty, no video, cut short before its first frame,
            or larger than 64 megapixels a frame.
    """
    path = Path(path)
    label = name or path.name
    with _open(path, label) as container:
        stream = container.streams.video[0]
        fps = float(stream.average_rate or stream.guessed_rate or _FALLBACK_FPS)
        if stream.duration is not None:
            duration = float(stream.duration * stream.time_base)
        else:
            duration = container.duration / av.time_base if container.duration else 0.0
        size = stream.codec_context
        if size.width * size.height > MAX_PIXELS:
            raise MediaError(
                f"{label} has {size.width} x {size.height} pixels a frame, and "
                f"{MAX_PIXELS // 10**6} million is the limit: make it smaller and try again."
            )
    first = next(read_frames(path, name=name), None)
    if first is None:
        raise MediaError(f"{label} holds no frame of video: choose another file.")
    height, width = first.pixels.shape[:2]
    return VideoInfo(width, height, fps, duration)


def read_frames(
    path: str | Path, start: float = 0.0, end: float | None = None, name: str | None = None
) -> Iterator[VideoFrame]:
    """Decodes a video frame by frame.

    Args:
        path: The file.
        start: Seconds from the beginning at which to begin.
        end: Seconds from the beginning at which to stop; None for the end of the file.
        name: What to call the file in messages; its own name where None.

    Yields:
        Frames in the order they are shown.

    Raises:
        MediaError: If the file cannot be read at all.
        DamagedMediaError: Where it breaks off, after the frames up to there.
    """
    path = Path(path)
    label = name or path.name
    with _open(path, label) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        first = float((stream.start_time or 0) * stream.time_base)
        fps = float(stream.average_rate or _FALLBACK_FPS)
        time = 0.0
        try:
            if start > 0:
                container.seek(int((start + first) / stream.time_base), stream=stream)
            for number, frame in enumerate(container.decode(stream)):
                time = number / fps if frame.time is None else float(frame.time) - first
                if end is not None and time > end:
                    return
                if time >= start:
                    yield VideoFrame(time, _upright(frame))
        except FFmpegError as error:
            raise DamagedMediaError(
                f"{label} is damaged or cut short after {time:.1f} seconds: choose another copy of it."
            ) from error


def _upright(frame: av.VideoFrame) -> UInt8Array:
    pixels = frame.to_ndarray(format="rgb24")
    # FFmpeg counts quarter turns counter-clockwise, as numpy does.
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.asarray(np.rot90(pixels, turns) if turns else pixels, np.uint8)


class VideoWriter:
    """Writes an H.264 MP4 that every browser plays; a context manager.

    The file bears its name only once the block has ended without an error; until then, and whatever happens, a file
    that was there before stays.
    """

    def __init__(
        self, path: str | Path, fps: float, sound_of: str | Path | None = None, sound_from: float = 0.0
    ) -> None:
        """Prepares a file; nothing is written before the first frame.

        Args:
            path: The MP4 file to write.
            fps: Frames a second, a hint to the encoder; frames carry their own times.
            sound_of: The video file whose sound to write as well; None for none.
            sound_from: Seconds from the beginning of that file at which the sound begins.
        """
        self.path = Path(path)
        self._fps = fps
        self._sound_of = None if sound_of is None else Path(sound_of)
        self._sound_from = sound_from
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
        if self._sound_of is not None:
            self._sound = Sound(self._sound_of, self._sound_from, self._container)

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
            # The error that got us here is the one to tell of.
            with suppress(FFmpegError, OSError):
                self._container.close()
        self._ending.__exit__(kind, error, trace)
