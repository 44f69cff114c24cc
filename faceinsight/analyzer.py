"""The pipeline for one image: detect, then ask every face model once about all faces."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from faceinsight.errors import MediaError, PackError
from faceinsight.inference.attributes import Attributes
from faceinsight.inference.classifier import Classifier
from faceinsight.inference.crops import Images
from faceinsight.inference.detector import Detector
from faceinsight.inference.providers import AUTO as AUTO_PROVIDER
from faceinsight.inference.providers import problem_of
from faceinsight.inference.session import create_session
from faceinsight.media.image import load_image
from faceinsight.packs import AUTO, pack_hash, resolve
from faceinsight.results import BBox, Face, FrameAnalysis, reading_order

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
        provider_problem: One sentence, where "auto" took the CPU because what is installed did not start; else None.
    """

    def __init__(
        self,
        pack: str | Path = AUTO,
        *,
        models: str | Path | None = None,
        provider: str = AUTO_PROVIDER,
        threads: int | None = None,
    ) -> None:
        """Loads a model pack.

        Args:
            pack: Name of a pack, the path of a folder with a pack.toml, or "auto" for the first
                pack that is on this machine.
            models: A folder to look for model files in before all others.
            provider: What runs the models: "cpu", "cuda", "coreml", "directml", "openvino", or "auto" for
                what the installed ONNX Runtime was built for; never another than the one asked for.
            threads: Threads within one operator; None for every core this process may use.

        Raises:
            PackError: If the pack is unknown, wrongly declared, or its detector is not here.
            ProviderError: If the provider is not here, or does not start.
            ModelFileError: If a model file is not the declared one, or cannot be run.
        """
        self._resolved = resolved = resolve(pack, models)
        self.pack = resolved.spec
        self.missing = resolved.missing
        if "detector" in resolved.missing:
            raise PackError(f"Pack {self.pack.name} cannot find faces: {resolved.missing['detector']}")
        assert self.pack.detector is not None
        sessions = {stage: create_session(path, provider, threads) for stage, path in resolved.paths.items()}
        self.providers: tuple[str, ...] = tuple(sessions["detector"].get_providers())
        self.provider_problem = problem_of(sessions["detector"]) if provider == AUTO_PROVIDER else None
        self._detector = Detector(self.pack.detector, sessions["detector"], sessions.get("verifier"))
        self._attributes: Attributes | None = None
        self._classifiers: dict[str, Classifier] = {}
        for stage, spec in self.pack.face_models:
            if stage in self.missing:
                continue
            if stage == "attributes":
                self._attributes = Attributes(spec, sessions[stage])
            else:
                self._classifiers[stage] = Classifier(spec, sessions[stage])

    @cached_property
    def pack_hash(self) -> str:
        """What tells the pack from every other: the sha256 over those of its files."""
        return pack_hash(self._resolved)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that run, of "detector", "attributes", "emotion" and further heads."""
        attributes = () if self._attributes is None else ("attributes",)
        return ("detector", *attributes, *self._classifiers)

    def analyze(
        self,
        image: npt.NDArray[np.uint8] | str | Path,
        *,
        det_threshold: float = DET_THRESHOLD,
        min_face: float = 0,
    ) -> FrameAnalysis:
        """Analyses one image: `detect`, then `describe`.

        Args:
            image: (H, W, 3) uint8 RGB, or the path of an image file.
            det_threshold: Faces with a lower detection score, in [0, 1], are left out.
            min_face: Faces whose longest side is shorter, in pixels, are left out.

        Returns:
            The faces from left to right and top to bottom, as of `reading_order`.

        Raises:
            MediaError: If the image is no (H, W, 3) array of uint8 with H and W above zero, or the file
                cannot be read.
        """
        if isinstance(image, str | Path):
            image = load_image(image, name=str(image)).pixels
        return self.analyze_many([image], det_threshold=det_threshold, min_face=min_face)[0]

    def analyze_many(
        self,
        images: Sequence[npt.NDArray[np.uint8]],
        *,
        det_threshold: float = DET_THRESHOLD,
        min_face: float = 0,
    ) -> list[FrameAnalysis]:
        """Analyses several images; every face model is asked once about the faces of them all.

        Args:
            images: (H, W, 3) uint8 RGB each, of any sizes.
            det_threshold: As of `analyze`.
            min_face: As of `analyze`.

        Returns:
            One analysis an image, in their order; what the face models took is shared out by numbers of faces.

        Raises:
            MediaError: If an image is no (H, W, 3) array of uint8 with H and W above zero.
        """
        found: list[tuple[Face, ...]] = []
        timings: list[list[tuple[str, float]]] = []
        for image in images:
            clock = time.perf_counter()
            found.append(reading_order(self.detect(image, det_threshold=det_threshold, min_face=min_face)))
            timings.append([("detector", (time.perf_counter() - clock) * 1000)])
        faces = tuple(face for some in found for face in some)
        pictures = [image for image, some in zip(images, found, strict=True) for _ in some]
        for stage in self.stages[1:] if faces else ():
            clock = time.perf_counter()
            faces = self.describe(pictures, faces, (stage,))
            each = (time.perf_counter() - clock) * 1000 / len(faces)
            for some, times in zip(found, timings, strict=True):
                if some:
                    times.append((stage, each * len(some)))
        described = iter(faces)
        return [
            self.result(image, tuple(islice(described, len(some))), times)
            for image, some, times in zip(images, found, timings, strict=True)
        ]

    def detect(
        self,
        image: npt.NDArray[np.uint8],
        *,
        det_threshold: float = DET_THRESHOLD,
        min_face: float = 0,
        region: BBox | None = None,
    ) -> tuple[Face, ...]:
        """Finds the faces of one image, and says nothing else about them.

        Args:
            image: (H, W, 3) uint8 RGB.
            det_threshold: Faces with a lower detection score, in [0, 1], are left out.
            min_face: Faces whose longest side is shorter, in pixels, are left out. The larger it is, the
                less a detector with an input of free size has to look at.
            region: The part of the image to search, as (x1, y1, x2, y2) in pixels; None for all of it.

        Returns:
            The faces with `bbox`, `det_score` and `kps` in pixels of the whole image, the surest first.

        Raises:
            MediaError: If the image is no (H, W, 3) array of uint8 with H and W above zero.
        """
        check_image(image)
        return self._detector.detect(image, det_threshold, smallest=min_face, region=region)

    def describe(self, image: Images, faces: Sequence[Face], stages: Sequence[str] | None = None) -> tuple[Face, ...]:
        """Adds the answers of the face models, each asked once about all faces.

        Args:
            image: (H, W, 3) uint8 RGB, or one such image a face: many pictures of one face each then make
                one batch.
            faces: Faces of this image.
            stages: Which of "attributes", "emotion" and further heads to run; None for all that are here.

        Returns:
            The faces in the same order, with their answers; what other stages said is kept.
        """
        described = tuple(faces)
        wanted = [stage for stage in self.stages[1:] if stages is None or stage in stages]
        for stage in wanted if described else ():
            if stage == "attributes":
                assert self._attributes is not None
                described = self._attributes.add_to(image, described)
            else:
                described = _with_answers(described, stage, self._classifiers[stage], image)
        return described

    def result(
        self, image: npt.NDArray[np.uint8], faces: tuple[Face, ...], timings: Sequence[tuple[str, float]]
    ) -> FrameAnalysis:
        """Returns the analysis of an image (H, W, 3) with these faces and (stage, milliseconds)."""
        return FrameAnalysis(
            width=image.shape[1],
            height=image.shape[0],
            faces=faces,
            pack=self.pack.name,
            stages=self.stages,
            missing=tuple(self.missing.items()),
            timings=tuple(timings),
        )


def _with_answers(faces: tuple[Face, ...], stage: str, classifier: Classifier, image: Images) -> tuple[Face, ...]:
    answers = zip(faces, classifier.classify(image, faces), strict=True)
    if stage == "emotion":
        return tuple(
            replace(face, emotion=answer, valence=valence, arousal=arousal)
            for face, (answer, valence, arousal) in answers
        )
    return tuple(
        replace(face, heads=(*((head, old) for head, old in face.heads if head != stage), (stage, answer)))
        for face, (answer, _, _) in answers
    )


def check_image(image: npt.NDArray[np.uint8]) -> None:
    """Raises MediaError unless an image is an (H, W, 3) array of uint8 with at least one pixel."""
    shape = getattr(image, "shape", None)
    dtype = getattr(image, "dtype", None)
    if shape is None or dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise MediaError(
            f"The image is {type(image).__name__} of shape {shape} and type {dtype}: "
            "give an array of shape (height, width, 3) and type uint8, in RGB."
        )
