"""Small pictures of faces for the report, cut from the files where these are still as they were."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from faceinsight.drawing import DrawOptions, draw, face_thumbnail
from faceinsight.errors import MediaError
from faceinsight.media.image import encode_image, load_image
from faceinsight.media.video import read_frames
from faceinsight.results import Face

UInt8Array = npt.NDArray[np.uint8]

SIDE = 128
# All pictures of a report together, in bytes of their JPEGs.
MOST_BYTES = 1_000_000
# A frame is found by its time, which tables round.
_EARLIER_S = 0.002


class Crops:
    """Cuts faces out, as long as there is room for them in the report."""

    def __init__(self, blur: bool) -> None:
        """Begins with an empty report.

        Args:
            blur: Whether to make the faces unrecognisable.
        """
        self._blur = blur
        self._room = MOST_BYTES

    def of(self, rows: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str]]:
        """Yields rows of the faces' table with their pictures, file by file.

        Yields:
            (row, data URL of a JPEG). What lies on a server, is gone, or has another size now, is left out.
        """
        for name, faces in groupby(sorted(rows, key=_file_of), key=_file_of):
            for row, pixels in _pictures(Path(name), list(faces)):
                if pixels.shape[:2] != (row["height"], row["width"]):
                    continue
                content = encode_image(_crop(pixels, row, self._blur), quality=80)
                self._room -= len(content)
                if self._room < 0:
                    return
                yield row, f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def _file_of(row: dict[str, Any]) -> str:
    return str(row["file"])


def _pictures(path: Path, rows: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], UInt8Array]]:
    """Yields the rows of a photo or a clip with the pictures (H, W, 3) that they are about."""
    with suppress(MediaError):
        photo = None
        for row in rows:
            if row["time"] is None:
                photo = load_image(path).pixels if photo is None else photo
                yield row, photo
                continue
            with closing(read_frames(path, max(row["time"] - _EARLIER_S, 0))) as frames:
                frame = next(frames, None)
            if frame is not None:
                yield row, frame.pixels


def _crop(pixels: UInt8Array, row: dict[str, Any], blur: bool) -> UInt8Array:
    picture = face_thumbnail(pixels, Face((row["x1"], row["y1"], row["x2"], row["y2"]), 1.0))
    if blur:
        # All of it, as a neighbour's face may reach into it.
        height, width = picture.shape[:2]
        picture = draw(picture, [Face((0, 0, width, height), 1.0)], DrawOptions(labels=(), boxes=False, blur=True))
    scale = SIDE / max(picture.shape[:2])
    if scale >= 1:
        return picture
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
