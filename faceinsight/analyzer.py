"""The pipeline for one image: detect, then ask every face model once about all faces."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from faceinsight.errors import MediaError, PackError
from faceinsight.inference.attributes import Attributes
from faceinsight.inference.classifier import Classifier
from faceinsight.inference.detector import Detector
from faceinsight.inference.session import create_session
from faceinsight.packs import AUTO, resolve
from faceinsight.results import Face, FrameAnalysis

DET_THRESHOLD = 0.5


class FaceAnalyzer:
    """Says where every face of an image is, and its apparent age, gender and emotion.

    One analyzer may be shared by any number of threads.

    Example:
        >>> analyzer = FaceAnalyzer()
        >>> for face in analyzer.analyze(rgb).faces:
        ...     print(face.bbox, face.age, face.gender.label, face.emotion.label)

    Attributes:
        pack: The declaration of the pack in use.
        missing: By stage that cannot run, one sentence that says why.
        providers: The ONNX Runtime execution providers in use, the first one first.
    """

    def __init__(
        self,
        pack: str | Path = AUTO,
        *,
        models: str | Path | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        """Loads a model pack.

        Args:
            pack: Name of a pack, the path of a folder with a pack.toml, or "auto" for the first
                pack that is on this machine.
            models: A folder to look for model files in before all others.
            providers: ONNX Runtime execution providers; None for CUDA where it is installed,
                else the CPU.
            threads: Threads within one operator; None for every core this process may use.

        Raises:
            PackError: If the pack is unknown, wrongly declared, or its detector is not here.
            ModelFileError: If a model file is not the declared one, or cannot be run.
        """
        resolved = resolve(pack, models)
        self.pack = resolved.spec
        self.missing = resolved.missing
        if "detector" in resolved.missing:
            raise PackError(f"Pack {self.pack.name} cannot find faces: {resolved.missing['detector']}")
        assert self.pack.detector is not None
        sessions = {stage: create_session(path, providers, threads) for stage, path in resolved.paths.items()}
        self.providers: tuple[str, ...] = tuple(sessions["detector"].get_providers())
        self._detector = Detector(self.pack.detector, sessions["detector"])
        self._attributes: Attributes | None = None
        self._classifiers: dict[str, Classifier] = {}
        for stage, spec in self.pack.face_models:
            if stage in self.missing:
                continue
            if stage == "attributes":
                self._attributes = Attributes(spec, sessions[stage])
            else:
                self._classifiers[stage] = Classifier(spec, sessions[stage])

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that run, of "detector", "attributes", "emotion" and further heads."""
        attributes = () if self._attributes is None else ("attributes",)
        return ("detector", *attributes, *self._classifiers)

    def analyze(
        self,
        image: npt.NDArray[np.uint8],
        *,
        det_threshold: float = DET_THRESHOLD,
        min_face: float = 0,
    ) -> FrameAnalysis:
        """Analyses one image.

        Args:
            image: (H, W, 3) uint8 RGB.
            det_threshold: Faces with a lower detection score, in [0, 1], are left out.
            min_face: Faces whose longest side is shorter, in pixels, are left out.

        Returns:
            The faces, the surest detection first.

        Raises:
            MediaError: If the image is no (H, W, 3) array of uint8 with H and W above zero.
        """
        check_image(image)
        height, width = image.shape[:2]
        timings: list[tuple[str, float]] = []
        clock = time.perf_counter()

        def lap(stage: str) -> None:
            nonlocal clock
            now = time.perf_counter()
            timings.append((stage, (now - clock) * 1000))
            clock = now

        faces = tuple(
            face for face in self._detector.detect(image, det_threshold) if max(face.width, face.height) >= min_face
        )
        lap("detector")
        if faces and self._attributes is not None:
            faces = self._attributes.add_to(image, faces)
            lap("attributes")
        for stage, classifier in self._classifiers.items() if faces else ():
            faces = _with_answers(faces, stage, classifier, image)
            lap(stage)
        return FrameAnalysis(
            width=width,
            height=height,
            faces=faces,
            pack=self.pack.name,
            stages=self.stages,
            missing=tuple(self.missing.items()),
            timings=tuple(timings),
        )


def _with_answers(
    faces: tuple[Face, ...], stage: str, classifier: Classifier, image: npt.NDArray[np.uint8]
) -> tuple[Face, ...]:
    answers = zip(faces, classifier.classify(image, faces), strict=True)
    if stage == "emotion":
        return tuple(
            replace(face, emotion=answer, valence=valence, arousal=arousal)
            for face, (answer, valence, arousal) in answers
        )
    return tuple(replace(face, heads=(*face.heads, (stage, answer))) for face, (answer, _, _) in answers)


def check_image(image: npt.NDArray[np.uint8]) -> None:
    """Raises MediaError unless an image is an (H, W, 3) array of uint8 with at least one pixel."""
    shape = getattr(image, "shape", None)
    dtype = getattr(image, "dtype", None)
    if shape is None or dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise MediaError(
            f"The image is {type(image).__name__} of shape {shape} and type {dtype}: "
            "give an array of shape (height, width, 3) and type uint8, in RGB."
        )
