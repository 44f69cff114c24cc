"""Carries the sound of a video file over into another one, with PyAV."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

from faceinsight.errors import MediaError
from faceinsight.media.container import opened_container

_RATE = 48_000


@dataclass(frozen=True, slots=True)
class SoundPiece:
    """A short piece of sound.

    Attributes:
        time: Seconds since the start that was asked for.
        samples: (C, N) float32 in [-1, 1], 48,000 a second; C is 1 or 2.
    """

    time: float
    samples: npt.NDArray[np.float32]


def read_sound(path: str | Path, start: float = 0.0) -> Generator[SoundPiece]:
    """Decodes the first sound track of a video file; nothing where there is none.

    Where the track breaks off or cannot be decoded, it ends: the picture is what counts.

    Args:
        path: The file.
        start: Seconds from its first picture at which to begin.

    Yields:
        Pieces in order, all with the same number of channels.
    """
    try:
        with opened_container(Path(path), str(path)) as container:
            tracks = container.streams.audio
            if tracks and tracks[0].codec_context is not None and container.streams.video:
                yield from _pieces(container, tracks[0], start)
    except (MediaError, FFmpegError, ArithmeticError, LookupError, MemoryError, TypeError, ValueError):
        return


def _pieces(container: Any, track: Any, start: float) -> Iterator[SoundPiece]:
    picture: Any = container.streams.video[0]
    begin = start + float((picture.start_time or 0) * picture.time_base)
    if start > 0:
        container.seek(int(begin / track.time_base), stream=track)
    layout = "mono" if track.codec_context.channels == 1 else "stereo"
    # A track that changes its sampling rate or its channels on the way is an error to it.
    resampler = av.AudioResampler("fltp", layout, _RATE)
    for decoded in container.decode(track):
        for piece in resampler.resample(decoded):
            time = -1.0 if piece.time is None else piece.time - begin
            if time >= 0:
                yield SoundPiece(time, np.asarray(piece.to_ndarray(), np.float32))


class Sound:
    """The sound track of a file that is being written, encoded as AAC; nothing where there is no sound."""

    def __init__(self, pieces: Iterator[SoundPiece], container: Any) -> None:
        """Adds a track to the file that is written, if there is a piece at all.

        Args:
            pieces: The sound, in order.
            container: The open PyAV container to write to, before its first packet.
        """
        self._pieces = pieces
        self._track: Any = None
        self._next = next(self._pieces, None)
        if self._next is not None:
            self._track = container.add_stream("aac", rate=_RATE)
            self._track.layout = _layout(self._next)

    def until(self, time: float) -> Iterator[Any]:
        """Yields the packets of what begins before `time`, in seconds of the written file."""
        while self._next is not None and self._next.time < time:
            frame = av.AudioFrame.from_ndarray(self._next.samples, "fltp", _layout(self._next))
            frame.sample_rate, frame.time_base = _RATE, Fraction(1, _RATE)
            frame.pts = round(self._next.time * _RATE)
            try:
                yield from self._track.encode(frame)
            except (FFmpegError, ValueError):
                # Times that go backwards: there is silence from here on.
                self._next = None
                return
            self._next = next(self._pieces, None)

    def close(self) -> Iterator[Any]:
        """Yields the last packets."""
        if self._track is not None:
            with suppress(FFmpegError, ValueError):
                yield from self._track.encode(None)


def _layout(piece: SoundPiece) -> str:
    return "mono" if len(piece.samples) == 1 else "stereo"
