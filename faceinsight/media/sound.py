"""Carries the sound of a video file over into another one, with PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

_RATE = 48_000


class Sound:
    """The first sound track of a video file, encoded as AAC for another one; nothing where there is none.

    Where the track breaks off or cannot be decoded, there is silence: the picture is what counts.
    """

    def __init__(self, path: Path, start: float, container: Any) -> None:
        """Opens the track, and adds one to the file that is written.

        Args:
            path: The file to read.
            start: Seconds from its first picture at which to begin.
            container: The open PyAV container to write to, before its first packet.
        """
        self._source = av.open(str(path))
        self._track: Any = None
        self._frames: Iterator[tuple[float, av.AudioFrame]] = iter(())
        self._next: tuple[float, av.AudioFrame] | None = None
        tracks = self._source.streams.audio
        if tracks and tracks[0].codec_context is not None:
            self._track = container.add_stream("aac", rate=_RATE)
            self._track.layout = "mono" if tracks[0].codec_context.channels == 1 else "stereo"
            self._frames = self._decoded(tracks[0], start)
            self._next = next(self._frames, None)

    def _decoded(self, track: Any, start: float) -> Iterator[tuple[float, av.AudioFrame]]:
        """Yields every piece from `start` on, with the seconds at which it begins in the written file."""
        picture: Any = self._source.streams.video[0]
        begin = start + float((picture.start_time or 0) * picture.time_base)
        try:
            if start > 0:
                self._source.seek(int(begin / track.time_base), stream=track)
            for piece in self._source.decode(track):
                time = -1.0 if piece.time is None else piece.time - begin
                if time >= 0 and piece.time_base:
                    piece.pts = round(time / piece.time_base)
                    yield time, piece
        except FFmpegError:
            return

    def until(self, time: float) -> Iterator[Any]:
        """Yields the packets of what begins before `time`, in seconds of the written file."""
        while self._next is not None and self._next[0] < time:
            try:
                yield from self._track.encode(self._next[1])
            except (FFmpegError, ValueError):
                # A track that changes its sampling rate or its channels on the way.
                self._next = None
                return
            self._next = next(self._frames, None)

    def close(self) -> Iterator[Any]:
        """Yields the last packets, and closes the file that is read."""
        if self._track is not None:
            with suppress(FFmpegError, ValueError):
                yield from self._track.encode(None)
        self._source.close()
