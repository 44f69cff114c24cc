"""Finds faces with InsightFace's SCRFD."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from insightface.model_zoo.scrfd import SCRFD

from faceinsight.errors import ModelFileError
from faceinsight.packs.spec import DetectorSpec
from faceinsight.results import Face

# Anchors: 3 strides with scores, boxes and key points, or 5 strides; each without key points too.
_SCRFD_OUTPUTS = (6, 9, 10, 15)


class Detector:
    """InsightFace's SCRFD on a session of ours.

    Source: Guo et al., "Sample and Computation Redistribution for Efficient Face Detection",
    arXiv 2105.04714; decoding and non-maximum suppression by the insightface package.
    """

    def __init__(self, spec: DetectorSpec, session: ort.InferenceSession) -> None:
        """Wraps a session.

        Args:
            spec: The pack's declaration.
            session: The loaded model.

        Raises:
            ModelFileError: If the model's outputs are not SCRFD's.
        """
        if len(session.get_outputs()) not in _SCRFD_OUTPUTS:
            raise ModelFileError(
                f"{spec.file.name} is no SCRFD detector (it has {len(session.get_outputs())} "
                "outputs): name another file in the pack."
            )
        self.session = session
        self.input_sizes = spec.input_sizes
        self._scrfd: Any = SCRFD(session=session)

    def detect(self, image: npt.NDArray[np.uint8], threshold: float = 0.5) -> tuple[Face, ...]:
        """Finds the faces of an image.

        Args:
            image: (H, W, 3) uint8 RGB.
            threshold: Faces with a lower detection score, in [0, 1], are left out.

        Returns:
            The faces with `bbox`, `det_score` and `kps`, the surest first.
        """
        height, width = image.shape[:2]
        # SCRFD shrinks the longest side to its input: a thinner picture would vanish.
        if min(height, width) * min(min(s) for s in self.input_sizes) < max(height, width):
            return ()
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        boxes, kps = self._scrfd.detect(bgr, input_size=list(self.input_sizes), det_thresh=threshold)
        return tuple(
            Face(
                bbox=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                det_score=min(float(box[4]), 1.0),
                kps=None if kps is None else tuple((float(x), float(y)) for x, y in kps[i]),
            )
            for i, box in enumerate(boxes)
        )
