"""Draws an analysis onto its image: boxes, labels, blurred faces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from faceinsight.canvas import Canvas, Card, Color, Paper, make_card
from faceinsight.inference.crops import box_pixels
from faceinsight.label_layout import LabelLayout, Labelled, Place, core_of
from faceinsight.media.yuv import Colors, YuvImage
from faceinsight.results import BBox, Face, face_numbers, percent

UInt8Array = npt.NDArray[np.uint8]

# Begun by Okabe and Ito, gone on as far apart as can be (OKLab): dark text reads on all, and people with any colour
# vision tell the first ones apart. Number 15 has the colour of number 1 again.
PALETTE: tuple[Color, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 190, 140),
    (225, 140, 190),
    (240, 228, 66),
    (240, 110, 60),
    (165, 140, 255),
    (150, 215, 50),
    (140, 240, 235),
    (225, 80, 215),
    (215, 195, 160),
    (255, 105, 130),
    (150, 140, 20),
    (0, 150, 165),
)
INK: Color = (16, 20, 28)
PAPER: Color = (255, 255, 255)
# How much of a label's plate is its own colour; the rest is the picture behind it.
PLATE = 0.78
# Width of a space, and what is left free around text, in text heights.
_SPACE, _PAD = 0.25, 0.25
# Height of a line of text, and the steps in which labels widen, so that they do not tremble with their text.
_ROW, _STEP = 1.2, 0.5
# How much of each side of a box its corner marks take.
_CORNER = 0.22
LABELS = ("Number", "Age", "Gender", "Emotion", "Confidence")
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


@dataclass(frozen=True, slots=True)
class Label:
    """What is written beside a face.

    Attributes:
        tag: The number, which is left where there is no room for more; "" for none.
        lines: The rest, up to two lines.
    """

    tag: str
    lines: tuple[str, ...]


def label_of(face: Face, number: int, labels: Sequence[str] = LABELS) -> Label:
    """Returns the label of a face.

    Args:
        face: The face.
        number: Its number, counted from 1; 0 for none.
        labels: Which of `LABELS` to say.
    """
    sure = "Confidence" in labels
    first = []
    if "Age" in labels and face.age is not None:
        first.append(f"{face.age:.0f} y")
    if "Gender" in labels and face.gender is not None:
        share = f" {percent(face.gender.confidence)}" if sure else ""
        first.append(f"{face.gender.label}{share}")
    second = []
    if "Emotion" in labels and face.emotion is not None:
        share = f" {percent(face.emotion.confidence)}" if sure else ""
        second.append(f"{face.emotion.label.lower()}{share}")
    tag = str(number) if "Number" in labels and number else ""
    return Label(tag, tuple(" · ".join(line) for line in (first, second) if line))


def caption(face: Face, number: int, labels: Sequence[str] = LABELS) -> tuple[str, ...]:
    """Returns the lines of text for a face where there is no picture beside it, led by its number.

    Args:
        face: The face.
        number: Its number, counted from 1; 0 for none.
        labels: Which of `LABELS` to say.

    Returns:
        Up to two lines; none where nothing is known or asked for.
    """
    label = label_of(face, number, labels)
    if not label.tag:
        return label.lines
    about = label.lines[:1] if face.age is not None or face.gender is not None else ()
    return (" · ".join((f"#{label.tag}", *about)), *label.lines[len(about) :])


def draw(
    image: UInt8Array,
    faces: Sequence[Face],
    options: DrawOptions = DrawOptions(),
    numbers: Sequence[int] | None = None,
    layout: LabelLayout | None = None,
) -> UInt8Array:
    """Draws faces onto a copy of their image.

    Args:
        image: (H, W, 3) uint8 RGB; it is left as it is.
        faces: Faces found in it.
        options: What to draw.
        numbers: Number of each face, for its label and colour, 0 for none; None for those of `face_numbers`.
        layout: Where labels were in the frames before, by number, so that they keep their places; None for a photo.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    drawn = np.ascontiguousarray(image).copy()
    draw_into(drawn, faces, options, numbers, layout)
    return drawn


def draw_into(
    picture: UInt8Array | YuvImage,
    faces: Sequence[Face],
    options: DrawOptions = DrawOptions(),
    numbers: Sequence[int] | None = None,
    layout: LabelLayout | None = None,
) -> None:
    """Does what `draw` does, into the picture itself: (H, W, 3) uint8 RGB, contiguous, or one of a video."""
    canvas = Canvas(picture)
    if numbers is None:
        numbers = face_numbers(faces)
    if options.blur:
        for face in faces:
            _blur(canvas, face)
    text_px = text_height((canvas.height, canvas.width))
    line_px = max(round(text_px / 8), 1)
    colors = [color_of(number) for number in numbers]
    if options.boxes:
        for face, color in zip(faces, colors, strict=True):
            _mark(canvas, face.bbox, color, line_px)
    labels = [label_of(face, number, options.labels) for face, number in zip(faces, numbers, strict=True)]
    placed = [
        Labelled(face.bbox, core_of(face), label_sizes(label, text_px))
        for face, label in zip(faces, labels, strict=True)
    ]
    places = (layout or LabelLayout()).place((canvas.width, canvas.height), placed, numbers, gap=line_px + 1)
    for place, color in zip(places, colors, strict=True):
        if place is not None and place.leader is not None:
            x1, y1, x2, y2 = (round(v) for v in place.leader)
            for ink, width in ((INK, line_px + 2), (color, line_px)):
                canvas.lines([[(x1, y1), (x2, y2)]], ink, width, smooth=True)
    for place, label, color in zip(places, labels, colors, strict=True):
        if place is not None:
            _paste(canvas, place, label, text_px, color)


