"""Pictures as video has them: a plane of brightness, and two of colour at half the size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]

# Decoders' names for what is 4:2:0 in 8 bits already; the second one says that black is 0 and white is 255.
_PLANAR, _FULL = "yuv420p", "yuvj420p"
_LIMITED_RANGE, _FULL_RANGE = 1, 2
# Of ITU-T H.273: RGB itself, what is not said, BT.601 (as FFmpeg reads what is not said), and the weights of red and
# blue in the brightness by the matrices that differ.
_RGB, _UNSAID, _BT601 = 0, 2, 6
_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
_BT601_WEIGHTS = (0.299, 0.114)
_KNOWN = (_RGB, _UNSAID, 5, _BT601, *_WEIGHTS)
# OpenCV's numbers for a flip from left to right, from top to bottom, and both.
_FLIPS = {(True, False): 1, (False, True): 0, (True, True): -1}


@dataclass(frozen=True, slots=True)
class Colors:
    """How the numbers of a picture become colours, in the numbers of ITU-T H.273.

    Attributes:
        matrix: Which matrix makes brightness and colour differences of RGB.
        range: 2 where black is 0 and white 255, else they are 16 and 235.
        primaries: Which red, green and blue.
        transfer: Which curve.
    """

    matrix: int = _UNSAID
    range: int = 0
    primaries: int = _UNSAID
    transfer: int = _UNSAID

    def matrix_of_rgb(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Returns (3, 3) and (3,) float32: RGB in [0, 255] times the one and plus the other is (Y, U, V)."""
        red, blue = _WEIGHTS.get(self.matrix, _BT601_WEIGHTS)
        luma = np.array([red, 1 - red - blue, blue])
        rows = np.stack([luma, (np.eye(3)[2] - luma) / (2 * (1 - blue)), (np.eye(3)[0] - luma) / (2 * (1 - red))])
        if self.range == _FULL_RANGE:
            return rows.astype(np.float32), np.array([0, 128, 128], np.float32)
        reach = np.array([[219], [224], [224]]) / 255
        return (rows * reach).astype(np.float32), np.array([16, 128, 128], np.float32)

    def of_rgb(self, color: tuple[int, int, int]) -> tuple[int, int, int]:
        """Returns an RGB colour as (Y, U, V)."""
        return _yuv(self, color)


