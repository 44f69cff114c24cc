"""Who reads files: this process itself, for files of whoever started it."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from faceinsight.media.sound import SoundTrack, sound_of
from faceinsight.media.video import VideoFrame, VideoInfo, probe, read_frames


class Reader:
    """Reads clips within this process, with the limits that hold for everybody."""

    def probe(self, path: Path, name: str) -> VideoInfo:
        """Does what `probe` of media.video does."""
        return probe(path, name)

    def frames(self, path: Path, start: float, end: float | None, name: str) -> Generator[VideoFrame]:
        """Does what `read_frames` does."""
        return read_frames(path, start, end, name)

    def sound(self, path: Path, start: float) -> SoundTrack:
        """Does what `sound_of` does."""
        return sound_of(path, start)
