"""Real faces without an emotion label, cut out of photos by the pack's own detector as the app cuts them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from faceinsight import FaceAnalyzer
from faceinsight.inference.crops import scaled_box_crop
from training.data import FER_FOLDERS, TEST_FOLD, Floats, Picture, decode, fold

SIDE = 72
"""Half as long again as the app's crop of 48 px: room to move it in."""
SMALLEST = 24
"""Faces of fewer pixels are left out: what they feel cannot be seen."""
LARGE = 9000
"""A larger set is thinned, or its portraits would drown the others."""


@dataclass(frozen=True, slots=True)
class Wild:
    """Faces of photos.

    Attributes:
        pictures: Grey (N, `SIDE`, `SIDE`); the app's crop is in the middle.
        points: Eyes, nose and corners of the mouth in them (N, 5, 2).
        names: Of the files.
    """

    pictures: Picture
    points: Floats
    names: list[str]

    @property
    def folds(self) -> npt.NDArray[np.int64]:
        """The fold of every picture."""
        return np.array([fold(name) for name in self.names])

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The emotion that a picture's folder names, -1 for none: what a web search said (ExpW)."""
        return np.array([FER_FOLDERS.get(name.split("/")[0], -1) for name in self.names])


def read_wild(paths: list[Path], cache: Path) -> Wild:
    """Cut the faces out of zips of photos (utkface.zip, expw.zip, scenes.zip), once: ``cache`` keeps them.

    What the split by file name holds back for tests of age and detection stays out.
    """
    if not cache.exists():
        analyzer = FaceAnalyzer("compact", threads=1)
        faces = [face for path in paths for face in _faces(path, analyzer)]
        pictures, points, names = zip(*faces, strict=True)
        partial = cache.with_suffix(".partial.npz")
        np.savez(partial, pictures=np.stack(pictures), points=np.stack(points), names=np.array(names))
        partial.rename(cache)
    with np.load(cache) as stored:
        return Wild(stored["pictures"], stored["points"], stored["names"].tolist())


def _faces(path: Path, analyzer: FaceAnalyzer) -> Iterator[tuple[Picture, Floats, str]]:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in sorted(archive.namelist()) if name.endswith(".jpg")]
        names = [name for name in names if fold(name.rsplit("/", 1)[-1]) != TEST_FOLD]
        for name in names[:: 1 + len(names) // LARGE]:
            picture = decode(archive.read(name))
            if picture.shape[0] == picture.shape[1]:
                # A cut out face: a detector expects a head in a frame, not a frame of a head.
                margin = picture.shape[0] // 4
                picture = cv2.copyMakeBorder(picture, margin, margin, margin, margin, cv2.BORDER_CONSTANT)
            grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
            for face in analyzer.detect(picture, det_threshold=0.6, min_face=SMALLEST):
                x1, y1, x2, y2 = face.bbox
                zoom = SIDE / (1.5 * max(x2 - x1, y2 - y1))
                points = (np.array(face.kps) - [(x1 + x2) / 2, (y1 + y2) / 2]) * zoom + SIDE / 2
                crop = scaled_box_crop(grey[..., None], face.bbox, (SIDE, SIDE), 1.5)
                yield crop, points.astype(np.float32), name