@dataclass(frozen=True, slots=True)
class YuvImage:
    """A picture in 4:2:0, 8 bits; where its sides are odd, the last column or row is there twice.

    Attributes:
        data: (H * 3 / 2, W) uint8 with the planes Y, U and V below each other, H and W even.
        width: Width of the picture in pixels: W, or one less.
        height: Height of the picture in pixels: H, or one less.
        colors: How its numbers become colours.
    """

    data: UInt8Array
    width: int
    height: int
    colors: Colors = Colors()

    @classmethod
    def of_frame(cls, frame: av.VideoFrame, size: tuple[int, int] | None = None) -> YuvImage:
        """Takes a decoded frame over, turned upright.

        Args:
            frame: The frame, in any format.
            size: Width and height to bring it to before it is turned; None for its own.
        """
        lies, flip = _way_up(frame)
        if frame.colorspace not in _KNOWN:
            # FFmpeg converts no other; what a clip says of its colours does not make it unreadable.
            frame.colorspace = _UNSAID
        frame = _planar(frame, size or (frame.width, frame.height))
        full = frame.format.name == _FULL or frame.color_range == _FULL_RANGE
        colors = Colors(
            _BT601 if frame.colorspace == _RGB else int(frame.colorspace),
            _FULL_RANGE if full else int(frame.color_range),
            int(frame.color_primaries),
            int(frame.color_trc),
        )
        width, height = (frame.height, frame.width) if lies else (frame.width, frame.height)
        image = cls.blank(width, height, colors)
        planes: Any = frame.planes
        for target, plane in zip(image.planes, planes, strict=True):
            source = _pixels_of(plane)
            if lies:
                source = np.asarray(cv2.transpose(source), np.uint8)
            if flip is not None:
                source = np.asarray(cv2.flip(source, flip), np.uint8)
            _fill(target, source)
        return image

    @classmethod
    def of_rgb(cls, pixels: UInt8Array) -> YuvImage:
        """Takes a picture (H, W, 3) uint8 RGB over."""
        height, width = pixels.shape[:2]
        even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        made = cls.of_frame(av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24"))
        return cls(made.data, width, height, made.colors)

    @classmethod
    def blank(cls, width: int, height: int, colors: Colors = Colors()) -> YuvImage:
        """Returns a picture of a size whose content nobody has set yet."""
        return cls(np.empty(((height + height % 2) * 3 // 2, width + width % 2), np.uint8), width, height, colors)

    @property
    def planes(self) -> tuple[UInt8Array, UInt8Array, UInt8Array]:
        """Brightness (H, W), and the colour differences to blue and to red (H / 2, W / 2); changes are of the image."""
        rows, wide = self.data.shape[0] * 2 // 3, self.data.shape[1]
        chroma = self.data[rows:].reshape(2, rows // 2, wide // 2)
        return self.data[:rows], chroma[0], chroma[1]

    @property
    def luma(self) -> UInt8Array:
        """Brightness of the picture alone, (height, width)."""
        return self.data[: self.height, : self.width]

    def rgb(self) -> UInt8Array:
        """Returns (height, width, 3) uint8 RGB."""
        pixels = np.asarray(self.frame().to_ndarray(format="rgb24", threads=1), np.uint8)
        return np.ascontiguousarray(pixels[: self.height, : self.width])

    def frame(self) -> av.VideoFrame:
        """Returns a copy of the image, rows and columns that are there twice included, as a frame for FFmpeg."""
        height, width = self.planes[0].shape
        frame = av.VideoFrame(width, height, _PLANAR)
        planes: Any = frame.planes
        for plane, source in zip(planes, self.planes, strict=True):
            _pixels_of(plane)[:] = source
        frame.colorspace, frame.color_range = self.colors.matrix, self.colors.range
        return frame


@lru_cache(maxsize=256)
def _yuv(colors: Colors, color: tuple[int, int, int]) -> tuple[int, int, int]:
    rows, offsets = colors.matrix_of_rgb()
    y, u, v = np.clip(np.rint(rows @ np.array(color, np.float32) + offsets), 0, 255).astype(int).tolist()
    return y, u, v


def _way_up(frame: av.VideoFrame) -> tuple[bool, int | None]:
    """Returns how a frame comes upright: whether it is transposed, and how it is flipped then, as OpenCV has it.

    To the nearest quarter turn: what a player shows slanted does not fit its rectangle.
    """
    a, b, c, d = _display_matrix(frame)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, _FLIPS.get((a < 0, d < 0))
    return True, _FLIPS.get((c < 0, b < 0))


def _display_matrix(frame: Any) -> tuple[float, float, float, float]:
    """Returns a, b, c, d: what a frame has at (x, y) is shown at (a x + c y, b x + d y), but for a shift."""
    try:
        said = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # FFmpeg tells something else of the frame too, of a kind that PyAV does not know; it knows the angle still.
        cos, sin = math.cos(math.radians(frame.rotation)), math.sin(math.radians(frame.rotation))
        return cos, -sin, sin, cos
    if said is None:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = np.frombuffer(said, np.int32).tolist()
    return a, b, c, d


def _planar(frame: av.VideoFrame, size: tuple[int, int]) -> av.VideoFrame:
    """Returns a frame in 4:2:0 and 8 bits, of a size."""
    planar = frame.format.name in (_PLANAR, _FULL)
    if not planar or size != (frame.width, frame.height):
        color = {"dst_colorspace": _BT601 - 1, "dst_color_range": _LIMITED_RANGE} if frame.format.is_rgb else {}
        target = frame.format.name if planar else _PLANAR
        frame = frame.reformat(width=size[0], height=size[1], format=target, threads=1, **color)
    if any(plane.line_size < 0 for plane in frame.planes):  # stored from the last row to the first
        frame = frame.reformat(format="yuv444p", threads=1).reformat(format=_PLANAR, threads=1)
    return frame


def _pixels_of(plane: Any) -> UInt8Array:
    """Returns the pixels of a frame's plane, (h, w); changes are the plane's."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def _fill(target: UInt8Array, source: UInt8Array) -> None:
    """Copies a plane into one that may be larger by a row or a column, which repeats the last one."""
    height, width = source.shape
    target[:height, :width] = source
    target[:height, width:] = source[:, -1:]
    target[height:] = target[height - 1]
