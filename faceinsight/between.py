"""Where faces are between two analysed frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from faceinsight.results import BBox, Face
from faceinsight.tracking import iou

# A face that has no number yet is the same in both frames where its boxes overlap so much.
_SAME = 0.3


def faces_between(before: Sequence[Face], after: Sequence[Face], share: float, every: bool = False) -> tuple[Face, ...]:
    """Returns the faces of a moment between two analysed frames of one scene.

    Who is in both moves on a straight line, with the answers of the earlier one. Who is in one alone is seen in the
    half of the time that is nearer to it, in its place: nobody slides in from somebody else's.

    Args:
        before: The faces of the earlier frame.
        after: The faces of the later one.
        share: How much of the time between them has passed, in [0, 1].
        every: Whether who is in one frame alone is seen all the time, as suits what must not be overlooked.

    Returns:
        The faces, those of the earlier frame first.
    """
    partners = _partners(before, after)
    faces = []
    for face in before:
        partner = partners.get(id(face))
        if partner is not None:
            faces.append(_moved(face, partner, share))
        elif every or share < 0.5:
            faces.append(face)
    if every or share >= 0.5:
        met = {id(partner) for partner in partners.values()}
        faces += [face for face in after if id(face) not in met]
    return tuple(faces)


def _partners(before: Sequence[Face], after: Sequence[Face]) -> dict[int, Face]:
    """Returns by the `id` of a face of the earlier frame the same person's in the later one."""
    numbered = {face.track_id: face for face in after if face.track_id is not None}
    partners = {id(face): numbered[face.track_id] for face in before if face.track_id in numbered}
    met = {id(face) for face in partners.values()}
    pairs = [
        (iou(face.bbox, other.bbox), n, m)
        for n, face in enumerate(before)
        if face.track_id is None
        for m, other in enumerate(after)
        if id(other) not in met
    ]
    for share, n, m in sorted(pairs, reverse=True):
        if share >= _SAME and id(before[n]) not in partners and id(after[m]) not in met:
            partners[id(before[n])] = after[m]
            met.add(id(after[m]))
    return partners


def _moved(face: Face, partner: Face, share: float) -> Face:
    kps = face.kps
    if kps is not None and partner.kps is not None:
        kps = tuple(
            (x + share * (x2 - x), y + share * (y2 - y)) for (x, y), (x2, y2) in zip(kps, partner.kps, strict=True)
        )
    raw = face.raw
    if raw is not None and partner.raw is not None:
        raw = replace(raw, bbox=_box(raw.bbox, partner.raw.bbox, share))
    return replace(face, bbox=_box(face.bbox, partner.bbox, share), kps=kps, raw=raw)


def _box(first: BBox, last: BBox, share: float) -> BBox:
    x1, y1, x2, y2 = (a + share * (b - a) for a, b in zip(first, last, strict=True))
    return (x1, y1, x2, y2)
