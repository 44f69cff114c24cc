"""Draws an analysis onto its image: boxes, labels, blurred faces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from faceinsight.inference.crops import box_pixels
from faceinsight.results import Face, face_numbers, percent

UInt8Array = npt.NDArray[np.uint8]
Color = tuple[int, int, int]

# Okabe and Ito's colours: people with any colour vision tell them apart, dark text reads on all.
PALETTE: tuple[Color, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 190, 140),
    (240, 228, 66),
    (225, 140, 190),
    (240, 120, 60),
)
_INK: Color = (16, 20, 28)
# Width of a space, in text heights.
_SPACE = 0.25
LABELS = ("Number", "Age", "Gender", "Emotion", "Confidence")
# Below this width a label would hide its face: the number alone is drawn.
_NARROW_IN_TEXT_HEIGHTS = 2.0
# Blurred beyond the box, as a share of the face's longest side.
_BLUR_MARGIN = 0.1


@dataclass(frozen=True, slots=True)
class DrawOptions:
    """What to draw.

    Attributes:
        labels: Which of `LABELS` to write above a face.
        boxes: Whether to draw the boxes.
        blur: Whether to blur the faces themselves.
    """

    labels: tuple[str, ...] = LABELS
    boxes: bool = True
    blur: bool = False


def color_of(number: int) -> Color:
    """Returns the RGB colour of face or person `number`, counted from 1."""
    return PALETTE[(number - 1) % len(PALETTE)]


def caption(face: Face, number: int, labels: Sequence[str] = LABELS) -> tuple[str, ...]:
    """Returns the lines of text for a face.

    Args:
        face: The face.
        number: Its number, counted from 1; 0 for none.
        labels: Which of `LABELS` to say.

    Returns:
        Up to two lines; none where nothing is known or asked for.
    """
    sure = "Confidence" in labels
    first = [f"#{number}"] if "Number" in labels and number else []
    if "Age" in labels and face.age is not None:
        first.append(f"{face.age:.0f} y")
    if "Gender" in labels and face.gender is not None:
        share = f" {percent(face.gender.confidence)}" if sure else ""
        first.append(f"{face.gender.label}{share}")
    second = []
    if "Emotion" in labels and face.emotion is not None:
        share = f" {percent(face.emotion.confidence)}" if sure else ""
        second.append(f"{face.emotion.label.lower()}{share}")
    return tuple(" · ".join(line) for line in (first, second) if line)


def draw(
    image: UInt8Array,
    faces: Sequence[Face],
    options: DrawOptions = DrawOptions(),
    numbers: Sequence[int] | None = None,
) -> UInt8Array:
    """Draws faces onto a copy of their image.

    Args:
        image: (H, W, 3) uint8 RGB; it is left as it is.
        faces: Faces found in it.
        options: What to draw.
        numbers: Number of each face, for its label and colour, 0 for none; None for those of `face_numbers`.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    canvas = np.ascontiguousarray(image).copy()
    if numbers is None:
        numbers = face_numbers(faces)
    if options.blur:
        for face in faces:
            _blur(canvas, face)
    text_px = text_height(canvas.shape)
    line_px = max(round(text_px / 8), 1)
    if options.boxes:
        for face, number in zip(faces, numbers, strict=True):
            x1, y1, x2, y2 = (round(v) for v in face.bbox)
            cv2.rectangle(canvas, (x1, y1), (x2, y2), color_of(number), line_px)
    # The surest face last, so that its label lies on top.
    for face, number in reversed(list(zip(faces, numbers, strict=True))):
        lines = label_lines(face, number, options.labels, text_px)
        if lines:
            _paste_label(canvas, face, _label_patch(lines, text_px, color_of(number)), line_px)
    return canvas


def text_height(shape: Sequence[int]) -> int:
    """Returns the height of label text in pixels that suits an image of a shape (H, W, ...)."""
    return int(np.clip(min(shape[:2]) / 28, 11, 48))


