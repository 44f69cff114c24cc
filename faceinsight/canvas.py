"""What is drawn on: a picture in RGB, or the planes of a video's picture as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from faceinsight.inference.crops import box_pixels
from faceinsight.media.yuv import Colors, YuvImage
from faceinsight.results import BBox

UInt8Array = npt.NDArray[np.uint8]
Color = tuple[int, int, int]

# Cells of a mosaic across a face.
_CELLS = 6


@dataclass(frozen=True, slots=True)
class Card:
    """A small picture to lay over another one, one entry a plane of that.

    Attributes:
        inks: (h, w) or (h, w, 3) uint8, what is added.
        shares: The same shape, how much of what lies below is left, of 255.
    """

    inks: tuple[UInt8Array, ...]
    shares: tuple[UInt8Array, ...]


@dataclass(frozen=True, slots=True)
class _Plane:
    pixels: UInt8Array
    # Pixels of the picture for one of the plane, across and down.
    step: int
    ink: Callable[[Color], tuple[int, ...]]


class Canvas:
    """A picture that is drawn on; coordinates are pixels of the picture.

    Attributes:
        width: Its width in pixels.
        height: Its height in pixels.
        colors: How a video's numbers become colours; None for RGB.
    """

    def __init__(self, picture: UInt8Array | YuvImage) -> None:
        """Takes (H, W, 3) uint8 RGB, contiguous, or a video's picture; what is drawn is drawn into it."""
        self.colors: Colors | None = None
        self._planes: tuple[_Plane, ...]
        if isinstance(picture, YuvImage):
            self.width, self.height, self.colors = picture.width, picture.height, picture.colors
            inks = picture.colors.of_rgb
            luma, blue, red = picture.planes
            self._planes = (
                _Plane(luma, 1, lambda color: inks(color)[:1]),
                _Plane(blue, 2, lambda color: inks(color)[1:2]),
                _Plane(red, 2, lambda color: inks(color)[2:]),
            )
        else:
            self.height, self.width = picture.shape[:2]
            self._planes = (_Plane(picture, 1, lambda color: color),)

    def lines(self, lines: Sequence[Sequence[tuple[int, int]]], color: Color, width: int, smooth: bool = False) -> None:
        """Draws open lines through points (x, y)."""
        points = [np.array(line, np.int32) for line in lines]
        for plane in self._planes:
            scaled = points if plane.step == 1 else [line // plane.step for line in points]
            thick = max(width // plane.step, 1)
            cv2.polylines(plane.pixels, scaled, False, plane.ink(color), thick, cv2.LINE_AA if smooth else cv2.LINE_8)

    def lay(self, card: Card, left: int, top: int) -> None:
        """Lays a card of `make_card` over the picture, its upper left corner as near to a place as planes allow."""
        for plane, ink, share in zip(self._planes, card.inks, card.shares, strict=True):
            # A pixel of a colour plane is two of the picture.
            coarsest = self._planes[-1].step
            x, y = (value // coarsest * coarsest // plane.step for value in (left, top))
            part = plane.pixels[y : y + ink.shape[0], x : x + ink.shape[1]]
            if part.size:
                rows, columns = part.shape[:2]
                cv2.multiply(part, share[:rows, :columns], dst=part, scale=1 / 255)
                cv2.add(part, ink[:rows, :columns], dst=part)

    def mosaic(self, box: BBox) -> None:
        """Makes what is in a box unrecognisable: six cells across, smoothed."""
        for plane in self._planes:
            scaled = (box[0] / plane.step, box[1] / plane.step, box[2] / plane.step + 1, box[3] / plane.step + 1)
            x1, y1, x2, y2 = box_pixels(plane.pixels, box if plane.step == 1 else scaled)
            part = plane.pixels[y1:y2, x1:x2]
            cells = cv2.resize(part, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
            plane.pixels[y1:y2, x1:x2] = cv2.resize(cells, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True, slots=True)
class Paper:
    """What a part of a card is made of.

    Attributes:
        color: RGB of the paper.
        opacity: How much of it shows of the paper, in [0, 1]; the rest is the picture below.
        ink: RGB of what is written on it.
    """

    color: Color
    opacity: float
    ink: Color


def make_card(text: UInt8Array, parts: Sequence[tuple[int, Paper]], colors: Colors | None) -> Card:
    """Makes a card for a kind of canvas.

    Args:
        text: (h, w) uint8, how much ink there is, of 255.
        parts: From left to right, the width of a part in pixels and its paper.
        colors: Of the canvas it is for.
    """
    if colors is None:
        layers = [_printed(text, parts, 1, n, None) for n in range(3)]
        return Card((np.dstack([ink for ink, _ in layers]),), (np.dstack([share for _, share in layers]),))
    even = np.pad(text, ((0, text.shape[0] % 2), (0, text.shape[1] % 2)))
    size = (even.shape[1] // 2, even.shape[0] // 2)
    half = np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), np.uint8)
    layers = [
        _printed(mask, parts, step, n, colors) for n, (mask, step) in enumerate(((even, 1), (half, 2), (half, 2)))
    ]
    return Card(tuple(ink for ink, _ in layers), tuple(share for _, share in layers))


def _printed(
    text: UInt8Array, parts: Sequence[tuple[int, Paper]], step: int, channel: int, colors: Colors | None
) -> tuple[UInt8Array, UInt8Array]:
    """Returns one channel of a card: what is added, and what is left of what lies below."""
    ink, share = np.empty_like(text), np.empty_like(text)
    written = np.arange(256) / 255
    left = 0
    for number, (width, paper) in enumerate(parts, start=1):
        right = text.shape[1] if number == len(parts) else left + width // step
        page, letter = (
            (color if colors is None else colors.of_rgb(color))[channel] for color in (paper.color, paper.ink)
        )
        added = paper.opacity * page * (1 - written) + letter * written
        below = 255 * (1 - paper.opacity) * (1 - written)
        for target, table in ((ink, added), (share, below)):
            target[:, left:right] = np.rint(table).astype(np.uint8)[text[:, left:right]]
        left = right
    return ink, share
