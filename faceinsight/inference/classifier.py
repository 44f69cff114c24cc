"""Facial expression, and whatever further classifier a pack declares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort

from faceinsight.inference.crops import Images
from faceinsight.inference.face_model import FaceModel, softmax
from faceinsight.packs.spec import FaceModelSpec
from faceinsight.results import Classification, Face


class Classifier:
    """Sorts cropped faces into named classes, all faces of an image in one batch.

    With HSEmotion's labels, size, mean and standard deviation this is hsemotion_onnx's
    `HSEmotionRecognizer`, with as many faces a run as there are.
    """

    def __init__(self, spec: FaceModelSpec, session: ort.InferenceSession) -> None:
        """Wraps a session; raises ModelFileError where the model does not fit the declaration."""
        self.has_valence_arousal = spec.output == "classes_valence_arousal"
        self.model = FaceModel(spec, session, len(spec.labels) + 2 * self.has_valence_arousal)

    def classify(self, image: Images, faces: Sequence[Face]) -> list[tuple[Classification, float | None, float | None]]:
        """Classifies the faces of an image.

        Args:
            image: (H, W, 3) uint8 RGB, or one such image a face.
            faces: N >= 1 detected faces of this image.

        Returns:
            By face (classes, valence, arousal); the last two None where the model has none.
        """
        labels = self.model.spec.labels
        rows = self.model.run(image, faces)
        logits = rows[:, : len(labels)] / np.float32(self.model.spec.temperature)
        classes = [Classification(labels, tuple(float(p) for p in shares)) for shares in softmax(logits)]
        if not self.has_valence_arousal:
            return [(answer, None, None) for answer in classes]
        pairs = rows[:, len(labels) : len(labels) + 2]
        return [
            (answer, float(valence), float(arousal)) for answer, (valence, arousal) in zip(classes, pairs, strict=True)
        ]
