"""What every model that looks at cropped faces does: crop, normalise, run once for all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort

from faceinsight.errors import ModelFileError
from faceinsight.inference.crops import Images, UInt8Array, crop_face
from faceinsight.inference.session import FloatArray, run_batched, takes_pixels
from faceinsight.packs.spec import FaceModelSpec
from faceinsight.results import Face


class FaceModel:
    """A model with one input of face crops and one output row a face.

    An input of type uint8 gets the crops as they are, (N, height, width, 3); any other gets them normalised,
    (N, 3, height, width) float32.
    """

    def __init__(self, spec: FaceModelSpec, session: ort.InferenceSession, columns: int) -> None:
        """Wraps a session.

        Args:
            spec: The pack's declaration.
            session: The loaded model.
            columns: The least number of values an output row must have.

        Raises:
            ModelFileError: If the model does not take the declared size or gives too few values.
        """
        self.spec = spec
        self.session = session
        self._pixels = takes_pixels(session)
        shape = session.get_inputs()[0].shape
        sides = shape[1:3] if self._pixels else shape[2:4]
        wanted = (spec.size[1], spec.size[0])
        if len(shape) != 4 or any(
            isinstance(have, int) and have != want for have, want in zip(sides, wanted, strict=True)
        ):
            raise ModelFileError(
                f"{spec.file.name} takes an input of shape {shape}, not faces of "
                f"{spec.size[0]}x{spec.size[1]} pixels: correct 'size' in the pack."
            )
        if self._pixels and (any(spec.mean) or set(spec.std) != {1.0}):
            raise ModelFileError(
                f"{spec.file.name} takes pixels as they are: remove 'mean' and 'std' from its table in the pack."
            )
        given = session.get_outputs()[0].shape[-1]
        if isinstance(given, int) and given < columns:
            raise ModelFileError(
                f"{spec.file.name} gives {given} values a face, and the pack declares {columns}: "
                "correct 'labels' or 'output' in the pack."
            )
        # One value a channel, shaped to divide (N, 3, H, W).
        self._mean = np.array(spec.mean, np.float32).reshape(3, 1, 1)
        self._std = np.array(spec.std, np.float32).reshape(3, 1, 1)

    def blob(self, image: Images, faces: Sequence[Face]) -> FloatArray | UInt8Array:
        """Makes the model's input.

        Args:
            image: (H, W, 3) uint8 RGB, or one such image a face.
            faces: N >= 1 detected faces of this image.

        Returns:
            In the model's channel order, (N, height, width, 3) uint8 for a model that takes pixels, else
            (N, 3, height, width) float32, normalised.
        """
        images = [image] * len(faces) if isinstance(image, np.ndarray) else image
        crops = np.stack([crop_face(one, face, self.spec) for one, face in zip(images, faces, strict=True)])
        if self.spec.color == "bgr":
            crops = crops[..., ::-1]
        if self._pixels:
            return np.ascontiguousarray(crops)
        blob = np.empty((len(crops), 3, *crops.shape[1:3]), np.float32)
        np.subtract(crops.transpose(0, 3, 1, 2), self._mean, out=blob)
        blob /= self._std
        return blob

    def run(self, image: Images, faces: Sequence[Face]) -> FloatArray:
        """Returns the model's raw output, (N, K) float32, row i for faces[i]."""
        return run_batched(self.session, self.blob(image, faces))


def softmax(logits: FloatArray) -> FloatArray:
    """Returns the softmax of every row of an (N, K) array."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)
