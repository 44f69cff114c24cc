"""The faces that the age and gender network learns from: UTKFace, FG-NET, and faces of the web without a label.

Each is cut as the app cuts it, by the key points of the pack's own detector or of the teacher, and then moved and
spoilt, so that pictures of one kind stand for many kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.alignment import aligned, cached_points, jittered, served_points
from training.data import (
    TEST_FOLD,
    VALIDATION_FOLD,
    Floats,
    Picture,
    covered,
    read_faces,
    read_portraits,
    read_unlabelled,
    scanned,
    spoil,
)

CROP_SCALE = 0.9
"""UTKFace's pictures show 0.84 times what ArcFace's crop shows: little more than that can be learnt from them."""
YEARS = 101
UNKNOWN = -1
SPREAD, CALM_SPREAD = 1.4, 1.0
"""Of the geometry: the app's own key points lie several hundredths of a face beside the teacher's."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Faces of one set.

    Attributes:
        pictures: (N, S, S, 3) RGB.
        points: Key points (N, 5, 2) by each detector.
        ages: (N,) years, `UNKNOWN` without a label.
        genders: (N,) 0 female, 1 male, or `UNKNOWN`.
        weights: (N,) how often each is drawn; 0 for those that are held back.
    """

    pictures: Picture
    points: tuple[Floats, ...]
    ages: npt.NDArray[np.int64]
    genders: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]

    def take(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return indices (count,) of faces to train on."""
        return rng.choice(len(self.weights), count, p=self.weights / self.weights.sum())

    def crop(self, index: int, size: int, rng: np.random.Generator, *, calm: bool) -> Picture:
        """Return a face as the app might see it, in a picture of any kind."""
        points = self.points[int(rng.integers(len(self.points)))][index]
        around = self.pictures[int(rng.integers(len(self.pictures)))]
        spread = CALM_SPREAD if calm else SPREAD
        picture = jittered(self.pictures[index], points, size, CROP_SCALE, rng, spread=spread, around=around)
        if rng.random() < (0.1 if calm else 0.2):
            picture = scanned(picture, rng)
        picture = spoil(picture, rng, 0.7 if calm else 1.0)
        return covered(picture, rng) if rng.random() < (0.05 if calm else 0.1) else picture

    def clean(self, index: int, size: int, source: int = -1) -> Picture:
        """Return a face as the app cuts it, by the key points of its own detector (the last)."""
        return aligned(self.pictures[index], self.points[source][index], size, CROP_SCALE)


def even(ages: npt.NDArray[np.int64], power: float) -> npt.NDArray[np.float64]:
    """Return how often each face is to be drawn, so that rare ages come more often.

    Args:
        ages: (N,) years.
        power: 0 leaves the ages as they are, 1 makes every year as frequent as any other.
    """
    counts = np.bincount(ages, minlength=YEARS).astype(np.float64)
    window = np.exp(-0.5 * (np.arange(-6, 7) / 2.0) ** 2)
    return np.asarray(np.convolve(counts, window / window.sum(), "same")[ages] ** -power)


def alike(weights: npt.NDArray[np.float64], genders: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return weights (N,) by which women and men are drawn equally often, and who is neither as often as before.

    Two in three of FG-NET's people are men: drawn like that, children would be taken for boys.
    """
    known = genders != UNKNOWN
    changed = weights.copy()
    for gender in np.unique(genders[known]):
        chosen = genders == gender
        changed[chosen] *= weights[known].sum() / len(np.unique(genders[known])) / max(weights[chosen].sum(), 1e-9)
    return changed


def utkface(path: Path, cache: Path, power: float = 0.5) -> tuple[Pool, npt.NDArray[np.int64], list[str]]:
    """Return UTKFace, drawn as `even` says, its folds and its names."""
    faces = read_faces(path, cache)
    points, found = served_points(faces.pictures, cache / "utkface_served.npz", np.zeros(len(faces.names), bool))
    # UTKFace is roughly registered.
    points[~found] = np.median(points[found], axis=0)
    ages = np.minimum(faces.ages, YEARS - 1)
    train = ~np.isin(faces.folds, (TEST_FOLD, VALIDATION_FOLD))
    pool = Pool(faces.pictures, (points,), ages, 1 - faces.genders, even(ages, power) * train)
    return pool, faces.folds, faces.names


def fgnet(path: Path, teacher: Path, cache: Path) -> tuple[Pool, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return FG-NET, the numbers of its people, and who of them is held back."""
    portraits = read_portraits(path, cache)
    exact, _, _ = cached_points(portraits.pictures, teacher, 160, cache / "fgnet_points.npz")
    served, found = served_points(portraits.pictures, cache / "fgnet_served.npz", np.ones(len(portraits.ages), bool))
    served = np.where(found[:, None, None], served, exact)
    held = portraits.folds == TEST_FOLD
    genders = np.full(len(held), UNKNOWN)
    pool = Pool(portraits.pictures, (exact, served), portraits.ages, genders, even(portraits.ages, 0.4) * ~held)
    return pool, portraits.people, held


def web(path: Path, teacher: Path, cache: Path) -> Pool:
    """Return unlabelled faces, as far as both detectors find them."""
    pictures = read_unlabelled(path, cache)
    exact, _, sure = cached_points(pictures, teacher, pictures.shape[1], cache / f"{path.stem}_points.npz")
    served, found = served_points(pictures, cache / f"{path.stem}_served.npz", np.zeros(len(pictures), bool))
    unknown = np.full(len(pictures), UNKNOWN)
    return Pool(pictures, (exact, served), unknown, unknown, (sure & found).astype(np.float64))
