"""The best picture of everybody in a clip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import cv2
import numpy as np
import numpy.typing as npt

from faceinsight.drawing import face_thumbnail
from faceinsight.media.image import encode_image, load_image
from faceinsight.results import Face, FrameAnalysis

UInt8Array = npt.NDArray[np.uint8]

SIDE = 160
# Somebody new, and far away, is soon seen better: only a clearly better picture takes the place of one.
_BETTER = 1.15
# Beyond this many people a page shows nobody's picture.
_MOST = 500
# Kept as JPEG, of this quality: a fifteenth of the memory.
_QUALITY = 92


class Portraits:
    """Keeps one small picture a person while a clip goes by."""

    def __init__(self) -> None:
        """Begins with nobody."""
        self._best: dict[int, tuple[float, bytes]] = {}

    def add(self, image: UInt8Array, analysis: FrameAnalysis) -> None:
        """Looks at a frame, (H, W, 3) uint8 RGB, for better pictures of its people."""
        for face in analysis.faces:
            if face.track_id is None:
                continue
            quality, kept = _quality(face), self._best.get(face.track_id)
            if (kept is None and len(self._best) < _MOST) or (kept is not None and quality > _BETTER * kept[0]):
                picture = _small(face_thumbnail(image, face))
                self._best[face.track_id] = (quality, encode_image(picture, quality=_QUALITY))

    def pictures(self) -> Mapping[int, UInt8Array]:
        """Returns by `track_id` (h, w, 3) uint8 RGB, at most `SIDE` pixels a side; each is decoded when asked for."""
        return _Pictures({number: picture for number, (_, picture) in sorted(self._best.items())})


class _Pictures(Mapping[int, UInt8Array]):
    def __init__(self, files: dict[int, bytes]) -> None:
        self._files = files

    def __getitem__(self, number: int) -> UInt8Array:
        return load_image(self._files[number]).pixels

    def __iter__(self) -> Iterator[int]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _quality(face: Face) -> float:
    """How well a face can be seen: large, sure, and turned to the camera."""
    return min(face.side, 2 * SIDE) * face.det_score * _frontal(face)


def _frontal(face: Face) -> float:
    """From 0.3 for a face in profile to 1 for one whose nose lies midway between the eyes."""
    if face.kps is None:
        return 1.0
    (left, _), (right, _), (nose, _) = face.kps[:3]
    width = max(abs(right - left), 1e-6)
    return float(max(0.3, 1 - abs(nose - (left + right) / 2) / width))


def _small(picture: UInt8Array) -> UInt8Array:
    scale = SIDE / max(picture.shape[:2])
    if scale >= 1:
        return picture
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
