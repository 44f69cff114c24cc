"""What pictures go through before the emotion network sees them: 48 px grey faces moved, stretched, spoilt, mixed."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from training.data import Floats, Picture

SIZE = 48
MIXED = 0.3
ALIGNED = 0.25
"""Share of faces drawn onto fixed places of eyes and mouth, as some data sets are: that flattens open mouths."""


def augmented(
    picture: Picture,
    rng: np.random.Generator,
    strength: float = 1.0,
    *,
    wide: bool = True,
    points: Floats | None = None,
) -> Picture:
    """Return a grey picture (48, 48) moved, turned, scaled, mirrored, re-lit, blurred or partly covered.

    Args:
        picture: Grey, a square with the crop's `SIZE` in its middle.
        rng: Source of chance.
        strength: How strong the change is.
        wide: Also as other tools cut and keep faces: wider, tighter, stretched, small, in strong JPEG.
        points: Eyes, nose and corners of the mouth in the picture (5, 2): some are then aligned by them.
    """
    if points is not None and wide and rng.random() < ALIGNED:
        matrix = alignment(points, rng)
    else:
        matrix = _moved(picture.shape[0], rng, strength, wide=wide)
    if rng.random() < 0.5:
        matrix[0] = -matrix[0]
        matrix[0, 2] += SIZE - 1
    border = cv2.BORDER_REPLICATE if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    picture = cv2.warpAffine(picture, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=border)
    if wide and rng.random() < 0.15 * strength:
        side = int(rng.integers(16, 40))
        picture = cv2.resize(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), (SIZE, SIZE))
    if wide and rng.random() < 0.2 * strength:
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 85))])
        picture = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    if rng.random() < 0.5 * strength:
        levels = np.arange(256, dtype=np.float32) / 255.0
        table = levels ** np.exp(rng.normal(0, 0.3)) * np.exp(rng.normal(0, 0.2))
        picture = cv2.LUT(picture, (np.clip(table, 0, 1) * 255).astype(np.uint8))
    if rng.random() < 0.15 * strength:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.4, 1.1)))
    if rng.random() < 0.3 * strength:
        w, h = (int(v) for v in rng.integers(6, 18, 2))
        x, y = int(rng.integers(0, SIZE - w)), int(rng.integers(0, SIZE - h))
        picture[y : y + h, x : x + w] = int(rng.integers(0, 256))
    return picture


def _moved(side: int, rng: np.random.Generator, strength: float, *, wide: bool) -> npt.NDArray[np.float64]:
    """Return a 2x3 matrix from a square picture to a crop somewhere about its middle."""
    angle, spread, shift = (11.0, 0.15, 0.06) if wide else (9.0, 0.09, 0.05)
    scale = np.exp(np.clip(rng.normal(0.0 if wide else 0.02, spread * strength), -0.35, 0.35))
    aspect = np.exp(rng.uniform(-0.29, 0.29)) if wide and rng.random() < 0.7 else 1.0
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.normal(0, angle * strength)), float(scale))
    matrix[:, 2] -= side / 2
    matrix *= np.array([[aspect**0.5], [aspect**-0.5]])
    matrix[:, 2] += SIZE / 2 + rng.normal(0, shift * SIZE * strength, 2)
    return np.asarray(matrix, np.float64)


def alignment(points: Floats, rng: np.random.Generator | None = None) -> npt.NDArray[np.float64]:
    """Return the 2x3 matrix that draws both eyes and the middle of the mouth to about the same places in every crop.

    Args:
        points: Eyes, nose and corners of the mouth (5, 2).
        rng: Source of chance; None for the middle of what it would choose.
    """
    low, high = np.array([0.33, 1.05, 0.48, -0.03, -0.03]), np.array([0.45, 1.45, 0.58, 0.03, 0.03])
    apart, ratio, middle, right, tilt = (low + high) / 2 if rng is None else rng.uniform(low, high)
    down = apart / ratio
    x, y = 0.5 + right, middle - down / 2
    places = np.array([[x - apart / 2, y - tilt], [x + apart / 2, y + tilt], [x, y + down]], np.float32)
    found = np.array([points[0], points[1], (points[3] + points[4]) / 2], np.float32)
    return np.asarray(cv2.getAffineTransform(found, places * SIZE), np.float64)


def aligned(pictures: Picture, points: Floats) -> Picture:
    """Return faces as `alignment` draws them (N, 48, 48)."""
    crops = (
        cv2.warpAffine(picture, alignment(five), (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
        for picture, five in zip(pictures, points, strict=True)
    )
    return np.stack(list(crops))


def middle(pictures: Picture) -> Picture:
    """Return the app's crop out of larger pictures (N, S, S)."""
    margin = (pictures.shape[1] - SIZE) // 2
    return pictures[:, margin : margin + SIZE, margin : margin + SIZE]


def blended(pictures: Picture, targets: Floats, rng: np.random.Generator) -> tuple[Picture, Floats]:
    """Mixup (Zhang et al., 2018): return a batch of which `MIXED` are two pictures in one, with both their targets."""
    share = np.where(rng.random(len(pictures)) < MIXED, rng.beta(0.4, 0.4, len(pictures)), 1.0).astype(np.float32)
    other = rng.permutation(len(pictures))
    mix = share[:, None, None]
    pictures = np.rint(mix * pictures + (1 - mix) * pictures[other]).astype(np.uint8)
    return pictures, share[:, None] * targets + (1 - share[:, None]) * targets[other]


def as_rgb(pictures: Picture) -> Picture:
    """(N, 48, 48) grey to (N, 48, 48, 3)."""
    return np.repeat(pictures[..., None], 3, axis=3)
