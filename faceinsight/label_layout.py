"""Where labels go so that none hides a face or another label: rectangles in, places out.

Greedy point-feature labelling: every label has a list of places around its box, the best one first, and takes the
first that is free. assets/js/labels.js follows the same rules, and a test holds both to the same answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from faceinsight.results import BBox, Face

Size = tuple[float, float]

# The eyes-to-mouth area reaches so far beyond the key points, as a share of the box's longest side.
_CORE_MARGIN = 0.14
# Where there are no key points: the area's sides as shares of the box's.
_CORE = (0.15, 0.22, 0.85, 0.88)
# How far away a label at the end of a line lies, in label heights.
_FAR = (0.8, 1.8)
# Calls for which a better place has to be free before a label moves there.
_PATIENCE = 15
# What a place is: clear of all boxes, on its own box, at the end of a line, or on any box that is there.
_OUTSIDE, _OWN, _LED, _CORNER = range(4)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a label lies.

    Attributes:
        variant: Which of the label's sizes it has.
        spot: Which of the places around the box it is.
        box: (x1, y1, x2, y2) of the label in pixels, inside the picture.
        leader: (x1, y1, x2, y2) of a line from the label to its box; None where it lies at it.
        waited: For how many calls a better place has been free.
    """

    variant: int
    spot: int
    box: BBox
    leader: BBox | None = None
    waited: int = 0


@dataclass(frozen=True, slots=True)
class Labelled:
    """A face with a label to be placed.

    Attributes:
        box: (x1, y1, x2, y2) in pixels.
        core: The eyes-to-mouth area, as of `core_of`, which no label may touch.
        sizes: (width, height) of the label in pixels: whole, then shorter and shorter. None for no label.
        before: Where the label was in the frame before; None in a photo.
    """

    box: BBox
    core: BBox
    sizes: tuple[Size, ...]
    before: Place | None = None


def core_of(face: Face) -> BBox:
    """Returns a face's eyes-to-mouth area as (x1, y1, x2, y2) in pixels."""
    if face.kps is None:
        x1, y1 = face.bbox[:2]
        left, top, right, bottom = _CORE
        return (x1 + left * face.width, y1 + top * face.height, x1 + right * face.width, y1 + bottom * face.height)
    xs, ys = [x for x, _ in face.kps], [y for _, y in face.kps]
    more = _CORE_MARGIN * face.side
    return (min(xs) - more, min(ys) - more, max(xs) + more, max(ys) + more)


def place_labels(size: Size, faces: Sequence[Labelled], gap: float) -> list[Place | None]:
    """Finds a place for every label.

    In a stream, a label keeps its place for as long as it is free: it goes to a better one only when that has been
    free for a while.

    Args:
        size: Width and height of the picture in pixels.
        faces: The faces; what is not a face's own is kept clear of.
        gap: Pixels between a label and its box, and between two labels.

    Returns:
        A place a face, None where there is none or nothing to place. No two overlap each other, and none overlaps
        an eyes-to-mouth area. None lies on a face's box, but for a label inside its own where there is no other
        place, and its shortest form, which may then lie in a corner of its box whoever else's box is there.
    """
    layout = _Layout(size, faces, gap)
    order = sorted(range(len(faces)), key=lambda n: (_area(faces[n].box), n))
    for n in order[::-1]:
        layout.keep(n)
    kept = [place is not None for place in layout.places]
    # Everybody gets the short form first: the whole one for some must not take the last place of another.
    for n in order:
        if layout.places[n] is None:
            layout.place(n, len(faces[n].sizes) - 1)
    for n in order[::-1]:
        if kept[n]:
            layout.improve(n)
        else:
            layout.place(n)
    return layout.places


class LabelLayout:
    """Places the labels of frame after frame: each keeps its place for as long as that is free."""

    def __init__(self) -> None:
        """Begins with no frame."""
        self._places: dict[int, Place] = {}

    def place(self, size: Size, faces: Sequence[Labelled], numbers: Sequence[int], gap: float) -> list[Place | None]:
        """Does what `place_labels` does, for the next frame.

        Args:
            size: Width and height of the picture in pixels.
            faces: The faces; their `before` is found here.
            numbers: Who each of them is; 0 for nobody yet.
            gap: As of `place_labels`.
        """
        faces = [replace(face, before=self._places.get(n)) for face, n in zip(faces, numbers, strict=True)]
        places = place_labels(size, faces, gap)
        self._places = {n: place for n, place in zip(numbers, places, strict=True) if n and place is not None}
        return places


