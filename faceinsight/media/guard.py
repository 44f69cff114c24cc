"""Who reads the files of strangers: processes that may be ended, with one bound on the memory of all at once."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

from faceinsight.errors import MediaError
from faceinsight.media.image import LoadedImage
from faceinsight.media.process import Answer, Workers
from faceinsight.media.reader import Reader
from faceinsight.media.room import Room
from faceinsight.media.sound import SoundPiece
from faceinsight.media.video import VideoFrame, VideoInfo, VideoLimits

# Faces are looked for at 640 pixels a side: beyond this, a picture is larger for the eye alone.
LARGEST_PICTURE = 16_000_000
# 4K is read, and goes on as Full HD. An hour at 30 frames a second is more than a page can show.
CLIP_LIMITS = VideoLimits(decoded=9_500_000, largest=2_100_000, frames=108_000)

# Megabytes for all pictures and for all clips at once. The server itself takes some 400.
PICTURES_MB = 800.0
CLIPS_MB = 800.0
# How long a file waits for its turn.
PICTURE_PATIENCE_S = 60.0
CLIP_PATIENCE_S = 600.0
PICTURE_WORKERS = 2

# What decoders take, measured on pictures of 32 and 64 megapixels: megabytes at all, and a megapixel.
_HEADER_MB = 250.0
_DECODER_MB = 60.0
_PIXEL_MB = {"WEBP": 22.0, "AVIF": 22.0}
_OTHER_PIXEL_MB = 11.5
# A picture's analysis, labels and files, a megapixel.
_ANALYSIS_MB = 12.0
# A clip: its decoder at all and a megapixel (other frames refer to up to sixteen), the encoder a megapixel, the sound.
_CLIP_MB = 120.0
_CLIP_PIXEL_MB = 40.0
_ENCODER_MB = 60.0
_SOUND_MB = 60.0


class Guard(Reader):
    """Reads the files of strangers.

    Who waits too long for their turn gets a BusyError.
    """

    def __init__(self) -> None:
        """Begins with nothing to read."""
        self._workers = Workers()
        self._turns = threading.Semaphore(PICTURE_WORKERS)
        self._pictures = Room(PICTURES_MB, PICTURE_PATIENCE_S)
        self._clips = Room(CLIPS_MB, CLIP_PATIENCE_S)

    @contextmanager
    def image(self, path: Path, name: str) -> Iterator[LoadedImage]:
        """Decodes a picture as large as the page needs it, and keeps room for what is done with it in the block.

        Raises:
            MediaError: As `load_image` does, or where it takes too long or too much memory.
            BusyError: If there was no room in time.
        """
        with ExitStack() as stack:
            with self._turns, self._workers.one() as worker:
                head = worker.ask("image", _HEADER_MB, name, path=str(path), largest=LARGEST_PICTURE)
                megapixels = head["pixels"] / 1e6
                most = _DECODER_MB + megapixels * _PIXEL_MB.get(head["format"], _OTHER_PIXEL_MB)
                place = stack.enter_context(self._pictures.take(most))
                ((values, pixels),) = worker.go(most)
            place.shrink(pixels.size / 3e6 * _ANALYSIS_MB)
            yield LoadedImage(pixels, values["note"])

    def probe(self, path: Path, name: str) -> VideoInfo:
        """Does what `probe` of media/video.py does, within CLIP_LIMITS."""
        with self._clip("probe", path, name) as answers:
            ((values, _),) = answers
        return VideoInfo(*values["info"])

    def frames(self, path: Path, start: float, end: float | None, name: str) -> Generator[VideoFrame]:
        """Does what `read_frames` does, within CLIP_LIMITS."""
        with self._clip("frames", path, name, start=start, end=end) as answers:
            for values, pixels in answers:
                yield VideoFrame(values["time"], pixels)

    @contextmanager
    def _clip(self, job: str, path: Path, name: str, **values: Any) -> Iterator[Iterator[Answer]]:
        with self._workers.one() as worker:
            head = worker.ask(job, _CLIP_MB, name, path=str(path), limits=astuple(CLIP_LIMITS), **values)
            megapixels = head["pixels"] / 1e6
            decoder = _CLIP_MB + megapixels * _CLIP_PIXEL_MB
            encoder = min(megapixels, (CLIP_LIMITS.largest or CLIP_LIMITS.decoded) / 1e6) * _ENCODER_MB
            with self._clips.take(decoder + encoder + _SOUND_MB):
                yield worker.go(decoder)

    def sound(self, path: Path, start: float) -> Generator[SoundPiece]:
        """Does what `read_sound` does; its room is part of that of the frames."""
        try:
            with self._workers.one() as worker:
                worker.ask("sound", _CLIP_MB, str(path), path=str(path), start=start)
                for values, samples in worker.go(_CLIP_MB):
                    yield SoundPiece(values["time"], samples)
        except MediaError:
            return

    def close(self) -> None:
        """Ends the processes that wait."""
        self._workers.close()