def label_lines(face: Face, number: int, labels: Sequence[str], text_px: int) -> tuple[str, ...]:
    """Returns the lines to write above a face: its `caption`, or the number alone where that would hide it."""
    if face.width < text_px * _NARROW_IN_TEXT_HEIGHTS:
        return (f"#{number}",) if "Number" in labels and number else ()
    return caption(face, number, labels)


def _label_patch(lines: tuple[str, ...], text_px: int, color: Color) -> UInt8Array:
    """Puts text on a coloured card, word by word: most words are those of the last frame."""
    pad = max(text_px // 4, 2)
    space = round(text_px * _SPACE)
    words = [[_word(word, text_px, color) for word in line.split(" ")] for line in lines]
    row = words[0][0].shape[0]
    width = max(sum(word.shape[1] for word in line) + space * (len(line) - 1) for line in words)
    patch = np.empty((row * len(lines) + pad, width + 2 * pad, 3), np.uint8)
    patch[:] = color
    for number, line in enumerate(words):
        top, left = pad // 2 + number * row, pad
        for word in line:
            patch[top : top + row, left : left + word.shape[1]] = word
            left += word.shape[1] + space
    return patch


@lru_cache(maxsize=4096)
def _word(text: str, text_px: int, color: Color) -> UInt8Array:
    """Renders a word (H, W, 3); cached, as drawing letters takes longer than all else that is drawn."""
    font = ImageFont.load_default(text_px)
    card = Image.new("RGB", (math.ceil(font.getlength(text)), round(text_px * 1.2)), color)
    ImageDraw.Draw(card).text((0, 0), text, font=font, fill=_INK)
    word = np.asarray(card)
    word.setflags(write=False)
    return word


def _paste_label(canvas: UInt8Array, face: Face, patch: UInt8Array, line_px: int) -> None:
    """Puts a label above its box, or inside the top of the box where there is no room above."""
    height, width = canvas.shape[:2]
    patch = patch[:height, :width]
    rows, columns = patch.shape[:2]
    top = round(face.bbox[1]) - rows - line_px // 2
    if top < 0:
        top = round(face.bbox[1]) + line_px
    left = round(face.bbox[0]) - line_px // 2
    top = min(max(top, 0), height - rows)
    left = min(max(left, 0), width - columns)
    canvas[top : top + rows, left : left + columns] = patch


def _blur(canvas: UInt8Array, face: Face) -> None:
    """Makes a face unrecognisable: a mosaic of six cells across, then smoothed.

    A Gaussian blur alone can be partly undone; what a mosaic averages away is gone. A steady box lags
    behind a face that begins to move: where the frame itself shows it counts too, and a little more.
    """
    boxes = [face.bbox] if face.raw is None else [face.bbox, face.raw.bbox]
    more = _BLUR_MARGIN * face.side
    low, high = np.min(boxes, axis=0) - more, np.max(boxes, axis=0) + more
    x1, y1, x2, y2 = box_pixels(canvas, (low[0], low[1], high[2], high[3]))
    region = canvas[y1:y2, x1:x2]
    cells = cv2.resize(region, (6, 6), interpolation=cv2.INTER_AREA)
    canvas[y1:y2, x1:x2] = cv2.resize(cells, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)


def face_thumbnail(image: UInt8Array, face: Face, margin: float = 0.25) -> UInt8Array:
    """Returns the part of an image around a face.

    Args:
        image: (H, W, 3) uint8 RGB.
        face: A face found in it.
        margin: How much more to show on every side, as a share of the longest side of the box.

    Returns:
        (h, w, 3) uint8 RGB, inside the image.
    """
    extra = face.side * margin
    x1, y1, x2, y2 = face.bbox
    x1, y1, x2, y2 = box_pixels(image, (x1 - extra, y1 - extra, x2 + extra, y2 + extra))
    return np.ascontiguousarray(image[y1:y2, x1:x2])
