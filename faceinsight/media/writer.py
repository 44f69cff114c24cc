"""Writes video files with PyAV: H.264 and sound in an MP4."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.error import ArgumentError, FFmpegError, InvalidDataError, PatchWelcomeError

from faceinsight.media.sound import SoundTrack
from faceinsight.media.yuv import YuvImage
from faceinsight.writing import beside, write_error

# Fine enough for any frame rate, and what MPEG itself counts in.
_TICKS = 90_000
_TIME_BASE = Fraction(1, _TICKS)
# Where two frames claim the same time, the later one is moved by this much.
_LEAST_STEP = 90
CODEC = "libx264"
OPTIONS = {"preset": "veryfast", "crf": "21"}


class VideoWriter:
    """Writes an H.264 MP4 that every browser plays; a context manager.

    The file bears its name only once the block has ended without an error; until then, and whatever happens, a file
    that was there before stays.
    """

    def __init__(
        self, path: str | Path, fps: float, sound: SoundTrack | None = None, pixel_aspect: float = 1.0
    ) -> None:
        """Prepares a file; nothing is written before the first frame.

        Args:
            path: The MP4 file to write.
            fps: Frames a second, a hint to the encoder; frames carry their own times.
            sound: The sound to write as well; None for none.
            pixel_aspect: Width of a pixel as it is to be shown, in its heights.
        """
        self.path = Path(path)
        self._fps = fps
        self._sound = sound
        self._aspect = Fraction(pixel_aspect).limit_denominator(255)
        self._container: Any = None
        self._stream: Any = None
        self._last = -_LEAST_STEP
        # What is left to do in the end: the new file takes its name, or goes.
        self._ending = ExitStack()

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, picture: YuvImage | npt.NDArray[np.uint8], time: float) -> None:
        """Appends a frame.

        Args:
            picture: The frame, or (H, W, 3) uint8 RGB; every frame of the file of the same size.
            time: Seconds since the beginning of the written file.

        Raises:
            MediaError: If the file cannot be written.
        """
        image = picture if isinstance(picture, YuvImage) else YuvImage.of_rgb(picture)
        with self._errors():
            if self._container is None:
                self._open(image)
            frame = image.frame()
            frame.time_base = _TIME_BASE
            frame.pts = max(round(time * _TICKS), self._last + _LEAST_STEP)
            self._last = frame.pts
            self._container.mux(self._stream.encode(frame))
            if self._sound is not None:
                # Beside its pictures: a player need not look for it at the end of the file.
                self._mux_sound(self._sound.until(time + 1 / self._fps))

    def _mux_sound(self, packets: Iterator[Any]) -> None:
        try:
            for packet in packets:
                self._container.mux(packet)
        except (ArgumentError, InvalidDataError, PatchWelcomeError, ValueError):
            # Packets that are none, or whose times make no sense: there is silence from here on.
            self._sound = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (FFmpegError, OSError) as error:
            raise write_error(error, self.path.name) from error

    def _open(self, image: YuvImage) -> None:
        part = self._ending.enter_context(beside(self.path))
        # faststart moves the index to the front: a browser plays before it has the whole file.
        self._container = av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"})
        stream = self._container.add_stream(CODEC, rate=Fraction(self._fps).limit_denominator(1001))
        stream.height, stream.width = image.planes[0].shape
        stream.pix_fmt = "yuv420p"
        codec = stream.codec_context
        codec.time_base = _TIME_BASE
        codec.sample_aspect_ratio = self._aspect
        colors = image.colors
        codec.colorspace, codec.color_range = colors.matrix, colors.range
        codec.color_primaries, codec.color_trc = colors.primaries, colors.transfer
        stream.options = dict(OPTIONS)
        self._stream = stream
        if self._sound is not None:
            self._sound.begin(self._container)

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
                        self._mux_sound(self._sound.finish())
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
