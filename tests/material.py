"""Real faces to test with.

Everywhere: the pack that comes with the repository, pictures that dependencies bring, and clips made from them by a
camera that moves, zooms and cuts. Beside some checkouts lies a folder with further models, photos and clips: tests that
take both run on both there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import insightface
import matplotlib
import numpy as np
import skimage

from faceinsight import load_image
from tests.toy_media import turn_clip, write_clip

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("FACEINSIGHT_SHARED", ROOT.parent / "shared"))

PHOTOS = {
    "astronaut.png": Path(skimage.__file__).parent / "data" / "astronaut.png",
    "grace_hopper.jpg": Path(matplotlib.__file__).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg",
    "t1.jpg": Path(insightface.__file__).parent / "data" / "images" / "t1.jpg",
}
# The faces in these photos, found by eye: from forehead to chin.
BOXES = {
    "astronaut.png": [[180, 60, 270, 172]],
    "grace_hopper.jpg": [[180, 115, 350, 340]],
    "t1.jpg": [
        [58, 268, 170, 398],
        [268, 149, 370, 279],
        [464, 271, 570, 413],
        [745, 338, 842, 474],
        [892, 58, 1003, 206],
        [1127, 274, 1221, 401],
    ],
}
FPS = 12


def both(own: list, shared: list) -> list:
    """Returns what a test is parametrised with: our own cases, and those of the folder beside the project if there."""
    return [*own, *(shared if SHARED.is_dir() else [])]


def is_own(name: str) -> bool:
    """Returns whether a photo or clip is there wherever the project is."""
    return name in PHOTOS or name in CLIPS


def photo(name: str) -> Path:
    """Returns where a photo is, by the name of its file."""
    return PHOTOS.get(name, SHARED / "photos" / name)


@cache
def pixels_of(name: str) -> np.ndarray:
    """Returns a photo, (H, W, 3) uint8 RGB."""
    return load_image(photo(name)).pixels


@dataclass(frozen=True)
class Camera:
    """A camera over a picture: where it looks in the picture's pixels, and how wide."""

    picture: str
    x: float
    y: float
    width: float

    def frame(self, size: tuple[int, int] = (640, 360)) -> np.ndarray:
        """Returns what it sees, (H, W, 3) uint8 RGB; the picture's edge goes on where the picture ends."""
        pixels = pixels_of(self.picture)
        scale = size[0] / self.width
        matrix = np.array([[scale, 0, size[0] / 2 - scale * self.x], [0, scale, size[1] / 2 - scale * self.y]])
        how = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
        seen: np.ndarray = cv2.warpAffine(pixels, matrix, size, **how)
        return seen

    def moved(self, time: float) -> Camera:
        """Returns the camera a while later, held by a hand that sways and zooms."""
        sway = self.width / 40
        x, y = self.x + sway * np.sin(2.1 * time), self.y + sway * np.sin(1.3 * time)
        return Camera(self.picture, x, y, self.width * (1 + 0.06 * np.sin(0.9 * time)))


def filmed(camera: Camera, seconds: float, size: tuple[int, int] = (640, 360)) -> list[np.ndarray]:
    """Returns what a camera in a hand sees, with the noise of a sensor."""
    return [with_noise(camera.moved(n / FPS).frame(size), n) for n in range(round(seconds * FPS))]


def with_noise(frame: np.ndarray, seed: int) -> np.ndarray:
    """Returns a frame as a sensor sees it."""
    noise = np.random.default_rng(seed).normal(0, 2, frame.shape)
    return np.clip(frame + noise, 0, 255).astype(np.uint8)


ASTRONAUT = Camera("astronaut.png", 240, 140, 400)
HOPPER = Camera("grace_hopper.jpg", 260, 230, 500)
THREE = Camera("t1.jpg", 985, 265, 780)
OTHER_THREE = Camera("t1.jpg", 320, 290, 700)


def one() -> list[np.ndarray]:
    """One person, for ten seconds."""
    return filmed(ASTRONAUT, 10.2)


def two(seconds: float = 5) -> list[np.ndarray]:
    """Two people side by side, each before a wall of their own."""
    left, right = (filmed(Camera(c.picture, c.x, c.y, c.width * 0.6), seconds, (320, 360)) for c in (ASTRONAUT, HOPPER))
    return [np.hstack(pair) for pair in zip(left, right[::-1], strict=True)]


def three() -> list[np.ndarray]:
    """Three people in a crowd."""
    return filmed(THREE, 5)


def leaves() -> list[np.ndarray]:
    """A person who is there for a second and a half, and out of the picture after two; upright, from a phone."""
    views = []
    for n in range(5 * FPS):
        away = 460 * np.clip((n / FPS - 1.2) / 0.8, 0, 1)
        views.append(Camera("astronaut.png", 240, 140 + away, 300).moved(n / FPS).frame((360, 640)))
    return [with_noise(np.rot90(view).copy(), n) for n, view in enumerate(views)]


# Where the film of four shots is cut, in seconds; the third shot is the longest.
CUTS = (1.0, 2.5, 6.5)


def film() -> list[np.ndarray]:
    """Four shots of different people in different places."""
    ends = (*CUTS, 8.0)
    cameras = (OTHER_THREE, HOPPER, ASTRONAUT, THREE)
    lengths = np.diff((0.0, *ends))
    return [frame for camera, seconds in zip(cameras, lengths, strict=True) for frame in filmed(camera, seconds)]


CLIPS: dict[str, Callable[[], list[np.ndarray]]] = {
    "one.mp4": one,
    "two.mp4": two,
    "three.mp4": three,
    "leaves.mov": leaves,
    "film.mp4": film,
}


class Clips:
    """Gives clips by the name of their file: our own are made when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str) -> Path:
        if name not in CLIPS:
            return SHARED / "clips" / name
        path = self._folder / name
        if not path.exists():
            phone = name.endswith(".mov")
            write_clip(path, CLIPS[name](), FPS, sound=True, codec="libx265" if phone else "libx264")
            if phone:
                turn_clip(path)
        return path
