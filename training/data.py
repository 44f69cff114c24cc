"""Reading the data sets, cutting faces, spoiling pictures: what the three trainings share.

The zips are read in place. Decoded pictures are kept as one uint8 array a data set in a cache folder, because decoding
JPEG in every epoch would take longer than the network's own step.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from faceinsight.evaluation import fold

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Array = TypeVar("Array", bound=npt.NDArray[Any])

ARCFACE_TEMPLATE: Floats = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)
"""Where the eyes, the nose and the corners of the mouth lie in a 112 px aligned face (InsightFace's ArcFace)."""

TEST_FOLD = 0
VALIDATION_FOLD = 1


def decode(data: bytes) -> Picture:
    """Decode a picture file to an RGB array (H, W, 3)."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("not a picture")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


@dataclass(frozen=True, slots=True)
class Scene:
    """A photo with the teacher's boxes (N, 5: x1, y1, x2, y2, score) and key points (N, 5, 2)."""

    name: str
    picture: Picture
    boxes: Floats
    points: Floats


def read_scenes(path: Path) -> list[Scene]:
    """Read scenes.zip: every picture with its labels."""
    with zipfile.ZipFile(path) as archive:
        labels = json.loads(archive.read("labels.json"))
        return [
            Scene(
                entry["name"],
                decode(archive.read("images/" + entry["name"])),
                np.array(entry["boxes"], np.float32).reshape(-1, 5),
                np.array(entry["kps"], np.float32).reshape(-1, 5, 2),
            )
            for entry in labels
        ]


@dataclass(frozen=True, slots=True)
class Faces:
    """UTKFace: pictures (N, 128, 128, 3) RGB, ages in years, genders (0 male, 1 female), file names."""

    pictures: Picture
    ages: npt.NDArray[np.int64]
    genders: npt.NDArray[np.int64]
    names: list[str]

    @property
    def folds(self) -> npt.NDArray[np.int64]:
        """The fold of every picture."""
        return np.array([fold(name) for name in self.names])


def read_faces(path: Path, cache: Path) -> Faces:
    """Read utkface.zip; names say age_gender_race_date. The decoded pictures are kept in ``cache``."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        pictures = cached(cache / "utkface.npy", lambda: np.stack([decode(archive.read(name)) for name in names]))
    parts = [name.split("_") for name in names]
    return Faces(pictures, np.array([int(p[0]) for p in parts]), np.array([int(p[1]) for p in parts]), names)


@dataclass(frozen=True, slots=True)
class Portraits:
    """FG-NET: pictures (N, 160, 160, 3) RGB, ages in years, numbers of the people, file names."""

    pictures: Picture
    ages: npt.NDArray[np.int64]
    people: npt.NDArray[np.int64]
    names: list[str]

    @property
    def folds(self) -> npt.NDArray[np.int64]:
        """The fold of every picture's person: nobody is in two."""
        return np.array([fold(name[:3]) for name in self.names])


def read_portraits(path: Path, cache: Path) -> Portraits:
    """Read fgnet.zip; names say person, A, age, and a letter where there are several: 043A12b.jpg."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        pictures = cached(cache / "fgnet.npy", lambda: np.stack([decode(archive.read(name)) for name in names]))
    parts = [name.upper().removesuffix(".JPG").split("A", 1) for name in names]
    ages, people = [int(p[1].rstrip("ABCDEFG")) for p in parts], [int(p[0]) for p in parts]
    return Portraits(pictures, np.array(ages), np.array(people), names)


def read_unlabelled(path: Path, cache: Path) -> Picture:
    """Read the faces (N, S, S, 3) of a zip of pictures of one size, such as expw.zip, whatever their folders say."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        return cached(cache / f"{path.stem}.npy", lambda: np.stack([decode(archive.read(name)) for name in names]))


EMOTIONS = ("Anger", "Contempt", "Disgust", "Fear", "Happiness", "Neutral", "Sadness", "Surprise")
"""HSEmotion's order."""
FER_FOLDERS = {"angry": 0, "disgust": 2, "fear": 3, "happy": 4, "neutral": 5, "sad": 6, "surprise": 7}


@dataclass(frozen=True, slots=True)
class Expressions:
    """FER2013's training split.

    Attributes:
        pictures: Grey (N, 48, 48).
        shares: Which part of the votes each of `EMOTIONS` has (N, 8).
        labels: Indices of the emotions with more than half of the votes (N,), -1 where none has.
        names: Of the files.
    """

    pictures: Picture
    shares: Floats
    labels: npt.NDArray[np.int64]
    names: list[str]


def read_expressions(path: Path, votes: Path | None = None) -> Expressions:
    """Read the training split of fer2013.zip.

    What is byte for byte in the test split is left out; of identical pictures one stays.

    Args:
        path: fer2013.zip.
        votes: ferplus.csv. What people take for no emotion or no face is left out. Without votes FER2013's own label
            is the one vote for every picture, and pictures that carry two labels are left out.
    """
    cast = None if votes is None else _votes(votes)
    train: dict[str, tuple[str, Floats, Picture]] = {}
    twice: set[str] = set()
    seen_in_test: set[str] = set()
    with zipfile.ZipFile(path) as archive:
        # "public_test" sorts before "train": the test pictures are known when the training pictures come.
        for name in sorted(archive.namelist()):
            if not name.endswith(".jpg"):
                continue
            split, folder, _ = name.split("/")
            data = archive.read(name)
            digest = hashlib.sha1(data).hexdigest()
            own = np.eye(len(EMOTIONS) + 2, dtype=np.float32)[FER_FOLDERS[folder]]
            row = own if cast is None else cast.get(name.rsplit("/", 1)[-1])
            if split == "public_test":
                seen_in_test.add(digest)
            elif digest not in seen_in_test and row is not None:
                if cast is None and digest in train and (train[digest][1] != row).any():
                    twice.add(digest)
                train.setdefault(digest, (name, row, decode(data)[..., 0]))
    rows = [row for digest, row in train.items() if digest not in twice]
    counts = np.stack([row[1] for row in rows])
    emotions = counts[:, : len(EMOTIONS)]
    kept = np.flatnonzero(emotions.max(1) >= np.maximum(counts[:, len(EMOTIONS) :].max(1), 1))
    labels = np.where(2 * emotions.max(1) > counts.sum(1), emotions.argmax(1), -1)
    return Expressions(
        np.stack([rows[i][2] for i in kept]),
        emotions[kept] / emotions[kept].sum(1, keepdims=True),
        labels[kept],
        [rows[i][0] for i in kept],
    )


def frequencies(shares: Floats) -> Floats:
    """Return how often each emotion occurs (8,), of shares (N, 8): one in a thousand at least."""
    return np.maximum(shares.mean(0), 1e-3)


def _votes(path: Path) -> dict[str, Floats]:
    """Read ferplus.csv: file name without folders to the votes for `EMOTIONS`, unknown, no face.

    A vote that nobody shares counts as a slip, as in Barsoum et al., "Training deep networks for facial expression
    recognition with crowd-sourced label distribution" (2016).
    """
    rows = csv.DictReader(io.StringIO(path.read_text()))
    columns = [*(name.lower() for name in EMOTIONS), "unknown", "no_face"]
    votes = {row["file"].rsplit("/", 1)[-1]: np.array([row[c] for c in columns], np.float32) for row in rows}
    return {name: np.where(counts > 1, counts, 0) for name, counts in votes.items()}


def cached(path: Path, make: Callable[[], Array]) -> Array:
    """Return the array in ``path``, made and written first where it is missing."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        np.save(partial, make())
        partial.rename(path)
    array: Array = np.load(path, mmap_mode="r")
    return array


def similarity(source: Floats, target: Floats) -> Floats:
    """Return the 2x3 similarity that maps ``source`` points to ``target`` best in least squares (Umeyama)."""
    source_mean, target_mean = source.mean(0), target.mean(0)
    a, b = source - source_mean, target - target_mean
    # With complex numbers a rotation with a scale is one factor.
    za, zb = a[:, 0] + 1j * a[:, 1], b[:, 0] + 1j * b[:, 1]
    factor = (zb * za.conj()).sum() / max(float((za * za.conj()).real.sum()), 1e-9)
    matrix = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.hstack([matrix, (target_mean - matrix @ source_mean)[:, None]]).astype(np.float32)


def template(size: int, crop_scale: float) -> Floats:
    """Return the five points of an aligned crop: ArcFace's, drawn towards the centre by ``crop_scale``.

    Args:
        size: Side of the crop in pixels.
        crop_scale: 1.0 is ArcFace's own crop; 1.4 shows 1.4 times as much on every side.
    """
    return (((ARCFACE_TEMPLATE - 56.0) / crop_scale + 56.0) * (size / 112.0)).astype(np.float32)


def rotation(centre: tuple[float, float], degrees: float, scale: float, to: tuple[float, float]) -> Floats:
    """Return the 2x3 matrix that turns and scales about ``centre`` and then moves ``centre`` to ``to``."""
    matrix = cv2.getRotationMatrix2D(centre, degrees, scale)
    matrix[:, 2] += np.subtract(to, centre)
    return matrix.astype(np.float32)


def spoil(picture: Picture, rng: np.random.Generator, strength: float = 1.0) -> Picture:
    """Return the picture as a poor camera would have taken it: light, colour, blur, noise, JPEG.

    Args:
        picture: (H, W, 3) RGB.
        rng: Source of chance.
        strength: Multiplies the chance of each kind of damage.
    """
    if rng.random() < 0.8 * strength:
        gain = np.exp(rng.normal(0, 0.15, 3) * (rng.random() < 0.5) + rng.normal(0, 0.22))
        gamma = np.exp(rng.normal(0, 0.25))
        levels = np.arange(256, dtype=np.float32)[:, None] / 255.0
        shift = rng.normal(0, 0.06)
        table = np.clip(((levels**gamma) - 0.5) * gain + 0.5 + shift, 0, 1)
        picture = cv2.LUT(picture, (table * 255).astype(np.uint8)[None])
    if rng.random() < 0.12 * strength:
        picture = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    height, width = picture.shape[:2]
    if rng.random() < 0.2 * strength:
        if rng.random() < 0.5:
            picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.5, 2.0)))
        else:
            factor = rng.uniform(0.35, 0.9)
            small = cv2.resize(
                picture, (max(8, int(width * factor)), max(8, int(height * factor))), interpolation=cv2.INTER_AREA
            )
            picture = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.2 * strength:
        noise = np.empty(picture.shape, np.int16)
        cv2.randn(noise, 0, float(rng.uniform(3, 16)))
        picture = cv2.add(picture, noise, dtype=cv2.CV_8U)
    if rng.random() < 0.2 * strength:
        quality = int(rng.integers(25, 85))
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return picture


def scanned(picture: Picture, rng: np.random.Generator) -> Picture:
    """Return the picture (H, W, 3) as an old print on a scanner: grey, sepia or off colour, faded, grainy, unsharp."""
    kind = rng.random()
    if kind < 0.7:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
        tone = np.array([1.0, 0.88, 0.68]) if kind < 0.35 else np.ones(3)
        made = grey * (1 + (tone - 1) * rng.uniform(0.3, 1.2))
        if rng.random() < 0.3:
            made = made * 0.5 + picture * 0.5
    else:
        made = picture * np.exp(rng.normal(0, 0.15, 3))
    low, high = rng.uniform(0, 50), rng.uniform(190, 255)
    made = low + made * ((high - low) / 255)
    if rng.random() < 0.5:
        # Grain of the print, coarser than a pixel.
        side = int(rng.integers(24, 81))
        grain = rng.normal(0, rng.uniform(2, 9), (side, side)).astype(np.float32)
        made = made + cv2.resize(grain, picture.shape[1::-1])[..., None]
    if rng.random() < 0.3:
        made = cv2.GaussianBlur(made, (0, 0), float(rng.uniform(0.6, 1.6)))
    return np.clip(made, 0, 255).astype(np.uint8)


def covered(picture: Picture, rng: np.random.Generator) -> Picture:
    """Return the picture with a rectangle of one colour, or of noise, over some part of it."""
    height, width = picture.shape[:2]
    h, w = int(rng.uniform(0.1, 0.4) * height), int(rng.uniform(0.1, 0.4) * width)
    y, x = int(rng.integers(0, height - h)), int(rng.integers(0, width - w))
    picture = picture.copy()
    picture[y : y + h, x : x + w] = rng.integers(0, 256, (h, w, 3) if rng.random() < 0.3 else 3)
    return picture
