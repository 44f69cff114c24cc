"""Finds faces with InsightFace's SCRFD, and looks again where it is in doubt."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from insightface.model_zoo.scrfd import SCRFD

from faceinsight.errors import ModelFileError
from faceinsight.inference.face_model import FaceModel
from faceinsight.inference.session import FloatArray, takes_pixels
from faceinsight.packs.spec import DetectorSpec
from faceinsight.results import BBox, Face

# Anchors: 3 strides with scores, boxes and key points, or 5 strides; each without key points too.
_SCRFD_OUTPUTS = (6, 9, 10, 15)
_STRIDE = 32
# Below this a network of stride 32 has hardly a cell to answer with.
_LEAST_SIDE = 96


class _Scrfd(SCRFD):  # type: ignore[misc]
    """InsightFace's SCRFD that takes RGB, and decodes the cells that pass the threshold instead of all."""

    def __init__(self, session: ort.InferenceSession) -> None:
        super().__init__(session=session)
        self.pixels = takes_pixels(session)
        # A network of ours then makes no boxes where nothing comes of them.
        self._asks_least = any(each.name == "least_score" for each in session.get_overridable_initializers())

    def forward(self, img: npt.NDArray[np.uint8], threshold: float) -> tuple[list[FloatArray], ...]:
        """Runs the network on an RGB picture of the input's size; scores, boxes, key points by stride."""
        blob: npt.NDArray[Any] = img[None]
        if not self.pixels:
            blob = cv2.dnn.blobFromImage(img, 1.0 / self.input_std, mean=(self.input_mean,) * 3)
        given = {self.input_name: blob}
        if self._asks_least:
            given["least_score"] = np.array(threshold, np.float32)
        outputs = [o.reshape(-1, o.shape[-1]) for o in self.session.run(self.output_names, given)]
        found: tuple[list[FloatArray], ...] = ([], [], [])
        for level, stride in enumerate(self._feat_stride_fpn):
            kept = np.flatnonzero(outputs[level][:, 0] >= threshold)
            row, column = np.divmod(kept // self._num_anchors, img.shape[1] // stride)
            centre = np.stack([column, row], axis=1).astype(np.float32) * stride
            reach = outputs[level + self.fmc][kept] * stride
            found[0].append(outputs[level][kept])
            found[1].append(np.hstack([centre - reach[:, :2], centre + reach[:, 2:]]))
            if self.use_kps:
                offsets = outputs[level + 2 * self.fmc][kept] * stride
                found[2].append(centre[:, None] + offsets.reshape(len(kept), offsets.shape[1] // 2, 2))
        return found


class Detector:
    """InsightFace's SCRFD on a session of ours.

    Source: Guo et al., "Sample and Computation Redistribution for Efficient Face Detection",
    arXiv 2105.04714; letterboxing and non-maximum suppression by the insightface package.
    """

    def __init__(
        self, spec: DetectorSpec, session: ort.InferenceSession, verifier: ort.InferenceSession | None = None
    ) -> None:
        """Wraps a session.

        Args:
            spec: The pack's declaration.
            session: The loaded model.
            verifier: The loaded model of the declared verifier; None to do without.

        Raises:
            ModelFileError: If the model's outputs are not SCRFD's, or the verifier is not as declared.
        """
        if len(session.get_outputs()) not in _SCRFD_OUTPUTS:
            raise ModelFileError(
                f"{spec.file.name} is no SCRFD detector (it has {len(session.get_outputs())} "
                "outputs): name another file in the pack."
            )
        self.session = session
        self._scrfd: Any = _Scrfd(session)
        fixed = self._scrfd.static_input_size
        self._sizes: tuple[tuple[int, int], ...] = spec.input_sizes if fixed is None else (fixed,)
        self._finds_from = spec.finds_from if fixed is None else None
        self._verifier: FaceModel | None = None
        self._doubt = (1.0, 1.0)
        if spec.verifier is not None and verifier is not None:
            self._verifier = FaceModel(spec.verifier.model, verifier, 5)
            self._doubt = spec.verifier.doubt

    def detect(
        self, image: npt.NDArray[np.uint8], threshold: float = 0.5, *, smallest: float = 0, region: BBox | None = None
    ) -> tuple[Face, ...]:
        """Finds the faces of an image.

        Args:
            image: (H, W, 3) uint8 RGB.
            threshold: Faces with a lower detection score, in [0, 1], are left out.
            smallest: Faces whose longest side is shorter, in pixels, are left out; a detector that says from
                which size on it finds faces then looks at a picture just large enough.
            region: The part of the image to look at, as (x1, y1, x2, y2) in pixels; None for all of it.

        Returns:
            The faces with `bbox`, `det_score` and `kps` in pixels of the whole image, the surest first.
        """
        left, top, right, bottom = (0, 0, image.shape[1], image.shape[0]) if region is None else _whole(region, image)
        part = image[top:bottom, left:right]
        sizes = self.input_sizes(right - left, bottom - top, smallest)
        # SCRFD shrinks the longest side to its input: a thinner picture would vanish.
        if min(part.shape[:2]) * min(min(size) for size in sizes) < max(part.shape[:2]):
            return ()
        boxes, kps = self._scrfd.detect(part, input_size=list(sizes), det_thresh=min(threshold, self._doubt[0]))
        boxes[:, :4] += (left, top, left, top)
        kps = None if kps is None else (kps + np.array((left, top), np.float32)).tolist()
        faces = (
            Face(
                bbox=(x1, y1, x2, y2),
                det_score=min(score, 1.0),
                kps=None if kps is None else tuple((x, y) for x, y in kps[i]),
            )
            for i, (x1, y1, x2, y2, score) in enumerate(boxes.tolist())
        )
        verified = self._verified(image, [face for face in faces if face.side >= smallest])
        return tuple(face for face in verified if face.det_score >= threshold and face.side >= smallest)

    def _verified(self, image: npt.NDArray[np.uint8], faces: list[Face]) -> list[Face]:
        """Asks the verifier about the doubtful ones; returns all, the surest first.

        Their scores then carry its evidence as well, below the scores of those that needed none, and their
        boxes are its own.
        """
        low, high = self._doubt
        doubtful = [i for i, face in enumerate(faces) if low <= face.det_score < high]
        if self._verifier is None or not doubtful:
            return faces
        half = self._verifier.spec.crop_scale / 2
        answers = self._verifier.run(image, [faces[i] for i in doubtful]).tolist()
        verified = list(faces)
        for i, answer in zip(doubtful, answers, strict=True):
            face, logit, edges = faces[i], answer[0], answer[1:5]
            odds = face.det_score / (1 - face.det_score) * math.exp(min(max(logit, -30.0), 30.0))
            score = odds / (1 + odds)
            score = min(score, 0.5) + max(score - 0.5, 0.0) * max(2 * high - 1, 0.0)
            reach = half * face.side
            x, y = (face.bbox[0] + face.bbox[2]) / 2, (face.bbox[1] + face.bbox[3]) / 2
            x1, y1, x2, y2 = (middle + edge * reach for middle, edge in zip((x, y, x, y), edges, strict=True))
            bbox = (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= 1 else face.bbox
            verified[i] = replace(face, bbox=bbox, det_score=score)
        # Boxes that only touched the same face lie on it now: the one of which the detector was surest has the best
        # key points, if the verifier agrees.
        order = sorted(range(len(faces)), key=lambda i: (verified[i].det_score < 0.5, -faces[i].det_score))
        ranked = [(*verified[i].bbox, 1 - rank / len(order)) for rank, i in enumerate(order)]
        kept = [verified[order[rank]] for rank in self._scrfd.nms(np.array(ranked, np.float32))]
        return sorted(kept, key=lambda face: -face.det_score)

    def input_sizes(self, width: int, height: int, smallest: float = 0) -> tuple[tuple[int, int], ...]:
        """Returns (width, height) in pixels of every pass over a picture.

        Args:
            width: Width of the picture in pixels.
            height: Height of the picture in pixels.
            smallest: The longest side of the smallest face that matters, in pixels; 0 for any.
        """
        if self._finds_from is None:
            return self._sizes
        longest = max(width, height)
        sides = sorted({max(size) for size in self._sizes})
        if smallest > 0:
            enough = max(_LEAST_SIDE, longest * self._finds_from / smallest)
            # What fills a large input is found at the small one.
            sides = sorted({min(sides[0], _ceil(enough)), min(sides[-1], _ceil(enough))})
        return tuple((_ceil(side * width / longest), _ceil(side * height / longest)) for side in sides)


def _ceil(side: float) -> int:
    """The next multiple of the stride; what a picture's shape has too much by rounding does not count."""
    return max(1, int(np.ceil(side / _STRIDE - 0.02))) * _STRIDE


def _whole(region: BBox, image: npt.NDArray[np.uint8]) -> tuple[int, int, int, int]:
    height, width = image.shape[:2]
    x1, y1 = min(max(int(region[0]), 0), width - 1), min(max(int(region[1]), 0), height - 1)
    return x1, y1, max(x1 + 1, min(int(np.ceil(region[2])), width)), max(y1 + 1, min(int(np.ceil(region[3])), height))
