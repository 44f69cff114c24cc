"""Apparent age and gender, in the contract of InsightFace's genderage.onnx or as a distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnxruntime as ort

from faceinsight.inference.crops import Images
from faceinsight.inference.face_model import FaceModel, softmax
from faceinsight.inference.session import FloatArray
from faceinsight.packs.spec import FaceModelSpec
from faceinsight.results import Classification, Face

GENDERS = ("female", "male")
# What share of the predicted distribution lies below each end of the age range.
RANGE_QUANTILES = (0.1, 0.9)


class Attributes:
    """Reads age and gender off cropped faces, all faces of an image in one batch."""

    def __init__(self, spec: FaceModelSpec, session: ort.InferenceSession) -> None:
        """Wraps a session; raises ModelFileError where the model does not fit the declaration."""
        self.model = FaceModel(spec, session, columns=3)

    def add_to(self, image: Images, faces: Sequence[Face]) -> tuple[Face, ...]:
        """Returns the faces with `age`, `gender` and, from a distribution, `age_range`.

        Args:
            image: (H, W, 3) uint8 RGB, or one such image a face.
            faces: N >= 1 detected faces of this image.
        """
        rows = self.model.run(image, faces)
        genders = softmax(rows[:, :2] / np.float32(self.model.spec.temperature))
        ages, ranges = _read_ages(rows[:, 2:], self.model.spec.output)
        return tuple(
            replace(
                face,
                age=float(ages[i]),
                age_range=None if ranges is None else (float(ranges[i, 0]), float(ranges[i, 1])),
                gender=Classification(GENDERS, tuple(float(p) for p in genders[i])),
            )
            for i, face in enumerate(faces)
        )


def _read_ages(columns: FloatArray, output: str) -> tuple[FloatArray, FloatArray | None]:
    """Returns (N,) ages and, from a distribution, (N, 2) ranges, in years."""
    if output == "genderage":
        return np.maximum(columns[:, 0] * 100, 0), None
    shares = softmax(columns)
    years = np.arange(shares.shape[1], dtype=np.float32)
    below = np.cumsum(shares, axis=1)
    ends = [np.argmax(below >= quantile, axis=1) for quantile in RANGE_QUANTILES]
    return np.asarray(shares @ years, np.float32), np.stack(ends, axis=1).astype(np.float32)
