"""Pictures of visitors, looked at: decoded to no more than that needs, told of in pixels of the files."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from faceinsight.analyzer import FaceAnalyzer
from faceinsight.media.image import LoadedImage, encode_image
from faceinsight.results import FrameAnalysis


def look_at(
    images: Sequence[LoadedImage], analyzer: FaceAnalyzer, det_threshold: float, min_face: float
) -> list[FrameAnalysis]:
    """Analyses pictures, their faces in one batch.

    Args:
        images: The pictures.
        analyzer: The models.
        det_threshold: As of `FaceAnalyzer.analyze`.
        min_face: Faces whose longest side is shorter are left out, in pixels of the picture as it is in its file.

    Returns:
        One analysis an image, in their order, in pixels of the pictures as they are in their files.
    """
    pictures = [image.pixels for image in images]
    smaller = min((image.pixels.shape[1] / image.size[0] for image in images if image.size), default=1.0)
    found = analyzer.analyze_many(pictures, det_threshold=det_threshold, min_face=min_face * smaller)
    return [_in_full(analysis, image.size, min_face) for analysis, image in zip(found, images, strict=True)]


def data_url(pixels: npt.NDArray[np.uint8], quality: int = 90) -> str:
    """Returns a picture (H, W, 3) RGB as an address that holds it, a JPEG of a quality from 1 to 95."""
    return f"data:image/jpeg;base64,{base64.b64encode(encode_image(pixels, quality=quality)).decode()}"


def _in_full(analysis: FrameAnalysis, size: tuple[int, int] | None, min_face: float) -> FrameAnalysis:
    width, height = size or (analysis.width, analysis.height)
    faces = (face.scaled(width / analysis.width, height / analysis.height) for face in analysis.faces)
    kept = tuple(face for face in faces if face.side >= min_face)
    return replace(analysis, width=width, height=height, faces=kept)
