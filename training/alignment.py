"""Key points for the single-face data sets, found by the teacher, and the crops made from them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from faceinsight import FaceAnalyzer
from training.canvases import SIZE, Teacher
from training.data import Floats, Picture, similarity, template
from training.networks import STRIDES

GRID = 4
"""Pictures a side on one canvas: the teacher costs the same for one face as for sixteen."""
TILE = SIZE // GRID


def find_points(pictures: Picture, teacher: Teacher, shown: int) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Find the face in every picture of a single-face data set.

    Args:
        pictures: (N, S, S, 3) RGB.
        teacher: The detector.
        shown: Side in pixels at which a picture is shown to the teacher, at most `TILE`.

    Returns:
        Key points (N, 5, 2) and boxes (N, 4) in pixels of the pictures, and whether a face was found (score of at
        least 0.5). Where none was, the median of all others stands in: UTKFace and FER2013 are roughly registered.
    """
    count, side = pictures.shape[:2]
    points = np.zeros((count, 5, 2), np.float32)
    boxes = np.zeros((count, 4), np.float32)
    found = np.zeros(count, bool)
    margin = (TILE - shown) // 2
    for start in range(0, count, GRID * GRID):
        canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
        group = pictures[start : start + GRID * GRID]
        for index, picture in enumerate(group):
            row, column = divmod(index, GRID)
            y, x = row * TILE + margin, column * TILE + margin
            canvas[y : y + shown, x : x + shown] = cv2.resize(picture, (shown, shown), interpolation=cv2.INTER_CUBIC)
        labelled = teacher.label(canvas)
        best = np.full(len(group), 0.5)
        for stride, cells, values in zip(STRIDES, labelled.cells, labelled.values, strict=True):
            centre = cells[:, 1::-1] * float(stride)
            box = np.hstack([centre - values[:, 1:3] * stride, centre + values[:, 3:5] * stride])
            point = centre[:, None] + values[:, 5:].reshape(-1, 5, 2) * stride
            tiles = ((box[:, :2] + box[:, 2:]) / 2 // TILE).astype(int)
            for index in range(len(cells)):
                column, row = tiles[index]
                tile = row * GRID + column
                if not 0 <= tile < len(group) or values[index, 0] < best[tile]:
                    continue
                best[tile] = values[index, 0]
                corner = np.array([column * TILE + margin, row * TILE + margin])
                points[start + tile] = (point[index] - corner) * (side / shown)
                boxes[start + tile] = (box[index] - np.tile(corner, 2)) * (side / shown)
                found[start + tile] = True
    points[~found] = np.median(points[found], axis=0)
    boxes[~found] = np.median(boxes[found], axis=0)
    return points, boxes, found


def cached_points(
    pictures: Picture, teacher: Path, shown: int, path: Path
) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Return `find_points`, kept in the file ``path``."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        points, boxes, found = find_points(pictures, Teacher(teacher, 1), shown)
        np.savez(path, points=points, boxes=boxes, found=found)
    with np.load(path) as stored:
        return stored["points"], stored["boxes"], stored["found"]


def served_points(pictures: Picture, path: Path, singly: npt.NDArray[np.bool_]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return key points (N, 5, 2) by the app's own detector, and where it found a face. They are kept in ``path``.

    Args:
        pictures: (N, S, S, 3) RGB.
        path: The file.
        singly: (N,) which pictures to look at one by one, as `faceinsight evaluate` does. The others are seen at half
            their size, sixteen at a time: their points scatter more, as those of small faces do.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        analyzer = FaceAnalyzer("compact", threads=1)
        count, side = pictures.shape[:2]
        points = np.zeros((count, 5, 2), np.float32)
        for index in np.flatnonzero(singly):
            points[index] = _in_tiles(analyzer, pictures[index : index + 1], 1, side)[0]
        others = np.flatnonzero(~singly)
        for start in range(0, len(others), GRID * GRID):
            group = others[start : start + GRID * GRID]
            points[group] = _in_tiles(analyzer, pictures[group], GRID, side // 2)
        np.savez(path, points=points)
    with np.load(path) as stored:
        return stored["points"], stored["points"].any((1, 2))


def _in_tiles(analyzer: FaceAnalyzer, pictures: Picture, grid: int, shown: int) -> Floats:
    """Return the key points of the surest face in every picture, zero where there is none.

    A detector expects a head in a frame, not a frame of a head: half a picture's side of black is around each.
    """
    margin, tile = shown // 2, shown + 2 * (shown // 2)
    canvas = np.zeros((grid * tile, grid * tile, 3), np.uint8)
    for index, picture in enumerate(pictures):
        y, x = (tile * part + margin for part in divmod(index, grid))
        canvas[y : y + shown, x : x + shown] = cv2.resize(picture, (shown, shown), interpolation=cv2.INTER_AREA)
    points = np.zeros((len(pictures), 5, 2), np.float32)
    for face in analyzer.detect(canvas):
        x, y = int((face.bbox[0] + face.bbox[2]) / 2 // tile), int((face.bbox[1] + face.bbox[3]) / 2 // tile)
        index = y * grid + x
        if 0 <= x < grid and 0 <= index < len(pictures) and face.kps is not None and not points[index].any():
            corner = np.array([x * tile + margin, y * tile + margin])
            points[index] = (np.array(face.kps) - corner) * (pictures.shape[1] / shown)
    return points


def aligned(picture: Picture, points: Floats, size: int, crop_scale: float) -> Picture:
    """Return the face turned upright, as the app cuts it: ``size`` pixels a side, black outside the picture."""
    matrix = similarity(points, template(size, crop_scale))
    return cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR)


def jittered(
    picture: Picture,
    points: Floats,
    size: int,
    crop_scale: float,
    rng: np.random.Generator,
    *,
    spread: float = 1.0,
    around: Picture | None = None,
) -> Picture:
    """Return an aligned crop as a less sure detector would have caused it, now and then mirrored.

    What lies outside the picture is filled in several ways: a crop in the app shows hair and background there, so the
    network must not take a black frame for a sign of anything.

    Args:
        picture: (H, W, 3) RGB.
        points: (5, 2) in pixels.
        size: Side of the crop.
        crop_scale: As `template` takes it.
        rng: Source of chance.
        spread: Multiplies every change of the geometry. Above 1, width and height change apart as well: many
            pictures on the web are stretched.
        around: Another picture, which now and then is what lies outside.
    """
    matrix = similarity(points, template(size, crop_scale)).astype(np.float64)
    turn, scale = float(rng.normal(0, 6 * spread)), float(np.exp(rng.normal(0, 0.06 * spread)))
    change = cv2.getRotationMatrix2D((size / 2, size / 2), turn, scale)
    if spread > 1 and rng.random() < 0.5:
        stretch = np.exp(rng.uniform(-0.14, 0.14))
        change = np.diag([stretch, 1 / stretch]) @ change
        change[:, 2] += size / 2 * (1 - np.array([stretch, 1 / stretch]))
    change[:, 2] += rng.normal(0, 0.025 * size * spread, 2)
    matrix = change @ np.vstack([matrix, [0, 0, 1]])
    if rng.random() < 0.5:
        matrix[0] = -matrix[0]
        matrix[0, 2] += size - 1
    if around is not None and rng.random() < 0.4:
        crop = cv2.resize(around, (size, size), interpolation=cv2.INTER_AREA)
        return cv2.warpAffine(picture, matrix, (size, size), crop, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
    border = (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101)[int(rng.integers(3))]
    colour = (0, 0, 0) if rng.random() < 0.6 else tuple(int(c) for c in rng.integers(0, 256, 3))
    return cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=colour)