class _Layout:
    """The labels that have a place so far."""

    def __init__(self, size: Size, faces: Sequence[Labelled], gap: float) -> None:
        self.size, self.faces, self.gap = size, faces, gap
        self.places: list[Place | None] = [None] * len(faces)

    def keep(self, n: int) -> None:
        """Leaves a label where it was, if that is free; a little nearness is forgiven then."""
        face, before = self.faces[n], self.faces[n].before
        if before is not None and before.variant < len(face.sizes):
            place = self._first_free(n, [before.variant], 0.0, only=before.spot)
            self.places[n] = place and replace(place, waited=before.waited)

    def place(self, n: int, first: int = 0) -> None:
        """Puts a label at its best free place, in the form `first` or a shorter one; one it has stays the least."""
        place = self._first_free(n, range(max(first, 0), len(self.faces[n].sizes)), self.gap)
        self.places[n] = place or self.places[n]

    def improve(self, n: int) -> None:
        """Moves a label to a better place that has been free for long enough."""
        now = self.places[n]
        assert now is not None
        better = self._first_free(n, range(now.variant + 1), self.gap, until=now)
        if better is None:
            self.places[n] = replace(now, waited=0)
        elif now.waited < _PATIENCE:
            self.places[n] = replace(now, waited=now.waited + 1)
        else:
            self.places[n] = better

    def _first_free(
        self, n: int, variants: Sequence[int], gap: float, *, only: int | None = None, until: Place | None = None
    ) -> Place | None:
        """Returns the first free place; of all places, of one spot alone, or of those before another place."""
        face = self.faces[n]
        for variant in variants:
            wide, high = face.sizes[variant]
            if wide > self.size[0] or high > self.size[1]:
                continue
            spots = _spots(face.box, (wide, high), self.gap, variant == len(face.sizes) - 1)
            in_the_way, cores = self._obstacles(n, self._reach(spots, (wide, high)), gap)
            for spot, (kind, x, y) in enumerate(spots):
                if until is not None and (variant, spot) >= (until.variant, until.spot):
                    return None
                if only is not None and spot != only:
                    continue
                left, top = self._inside(x, y, wide, high)
                right, bottom = left + wide, top + high
                for x1, y1, x2, y2 in in_the_way[kind]:
                    if left < x2 and x1 < right and top < y2 and y1 < bottom:
                        break
                else:
                    box = (left, top, right, bottom)
                    leader = _leader(box, face.box) if kind == _LED else None
                    if leader is None or not any(crosses(leader, core) for core in cores):
                        return Place(variant, spot, box, leader)
        return None

    def _inside(self, x: float, y: float, wide: float, high: float) -> tuple[float, float]:
        """Returns the corner of a label at (x, y), moved into the picture where it would leave it."""
        return max(min(x, self.size[0] - wide), 0.0), max(min(y, self.size[1] - high), 0.0)

    def _reach(self, spots: Sequence[tuple[int, float, float]], size: Size) -> BBox:
        """Returns a rectangle around all places of a label."""
        xs, ys = [x for _, x, _ in spots], [y for _, _, y in spots]
        x1, y1 = self._inside(min(xs), min(ys), *size)
        x2, y2 = self._inside(max(xs), max(ys), *size)
        return (x1, y1, x2 + size[0], y2 + size[1])

    def _obstacles(self, n: int, reach: BBox, gap: float) -> tuple[tuple[list[BBox], ...], list[BBox]]:
        """Returns what a label must not lie on, by the kind of its place, and what its line must not cross."""
        own = self.faces[n]
        others = [f for m, f in enumerate(self.faces) if m != n and (overlaps(reach, f.box) or overlaps(reach, f.core))]
        labels = [(p.box[0] - gap, p.box[1] - gap, p.box[2] + gap, p.box[3] + gap) for p in self._others(n)]
        labels = [label for label in labels if overlaps(reach, label)]
        cores, boxes = [face.core for face in others], [face.box for face in others]
        clear = [own.box, own.core, *labels, *boxes, *cores]
        return (clear, clear[1:], clear, [own.core, *labels, *cores]), labels + cores

    def _others(self, n: int) -> list[Place]:
        return [place for m, place in enumerate(self.places) if place is not None and m != n]


def _spots(box: BBox, size: Size, gap: float, short: bool) -> list[tuple[int, float, float]]:
    """Returns (kind, x, y) of the places of a label around its box, the best one first; (x, y) is its upper left."""
    wide, high = size
    x1, y1, x2, y2 = box
    above, below, left, right = y1 - gap - high, y2 + gap, x1 - gap - wide, x2 + gap
    end, foot, middle = x2 - wide, y2 - high, (x1 + x2 - wide) / 2
    outside = [(x1, above), (x1, below), (right, y1), (left, y1), (end, above), (end, below)]
    outside += [(right, foot), (left, foot), (middle, above), (middle, below)]
    inside = [(x1, foot), (x1, y1), (end, foot), (end, y1)]
    spots = [(_OUTSIDE, x, y) for x, y in outside] + [(_OWN, x, y) for x, y in inside]
    for away in (far * high for far in _FAR):
        spots += [(_LED, x1, above - away), (_LED, x1, below + away)]
        spots += [(_LED, right + away, y1), (_LED, left - away, y1)]
        spots += [(_LED, right + away, above - away), (_LED, left - away, above - away)]
        spots += [(_LED, right + away, below + away), (_LED, left - away, below + away)]
    return spots + [(_CORNER, x, y) for x, y in inside] if short else spots


def overlaps(a: BBox, b: BBox) -> bool:
    """Whether two rectangles share more than a border."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def crosses(line: BBox, box: BBox) -> bool:
    """Whether a line from (x1, y1) to (x2, y2) meets a rectangle (Liang and Barsky's clipping)."""
    x, y = line[0], line[1]
    dx, dy = line[2] - x, line[3] - y
    enter, leave = 0.0, 1.0
    for step, room in ((-dx, x - box[0]), (dx, box[2] - x), (-dy, y - box[1]), (dy, box[3] - y)):
        if step == 0:
            if room < 0:
                return False
        elif step < 0:
            enter = max(enter, room / step)
        else:
            leave = min(leave, room / step)
    return enter < leave


def _leader(label: BBox, box: BBox) -> BBox:
    """Returns a line from the border of a label to the nearest point of its box."""
    x = _nearest(label[0], label[2], box[0], box[2])
    y = _nearest(label[1], label[3], box[1], box[3])
    return (x[0], y[0], x[1], y[1])


def _nearest(a1: float, a2: float, b1: float, b2: float) -> tuple[float, float]:
    """Returns the points of two ranges that are nearest to each other; the middle of what they share."""
    if a2 < b1:
        return a2, b1
    if b2 < a1:
        return a1, b2
    middle = (max(a1, b1) + min(a2, b2)) / 2
    return middle, middle


def _area(box: BBox) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
