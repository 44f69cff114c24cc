"""Carries the sound of a video file over into another one, with PyAV."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

from faceinsight.errors import MediaError
from faceinsight.media.container import RESTART_S, opened_container

_RATE = 48_000
# Sound in an MP4 that every browser plays as it is.
COPIED = frozenset(("aac", "mp3", "opus", "flac"))
LEAST_MP3_HZ = 16_000
# What a decoder needs before a packet's own sound.
_PRIMING = 2
# Times that are less than this off, in samples, are those of a container that counts in milliseconds.
_SLACK = _RATE // 50
# Beyond that nobody waits for the sound to come back.
_LONGEST_GAP_S = 600
_FAILURES = (MediaError, FFmpegError, ArithmeticError, LookupError, MemoryError, TypeError, ValueError)


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
            track = _track(container)
            if track is not None:
                yield from _pieces(container, track, start)
    except _FAILURES:
        return


def _track(container: Any) -> Any:
    """Returns the track that players choose, or None."""
    track = container.streams.best("audio")
    known = track is not None and track.codec_context is not None and container.streams.best("video") is not None
    return track if known else None


def _begin(container: Any, track: Any, start: float) -> float:
    """Goes to `start`; returns when that is, in seconds of the file."""
    picture = container.streams.best("video")
    begin = start + float((picture.start_time or 0) * picture.time_base)
    if start > 0:
        container.seek(int(begin / track.time_base), stream=track)
    return begin


def _pieces(container: Any, track: Any, start: float) -> Iterator[SoundPiece]:
    begin = _begin(container, track, start)
    layout = "mono" if track.codec_context.channels == 1 else "stereo"
    # A track that changes its sampling rate or its channels on the way is an error to it.
    resampler = av.AudioResampler("fltp", layout, _RATE)
    last = -math.inf
    for decoded in container.decode(track):
        if decoded.time is not None and decoded.time < last - RESTART_S:
            return  # as of packets
        last = last if decoded.time is None else decoded.time
        for piece in resampler.resample(decoded):
            time = -1.0 if piece.time is None else piece.time - begin
            if time >= 0:
                yield SoundPiece(time, np.asarray(piece.to_ndarray(), np.float32))


class SoundTrack(Protocol):
    """The sound of a file that is being written."""

    def begin(self, container: Any) -> None:
        """Adds a track to the PyAV container to write to, before its first packet, if there is sound at all."""

    def until(self, time: float) -> Iterator[Any]:
        """Yields the packets of what begins before `time`, in seconds of the written file."""

    def finish(self) -> Iterator[Any]:
        """Yields the last packets."""

    def close(self) -> None:
        """Lets go of the file that is read."""


def sound_of(path: str | Path, start: float = 0.0) -> SoundTrack:
    """Returns the sound of a video file: its packets as they are where an MP4 takes them, else encoded as AAC.

    Args:
        path: The file.
        start: Seconds from its first picture at which to begin.
    """
    copied = CopiedSound(Path(path), start)
    if copied.name in COPIED:
        return copied
    copied.close()
    return EncodedSound(read_sound(path, start))


class CopiedSound:
    """The sound track of a file, handed on packet by packet.

    Attributes:
        name: The codec's, or None where there is no sound to be read.
    """

    def __init__(self, path: Path, start: float) -> None:
        """Opens a file; `start` is in seconds from its first picture."""
        self.name: str | None = None
        self._held = ExitStack()
        self._track: Any = None
        self._packets: Iterator[tuple[float, Any]] = iter(())
        self._next: tuple[float, Any] | None = None
        with suppress(*_FAILURES):
            container = self._held.enter_context(opened_container(path, str(path)))
            track = _track(container)
            if track is not None:
                name = track.codec_context.codec.canonical_name
                # An MP4 takes no MP3 below 16 kHz: not even its header could be written.
                self.name = None if name == "mp3" and track.codec_context.sample_rate < LEAST_MP3_HZ else name
                self._packets = self._read(container, track, start)
                self._template = track

    def _read(self, container: Any, track: Any, start: float) -> Iterator[tuple[float, Any]]:
        """Yields packets with their seconds in the written file, until the track ends or breaks off."""
        begin = _begin(container, track, start)
        # Floats: fractions take longer than all else here.
        tick = float(track.time_base)
        shift = round(begin / tick)
        last = None
        for packet in container.demux(track):
            # Their order is that of their times: anything else is damage.
            if (
                packet.pts is None
                or packet.dts is None
                or packet.is_corrupt
                or (last is not None and packet.dts <= last)
            ):
                if last is not None and packet.dts is not None and packet.dts < last - RESTART_S / track.time_base:
                    return  # nobody knows how it would go with the pictures
                continue
            time = packet.pts * tick - begin
            if time + _PRIMING * (packet.duration or 0) * tick <= 0:
                continue
            last = packet.dts
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            yield time, packet

    def _advance(self) -> None:
        self._next = None
        with suppress(*_FAILURES):
            self._next = next(self._packets, None)

    def begin(self, container: Any) -> None:
        """Does what `SoundTrack.begin` says."""
        self._advance()
        if self._next is not None:
            self._track = container.add_stream_from_template(self._template)

    def until(self, time: float) -> Iterator[Any]:
        """Does what `SoundTrack.until` says."""
        while self._track is not None and self._next is not None and self._next[0] < time:
            packet = self._next[1]
            packet.stream = self._track
            yield packet
            self._advance()

    def finish(self) -> Iterator[Any]:
        """Does what `SoundTrack.finish` says: all has been handed on."""
        return iter(())

    def close(self) -> None:
        """Closes the file."""
        self._held.close()


class EncodedSound:
    """Sound encoded as AAC, in step with the times that its pieces have."""

    def __init__(self, pieces: Generator[SoundPiece]) -> None:
        """Takes pieces of sound in order."""
        self._pieces = pieces
        self._track: Any = None
        self._next: SoundPiece | None = None
        # How many samples the encoder has had.
        self._count = 0

    def begin(self, container: Any) -> None:
        """Does what `SoundTrack.begin` says."""
        self._next = next(self._pieces, None)
        if self._next is not None:
            self._track = container.add_stream("aac", rate=_RATE)
            self._track.layout = _layout(self._next.samples)

    def until(self, time: float) -> Iterator[Any]:
        """Does what `SoundTrack.until` says."""
        while self._next is not None and self._next.time < time:
            samples = self._next.samples
            ahead = round(self._next.time * _RATE) - self._count
            if ahead > _LONGEST_GAP_S * _RATE:
                self._next = None
                return
            while ahead > _SLACK:
                silence = np.zeros((len(samples), min(ahead, _RATE)), np.float32)
                yield from self._encode(silence)
                ahead -= silence.shape[1]
            yield from self._encode(samples[:, -ahead:] if ahead < -_SLACK else samples)
            self._next = next(self._pieces, None)

    def _encode(self, samples: npt.NDArray[np.float32]) -> Iterator[Any]:
        if not samples.shape[1]:
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", _layout(samples))
        frame.sample_rate, frame.time_base = _RATE, Fraction(1, _RATE)
        frame.pts = self._count
        self._count += samples.shape[1]
        yield from self._track.encode(frame)

    def finish(self) -> Iterator[Any]:
        """Does what `SoundTrack.finish` says."""
        if self._track is not None:
            with suppress(FFmpegError, ValueError):
                yield from self._track.encode(None)

    def close(self) -> None:
        """Ends the reading."""
        self._pieces.close()


def _layout(samples: npt.NDArray[np.float32]) -> str:
    return "mono" if len(samples) == 1 else "stereo"