def text_height(shape: Sequence[int]) -> int:
    """Returns the height of label text in pixels that suits an image of a shape (H, W, ...)."""
    return int(np.clip(min(shape[:2]) / 36, 11, 40))


def label_sizes(label: Label, text_px: int) -> tuple[tuple[float, float], ...]:
    """Returns (width, height) in pixels of a label as a whole, and of its tag alone; what there is of it."""
    pad, row = _paddings(text_px)
    sizes: list[tuple[float, float]] = []
    if label.lines:
        step = max(round(text_px * _STEP), 1)
        text = max(_width(line, text_px) for line in label.lines) + 2 * pad
        sizes.append((_tag_width(label, text_px) + math.ceil(text / step) * step, row * len(label.lines) + pad))
    if label.tag:
        sizes.append((_tag_width(label, text_px), row + pad))
    return tuple(sizes)


def _paddings(text_px: int) -> tuple[int, int]:
    return max(round(text_px * _PAD), 2), round(text_px * _ROW)


def _width(line: str, text_px: int) -> int:
    words = [_word(word, text_px).shape[1] for word in line.split(" ")]
    return int(sum(words)) + round(text_px * _SPACE) * (len(words) - 1)


def _tag_width(label: Label, text_px: int) -> int:
    """Returns the width of the coloured part of a label, which has the number; a bar where there is none."""
    pad, _ = _paddings(text_px)
    return _width(label.tag, text_px) + 2 * pad if label.tag else pad


def _paste(canvas: Canvas, place: Place, label: Label, text_px: int, color: Color) -> None:
    left, top = round(place.box[0]), round(place.box[1])
    size = (round(place.box[2] - place.box[0]), round(place.box[3] - place.box[1]))
    # What is in its shortest form has no lines.
    shown = label if size[0] > _tag_width(label, text_px) else Label(label.tag, ())
    canvas.lay(_card(shown, size, text_px, color, canvas.colors), left, top)


@lru_cache(maxsize=64)
def _card(label: Label, size: tuple[int, int], text_px: int, color: Color, colors: Colors | None) -> Card:
    """Makes a label: the number on the face's colour, the rest on a dark plate that lets light through.

    Cached: from frame to frame most labels stay what they are.
    """
    pad, row = _paddings(text_px)
    width, height = size
    tag = _tag_width(label, text_px)
    text = np.zeros((height, width), np.uint8)
    if label.tag:
        _write(text[:, :tag], label.tag, (pad, (height - row) // 2), text_px)
    for number, line in enumerate(label.lines):
        _write(text[:, tag:], line, (pad, pad // 2 + number * row), text_px)
    return make_card(text, ((tag, Paper(color, 1, INK)), (width - tag, Paper(INK, PLATE, PAPER))), colors)


def _write(text: UInt8Array, line: str, at: tuple[int, int], text_px: int) -> None:
    """Writes a line of text onto a part of a card, word by word: most words are those of other lines too."""
    left, top = at
    for each in line.split(" "):
        word = _word(each, text_px)
        part = text[top : top + word.shape[0], left : left + word.shape[1]]
        np.maximum(part, word[: part.shape[0], : part.shape[1]], out=part)
        left += word.shape[1] + round(text_px * _SPACE)


@lru_cache(maxsize=4096)
def _word(text: str, text_px: int) -> UInt8Array:
    """Returns how opaque a word is (H, W), of 255; cached, as letters take longer than all else that is drawn."""
    font = ImageFont.load_default(text_px)
    card = Image.new("L", (math.ceil(font.getlength(text)), round(text_px * _ROW)))
    ImageDraw.Draw(card).text((0, 0), text, font=font, fill=255)
    word = np.array(card, np.uint8)
    word.setflags(write=False)
    return word


def _mark(canvas: Canvas, box: BBox, color: Color, line_px: int) -> None:
    """Draws the corners of a box, each on a dark line that shows on bright pictures."""
    x1, y1, x2, y2 = (round(v) for v in box)
    across, down = round((x2 - x1) * _CORNER), round((y2 - y1) * _CORNER)
    corners = [
        [(x, y + dy), (x, y), (x + dx, y)]
        for x, dx in ((x1, across), (x2, -across))
        for y, dy in ((y1, down), (y2, -down))
    ]
    canvas.lines(corners, INK, line_px + 2)
    canvas.lines(corners, color, line_px)


def _blur(canvas: Canvas, face: Face) -> None:
    """Makes a face unrecognisable: a mosaic of six cells across, then smoothed.

    A Gaussian blur alone can be partly undone; what a mosaic averages away is gone. A steady box lags
    behind a face that begins to move: where the frame itself shows it counts too, and a little more.
    """
    boxes = [face.bbox] if face.raw is None else [face.bbox, face.raw.bbox]
    more = _BLUR_MARGIN * face.side
    low, high = np.min(boxes, axis=0) - more, np.max(boxes, axis=0) + more
    canvas.mosaic((float(low[0]), float(low[1]), float(high[2]), float(high[3])))


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
