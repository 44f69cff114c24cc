"""JPEG: what a file would cost to decode, told by its markers alone, and the frames of a camera."""

from __future__ import annotations

import io
import re

import numpy as np
import numpy.typing as npt
from PIL import Image

# Encoders make ten scans or so; each may walk over the whole picture again.
MAX_SCANS = 32
# Browsers make one; one a colour is fine.
FRAME_SCANS = 4
# Headers, profiles and previews of phones come to some hundreds.
MAX_SEGMENTS = 2000

_START = b"\xff\xd8"
# What follows 0xff within a scan as data, as restart or as filling is no marker.
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
_END, _SCAN = 0xD9, 0xDA


def is_jpeg(content: bytes) -> bool:
    """Says whether a file begins as a JPEG does."""
    return content[:2] == _START


def is_cheap(content: bytes, scans: int = MAX_SCANS) -> bool:
    """Says whether a JPEG has no more scans and segments than a decoder should go through.

    The markers are read as a decoder reads them (ITU-T T.81, annex B), up to the end of the picture.

    Args:
        content: The file.
        scans: The most scans that are fine.
    """
    at, segments, found_scans = len(_START), 0, 0
    while (found := _MARKER.search(content, at)) is not None:
        kind = content[found.start() + 1]
        if kind == _END:
            return True
        segments += 1
        found_scans += kind == _SCAN
        if segments > MAX_SEGMENTS or found_scans > scans:
            return False
        at = found.end() + int.from_bytes(content[found.end() : found.end() + 2])
    return True


def decode_frame(content: bytes, side: int) -> npt.NDArray[np.uint8]:
    """Decodes a camera's frame: at once, as its cost is bounded by its size and its scans.

    Args:
        content: The JPEG.
        side: The most pixels that it may have on a side.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: If it is no JPEG, damaged, larger, or made to cost more than a camera's.
    """
    if not is_jpeg(content) or not is_cheap(content, FRAME_SCANS):
        raise ValueError("it is no JPEG as cameras make them")
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            if max(image.size) > side:
                raise ValueError("it is too large")
            return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except Exception as error:
        # Decoders raise whatever a broken file leads them to.
        raise ValueError("it is damaged") from error
