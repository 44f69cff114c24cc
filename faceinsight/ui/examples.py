"""Pictures and a clip to try the page with, made of what installed dependencies bring."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from faceinsight.errors import FaceInsightError
from faceinsight.media.image import UInt8Array, load_image
from faceinsight.media.writer import VideoWriter

log = logging.getLogger(__name__)

CLIP = "example.mp4"
_SECONDS, _FPS = 4, 15
_WIDTH, _HEIGHT = 640, 480


def example_pictures() -> list[Path]:
    """Returns pictures with faces that come with installed dependencies."""
    wanted = (("insightface", "data/images/t1.jpg"), ("skimage", "data/astronaut.png"))
    paths = []
    for package, name in wanted:
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            path = Path(spec.origin).parent / name
            if path.is_file():
                paths.append(path)
    return paths


def example_frames(picture: UInt8Array) -> Iterator[UInt8Array]:
    """Yields 640 x 480 views, (480, 640, 3) uint8 RGB, of a camera that passes over a picture and comes back."""
    scale = max(_WIDTH / picture.shape[1], _HEIGHT / picture.shape[0]) * 1.25
    wide = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    room = np.array([wide.shape[1] - _WIDTH, wide.shape[0] - _HEIGHT])
    for turn in np.linspace(0, 2 * np.pi, _SECONDS * _FPS, endpoint=False):
        x, y = (room * (0.5 - 0.5 * np.cos(turn))).astype(int)
        yield np.asarray(wide[y : y + _HEIGHT, x : x + _WIDTH], np.uint8)


def write_example_clip(path: Path) -> None:
    """Writes the example clip, where there is a picture to make it of and a folder to write to."""
    try:
        for picture in example_pictures()[:1]:
            with VideoWriter(path, _FPS) as writer:
                for number, frame in enumerate(example_frames(load_image(picture).pixels)):
                    writer.write(frame, number / _FPS)
    except FaceInsightError as error:
        # Where the folder is gone, so is the page.
        if path.parent.exists():
            log.warning("There is no example clip: %s", error)
