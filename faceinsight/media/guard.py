"""Who reads the files of strangers: processes that may be ended, with one bound on the memory of all at once."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faceinsight.errors import MediaError
from faceinsight.media.image import LoadedImage
from faceinsight.media.process import Answer, Workers
from faceinsight.media.reader import Reader
from faceinsight.media.room import Room
from faceinsight.media.sound import EncodedSound, SoundPiece, SoundTrack
from faceinsight.media.video import VideoFrame, VideoInfo, VideoLimits
from faceinsight.media.yuv import Colors, YuvImage

# Faces are looked for at 640 pixels a side: beyond this, a picture is larger for the eye alone.
LARGEST_PICTURE = 16_000_000
# JPEGs, which most photos are, come at a half, a quarter or an eighth of their sides for a fraction of the work: no
# smaller than this, with faces as large as models look at.
ENOUGH_PICTURE = 2_000_000
# 4K is read, and goes on as Full HD. An hour at 30 frames a second is more than a page can show.
CLIP_LIMITS = VideoLimits(decoded=9_500_000, largest=2_100_000, frames=108_000)

# Megabytes for all pictures and for all clips at once. The server itself takes some 400.
PICTURES_MB = 800
CLIPS_MB = 800
# How long a file waits for its turn.
PICTURE_PATIENCE_S = 60.0
CLIP_PATIENCE_S = 600.0
PICTURE_WORKERS = 2

# What decoders take, measured on pictures of 32 and 64 megapixels: megabytes for a header (WebP's decoder makes room
# for two pictures then), at all, and a megapixel.
_HEADER_MB = 400.0
_DECODER_MB = 60.0
_PIXEL_MB = {"WEBP": 22.0, "AVIF": 22.0}
_OTHER_PIXEL_MB = 11.5
# A picture's analysis, labels and files, a megapixel.
_ANALYSIS_MB = 12.0
# A clip: its decoder at all and a megapixel, of one frame and of many (some refer to sixteen others); labels, encoder
# and sound a megapixel.
_CLIP_MB = 120.0
_PROBE_PIXEL_MB = 20.0
_CLIP_PIXEL_MB = 40.0
_ENCODER_MB = 90.0


class Guard(Reader):
    """Reads the files of strangers.

    Who waits too long for their turn gets a BusyError.
    """

    def __init__(self, sharers: int = 1) -> None:
        """Begins with nothing to read.

        Args:
            sharers: How many processes that read share the memory.
        """
        self._workers = Workers()
        self._turns = threading.Semaphore(PICTURE_WORKERS)
        self._pictures = Room(PICTURES_MB // sharers, PICTURE_PATIENCE_S)
        self._clips = Room(CLIPS_MB // sharers, CLIP_PATIENCE_S)

    def prepare(self) -> None:
        """Starts a process ahead, so that the first file need not wait for it."""
        self._workers.prepare()

    def image(self, path: Path, name: str) -> LoadedImage:
        """Decodes a picture as large as the page needs it.

        Raises:
            MediaError: As `load_image` does, or where it takes too long or too much memory.
            BusyError: If there was no room in time.
        """
        with self._turns, self._workers.one() as worker:
            wanted = {"largest": LARGEST_PICTURE, "enough": ENOUGH_PICTURE}
            head = worker.ask("image", _HEADER_MB, name, path=str(path), **wanted)
            megapixels = head["pixels"] / 1e6
            most = _DECODER_MB + megapixels * _PIXEL_MB.get(head["format"], _OTHER_PIXEL_MB)
            with self._pictures.take(most):
                ((values, pixels),) = worker.go(most)
        return LoadedImage(pixels, values["note"], values["size"] and tuple(values["size"]))

    def work_on(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> AbstractContextManager[object]:
        """Keeps room for what is done with pictures (H, W, 3) in a block; raises BusyError as `image` does."""
        return self._pictures.take(sum(picture.size for picture in pictures) / 3e6 * _ANALYSIS_MB)

    def probe(self, path: Path, name: str) -> VideoInfo:
        """Does what `probe` of media/video.py does, within CLIP_LIMITS."""
        return self.first_look(path, name)[0]

    def first_look(self, path: Path, name: str) -> tuple[VideoInfo, npt.NDArray[np.uint8]]:
        """Does what `first_look` of media/video.py does, within CLIP_LIMITS."""
        # One frame is decoded: for that nobody waits until another clip is done.
        cost = (_CLIP_MB, _PROBE_PIXEL_MB, 0.0)
        with self._clip("probe", self._pictures, cost, path, name) as answers:
            ((values, pixels),) = answers
        return VideoInfo(*values["info"]), pixels

    def frames(self, path: Path, start: float, end: float | None, name: str) -> Generator[VideoFrame]:
        """Does what `read_frames` does, within CLIP_LIMITS."""
        cost = (_CLIP_MB, _CLIP_PIXEL_MB, _ENCODER_MB)
        with self._clip("frames", self._clips, cost, path, name, start=start, end=end) as answers:
            for values, data in answers:
                width, height = values["size"]
                yield VideoFrame(values["time"], YuvImage(data, width, height, Colors(*values["colors"])))

    @contextmanager
    def _clip(
        self, job: str, room: Room, cost: tuple[float, float, float], path: Path, name: str, **values: Any
    ) -> Iterator[Iterator[Answer]]:
        """Runs a job; its cost is that of the decoder, at all and a megapixel, and of what is done with the frames."""
        with self._workers.one() as worker:
            head = worker.ask(job, _CLIP_MB, name, path=str(path), limits=astuple(CLIP_LIMITS), **values)
            megapixels = head["pixels"] / 1e6
            decoder = cost[0] + megapixels * cost[1]
            shown = min(megapixels, (CLIP_LIMITS.largest or CLIP_LIMITS.decoded) / 1e6)
            with room.take(decoder + shown * cost[2]):
                yield worker.go(decoder)

    def sound(self, path: Path, start: float) -> SoundTrack:
        """Returns the sound of a clip, which is always decoded and encoded anew: nothing is handed on unread."""
        return EncodedSound(self.pieces(path, start))

    def pieces(self, path: Path, start: float) -> Generator[SoundPiece]:
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
