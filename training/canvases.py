"""What the detector learns from: composed pictures with the teacher's raw outputs, a pool that keeps changing.

A canvas is 640x640. It holds one turned and scaled scene, four of them, or single faces pasted on a background, so that
faces of 16 to 450 pixels and tilts to 30 degrees occur in equal measure. The teacher sees each canvas once, clean; the
student sees crops of it, flipped and spoilt, and learns the teacher's answer cell by cell.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

from training.data import Faces, Floats, Picture, Scene, rotation, spoil
from training.networks import STRIDES

SIZE = 640
FLIPPED_POINTS = (1, 0, 2, 4, 3)
KEPT_SCORE = 0.04
"""Cells that the teacher scores lower count as zero."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """A picture (640, 640, 3) and the teacher's answer.

    Attributes:
        picture: RGB.
        cells: Per stride (K, 3) integers: row, column, anchor of the cells with a score of at least `KEPT_SCORE`.
        values: Per stride (K, 15): score, 4 distances, 10 key point offsets, in cells of the stride.
    """

    picture: Picture
    cells: tuple[npt.NDArray[np.int64], ...]
    values: tuple[Floats, ...]


class Teacher:
    """An SCRFD detector with a fixed 640x640 input."""

    def __init__(self, path: Path, threads: int = 2) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def run(self, blob: Floats) -> list[Floats]:
        """Return the nine raw outputs for an input (1, 3, 640, 640)."""
        answers: list[Floats] = self._session.run(None, {self._input: blob})
        return answers

    def outputs(self, picture: Picture) -> list[Floats]:
        """Return the nine raw outputs for an RGB picture of 640x640, without the batch axis."""
        blob = (picture.astype(np.float32) - 127.5) / 128.0
        return [answer.reshape(-1, answer.shape[-1]) for answer in self.run(blob.transpose(2, 0, 1)[None])]

    def label(self, picture: Picture) -> Canvas:
        """Return the picture as a `Canvas`."""
        outputs = self.outputs(picture)
        cells, values = [], []
        for level, stride in enumerate(STRIDES):
            rows = np.concatenate([outputs[level], outputs[level + 3], outputs[level + 6]], axis=1)
            kept = np.flatnonzero(rows[:, 0] >= KEPT_SCORE)
            cell, anchor = np.divmod(kept, 2)
            row, column = np.divmod(cell, SIZE // stride)
            cells.append(np.stack([row, column, anchor], axis=1))
            values.append(rows[kept].astype(np.float32))
        return Canvas(picture, tuple(cells), tuple(values))


class Composer:
    """Makes canvases out of scenes and single faces."""

    def __init__(self, scenes: list[Scene], faces: Faces, chosen: npt.NDArray[np.int64]) -> None:
        """Keep the sources.

        Args:
            scenes: Photos to train on.
            faces: UTKFace.
            chosen: Which of the faces to train on.
        """
        self._empty = [scene for scene in scenes if len(scene.boxes) == 0]
        self._busy = [scene for scene in scenes if len(scene.boxes)]
        self._faces = faces
        self._chosen = chosen

    def canvas(self, rng: np.random.Generator) -> Picture:
        """Return a new picture (640, 640, 3)."""
        kind = rng.random()
        if kind < 0.3:
            return self._scene(rng, SIZE, SIZE)
        if kind < 0.75:
            x, y = (int(v) for v in rng.integers(192, SIZE - 192, 2))
            canvas = np.empty((SIZE, SIZE, 3), np.uint8)
            for rows in (slice(0, y), slice(y, SIZE)):
                for columns in (slice(0, x), slice(x, SIZE)):
                    width, height = columns.stop - columns.start, rows.stop - rows.start
                    canvas[rows, columns] = self._scene(rng, width, height)
            return canvas
        canvas = self._scene(rng, SIZE, SIZE, empty=rng.random() < 0.5)
        largest = float(rng.choice([60, 150, 300, 450]))
        for _ in range(int(rng.integers(1, 3 if largest > 250 else 13))):
            self._paste(canvas, float(np.exp(rng.uniform(np.log(16), np.log(largest)))), rng)
        if largest > 250:
            self._paste(canvas, float(rng.uniform(180, 450)), rng)
        return canvas

    def _scene(self, rng: np.random.Generator, width: int, height: int, *, empty: bool = False) -> Picture:
        # Face-free scenes are a fifth of the set; faces are what a small network needs to see often.
        scenes = self._empty if empty or rng.random() < 0.15 else self._busy
        scene = scenes[int(rng.integers(len(scenes)))]
        h, w = scene.picture.shape[:2]
        fit = max(width / w, height / h) if rng.random() < 0.8 else min(width / w, height / h)
        scale = fit * float(np.exp(rng.normal(0.1, 0.35)))
        centre = (float(rng.uniform(0.2, 0.8)) * w, float(rng.uniform(0.2, 0.8)) * h)
        if len(scene.boxes) and rng.random() < 0.85:
            box = scene.boxes[int(rng.integers(len(scene.boxes)))]
            centre = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
            if rng.random() < 0.5:
                wanted = float(np.exp(rng.uniform(np.log(18), np.log(min(320, 0.9 * min(width, height))))))
                # More than fourfold, a face is a blur that teaches little.
                scale = min(wanted / max(float(box[3] - box[1]), 4.0), 5.0)
        tilt = float(np.clip(rng.normal(0, 13), -32, 32)) if rng.random() < 0.6 else 0.0
        to = (float(rng.uniform(0.25, 0.75)) * width, float(rng.uniform(0.25, 0.75)) * height)
        border = cv2.BORDER_REFLECT_101 if rng.random() < 0.3 else cv2.BORDER_CONSTANT
        colour = (0, 0, 0) if rng.random() < 0.6 else tuple(int(c) for c in rng.integers(0, 256, 3))
        picture = scene.picture
        if scale < 0.5:
            # Without area averaging a strong reduction makes patterns that no camera makes.
            picture = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            centre, scale = (centre[0] / 2, centre[1] / 2), scale * 2
        matrix = rotation(centre, tilt, scale, to)
        return cv2.warpAffine(picture, matrix, (width, height), borderMode=border, borderValue=colour)

    def _paste(self, canvas: Picture, face: float, rng: np.random.Generator) -> None:
        picture = self._faces.pictures[int(rng.choice(self._chosen))]
        scale = face / 100.0  # a face fills about 100 of a UTKFace picture's 128 pixels
        reach = face * 0.35
        to = (float(rng.uniform(reach, SIZE - reach)), float(rng.uniform(reach, SIZE - reach)))
        tilt = float(np.clip(rng.normal(0, 13), -32, 32))
        if scale < 0.6:
            picture = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)
            scale *= 2
        side = picture.shape[0]
        matrix = rotation((side / 2, side / 2), tilt, scale, to)
        mask = np.zeros((side, side), np.float32)
        if rng.random() < 0.7:
            cv2.ellipse(mask, (side // 2, side // 2), (int(side * 0.47), int(side * 0.5)), 0, 0, 360, 1.0, -1)
            mask = cv2.GaussianBlur(mask, (0, 0), side / 32)
        else:
            mask[1:-1, 1:-1] = 1.0
        alpha = cv2.warpAffine(mask, matrix, (SIZE, SIZE))[..., None]
        moved = cv2.warpAffine(np.ascontiguousarray(picture), matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
        canvas[:] = (moved * alpha + canvas * (1 - alpha)).astype(np.uint8)


class Pool:
    """The newest canvases; batches are drawn from it."""

    def __init__(self, composer: Composer, teacher: Teacher, capacity: int, rng: np.random.Generator) -> None:
        self._composer = composer
        self._teacher = teacher
        self._canvases: deque[Canvas] = deque(maxlen=capacity)
        self._rng = rng

    def grow(self, count: int) -> None:
        """Add new canvases; the oldest go when the pool is full."""
        for _ in range(count):
            self._canvases.append(self._teacher.label(self._composer.canvas(self._rng)))

    def batch(self, count: int, size: int) -> tuple[Picture, list[Floats]]:
        """Return crops (B, size, size, 3) and per stride the targets (B, N, 16).

        The columns of a target: score, 4 distances, 10 offsets, and 1 where the cell counts. A cell does not
        count where the teacher saw a face of which most lies outside the crop.
        """
        pictures = np.empty((count, size, size, 3), np.uint8)
        targets = [np.zeros((count, size // s, size // s, 2, 16), np.float32) for s in STRIDES]
        for target in targets:
            target[..., 15] = 1.0
        for index in range(count):
            canvas = self._canvases[int(self._rng.integers(len(self._canvases)))]
            flip = bool(self._rng.random() < 0.5)
            x, y = (32 * int(v) for v in self._rng.integers(0, (SIZE - size) // 32 + 1, 2))
            crop = np.ascontiguousarray(canvas.picture[y : y + size, x : x + size])
            if flip:
                # Cells start at their top left pixel, so a mirrored cell lies one pixel further right.
                crop = np.roll(crop[:, ::-1], 1, axis=1)
            pictures[index] = self._spoilt(crop)
            for level, stride in enumerate(STRIDES):
                cells, values = cropped(canvas.cells[level], canvas.values[level], x, y, size, stride, flip=flip)
                targets[level][index, cells[:, 0], cells[:, 1], cells[:, 2]] = values
        return pictures, [target.reshape(count, -1, 16) for target in targets]

    def _spoilt(self, crop: Picture) -> Picture:
        crop = spoil(crop, self._rng)
        if self._rng.random() < 0.15:
            size = crop.shape[0]
            for _ in range(int(self._rng.integers(1, 4))):
                w, h = (int(v) for v in self._rng.integers(8, size // 6, 2))
                x, y = int(self._rng.integers(0, size - w)), int(self._rng.integers(0, size - h))
                crop[y : y + h, x : x + w] = self._rng.integers(0, 256, 3)
        return crop


def cropped(
    cells: npt.NDArray[np.int64], values: Floats, x: int, y: int, size: int, stride: int, *, flip: bool
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Move a canvas's answer into a crop.

    Returns:
        The cells in the crop, and their values with a 16th column: whether the cell counts.
    """
    side = size // stride
    moved = cells - np.array([y // stride, x // stride, 0])
    inside = ((moved[:, :2] >= 0) & (moved[:, :2] < side)).all(axis=1)
    moved, kept = moved[inside], values[inside].copy()
    if flip:
        moved[:, 1] = side - moved[:, 1]
        kept[:, [1, 3]] = kept[:, [3, 1]]
        points = kept[:, 5:].reshape(-1, 5, 2)[:, FLIPPED_POINTS]
        kept[:, 5:] = (points * np.array([-1.0, 1.0], np.float32)).reshape(-1, 10)
        onto = moved[:, 1] < side
        moved, kept = moved[onto], kept[onto]
    centre = moved[:, 1::-1].astype(np.float32)
    low, high = centre - kept[:, 1:3], centre + kept[:, 3:5]
    seen = (np.clip(high, 0, side) - np.clip(low, 0, side)).prod(axis=1)
    counts = seen > 0.55 * np.maximum((high - low).prod(axis=1), 1e-6)
    return moved, np.column_stack([kept, counts]).astype(np.float32)
