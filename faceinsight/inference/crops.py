"""Cuts faces out of an image, the way each model was trained to see them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from faceinsight.packs.spec import FaceModelSpec
from faceinsight.results import BBox, Face, Keypoints

UInt8Array = npt.NDArray[np.uint8]
# One (H, W, 3) image that holds all the faces asked about, or one image a face.
Images = UInt8Array | Sequence[UInt8Array]

# InsightFace's ArcFace template: eyes, nose tip and corners of the mouth in a 112 px square.
_ARCFACE_SIDE = 112
_ARCFACE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)


def similarity_matrix(points: npt.NDArray[np.float64], template: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the least-squares similarity transform of points onto a template.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    PAMI 1991, in its closed form for two dimensions.

    Args:
        points: (N, 2) x and y, not all the same.
        template: (N, 2) where they should go.

    Returns:
        (2, 3) affine matrix for `cv2.warpAffine`.
    """
    mean_p, mean_t = points.mean(axis=0), template.mean(axis=0)
    p, t = points - mean_p, template - mean_t
    spread = max(float((p * p).sum()), 1e-9)
    cos = float((p * t).sum()) / spread
    sin = float((p[:, 0] * t[:, 1] - p[:, 1] * t[:, 0]).sum()) / spread
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([turn, mean_t - turn @ mean_p])


def aligned_crop(image: UInt8Array, kps: Keypoints, size: tuple[int, int], scale: float) -> UInt8Array:
    """Turns, shifts and scales a face onto InsightFace's ArcFace template.

    Args:
        image: (H, W, 3) uint8.
        kps: The face's five points.
        size: (width, height) of the result in pixels.
        scale: 1 for ArcFace's own framing, more to show more around the face.

    Returns:
        (height, width, 3) uint8, black outside the image.
    """
    centre = _ARCFACE_SIDE / 2
    template = ((_ARCFACE - centre) / scale + centre) * np.array(size) / _ARCFACE_SIDE
    matrix = similarity_matrix(np.asarray(kps, np.float64), template)
    return np.asarray(cv2.warpAffine(image, matrix, size), np.uint8)


def scaled_box_crop(image: UInt8Array, bbox: BBox, size: tuple[int, int], scale: float) -> UInt8Array:
    """Cuts a square around a box, as InsightFace's `Attribute.get` does.

    Args:
        image: (H, W, 3) uint8.
        bbox: The face's box.
        size: (width, height) of the result in pixels.
        scale: Side of the square divided by the longest side of the box.

    Returns:
        (height, width, 3) uint8, black outside the image.
    """
    x1, y1, x2, y2 = bbox
    zoom = size[0] / (max(x2 - x1, y2 - y1, 1e-6) * scale)
    matrix = np.array(
        [
            [zoom, 0.0, size[0] / 2 - (x1 + x2) / 2 * zoom],
            [0.0, zoom, size[1] / 2 - (y1 + y2) / 2 * zoom],
        ]
    )
    return np.asarray(cv2.warpAffine(image, matrix, size), np.uint8)


def box_pixels(image: UInt8Array, bbox: BBox) -> tuple[int, int, int, int]:
    """Returns a box as whole pixels (x1, y1, x2, y2) inside the image, at least one pixel large."""
    height, width = image.shape[:2]
    x1 = min(max(int(bbox[0]), 0), width - 1)
    y1 = min(max(int(bbox[1]), 0), height - 1)
    return x1, y1, min(max(int(bbox[2]), x1 + 1), width), min(max(int(bbox[3]), y1 + 1), height)


def tight_box_crop(image: UInt8Array, bbox: BBox, size: tuple[int, int]) -> UInt8Array:
    """Stretches the part of an image inside a box to a size, as HSEmotion is fed.

    Args:
        image: (H, W, 3) uint8.
        bbox: The face's box; what reaches past the image is left out.
        size: (width, height) of the result in pixels.

    Returns:
        (height, width, 3) uint8.
    """
    x1, y1, x2, y2 = box_pixels(image, bbox)
    return np.asarray(cv2.resize(image[y1:y2, x1:x2], size), np.uint8)


def crop_face(image: UInt8Array, face: Face, spec: FaceModelSpec) -> UInt8Array:
    """Cuts one face out as a model's declaration says.

    Args:
        image: (H, W, 3) uint8 RGB.
        face: A detected face of this image.
        spec: The model's declaration.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    if spec.crop == "tight_box":
        return tight_box_crop(image, face.bbox, spec.size)
    if spec.crop == "aligned" and face.kps is not None:
        return aligned_crop(image, face.kps, spec.size, spec.crop_scale)
    # Without key points an upright face is the best guess at an aligned one.
    return scaled_box_crop(image, face.bbox, spec.size, spec.crop_scale)
