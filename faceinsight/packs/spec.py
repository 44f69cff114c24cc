"""The declaration of a model pack: one TOML table, read and checked here."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceinsight.errors import PackError

CROPS = ("aligned", "scaled_box", "tight_box")
# How an output row may be read, by what it tells.
ATTRIBUTES = ("genderage", "age_distribution")
EMOTION = ("classes", "classes_valence_arousal")
HEAD = ("classes",)
VERIFIER = ("face_box",)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One ONNX file: how to recognise it and where it can be had.

    Attributes:
        name: File name, relative to the pack's folder and within it.
        bytes: Exact size, or None where it is not published.
        sha256: Hex digest of the content, or None.
        git_blob: Git's object id of the content (hex sha1), where no sha256 is published, or None.
        url: Where it can be downloaded, or None.
        member: Name of the file inside the zip archive at `url`, or None.
        licence: The terms of the weights, in a few words.
    """

    name: str
    bytes: int | None = None
    sha256: str | None = None
    git_blob: str | None = None
    url: str | None = None
    member: str | None = None
    licence: str = "not stated"


@dataclass(frozen=True, slots=True)
class FaceModelSpec:
    """A model that looks at one cropped face.

    Attributes:
        file: The model file.
        size: (width, height) of its input in pixels.
        crop: "aligned" (similarity transform of the five points onto the ArcFace template),
            "scaled_box" (square around the box) or "tight_box" (the box as it is, stretched).
        crop_scale: How much more than the template ("aligned") or than the longest side of the
            box ("scaled_box") the crop shows.
        color: Channel order of the input, "rgb" or "bgr".
        mean: Per channel, subtracted from pixel values 0 to 255; not for a model whose input is uint8.
        std: Per channel, divides the difference; as `mean`.
        output: How to read the output row: "genderage" (logits female and male, age / 100),
            "age_distribution" (logits female and male, then one logit a year from 0),
            "classes" (one logit a label), "classes_valence_arousal" (the same, then the two) or "face_box"
            (one logit for a face, then its edges x1, y1, x2, y2 from the middle of the crop, in half sides).
        labels: Class names, for the two with classes.
        temperature: Divides the logits before the softmax, which makes probabilities honest.
    """

    file: ModelFile
    size: tuple[int, int]
    crop: str
    output: str
    crop_scale: float = 1.0
    color: str = "rgb"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    labels: tuple[str, ...] = ()
    temperature: float = 1.0


@dataclass(frozen=True, slots=True)
class VerifierSpec:
    """A second look at the places that the detector is not sure of.

    Attributes:
        model: The model; its logit is the evidence for a face, apart from the detector's own.
        doubt: From which detection score on, and below which, it is asked.
    """

    model: FaceModelSpec
    doubt: tuple[float, float]


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """A detector with SCRFD's outputs.

    Attributes:
        file: The model file.
        input_sizes: (width, height) in pixels of every pass over the image.
        finds_from: Longest side, in pixels of the input, of the smallest face that the detector finds well.
            With it an input of free size takes the picture's shape, and shrinks where only larger faces matter.
        verifier: What looks again where the detector is in doubt, or None.
    """

    file: ModelFile
    input_sizes: tuple[tuple[int, int], ...] = ((640, 640),)
    finds_from: int | None = None
    verifier: VerifierSpec | None = None


@dataclass(frozen=True, slots=True)
class PackSpec:
    """A model pack as declared; a stage may be absent.

    Attributes:
        name: Name of the pack.
        title: Name to show.
        description: One or two sentences.
        folder: The folder that holds its pack.toml and files; None for a pack of the catalogue.
        detector: The face detector.
        face_models: Models by stage name: "attributes", "emotion", then further heads.
    """

    name: str
    title: str
    description: str
    folder: Path | None
    detector: DetectorSpec | None
    face_models: tuple[tuple[str, FaceModelSpec], ...]

    @property
    def files(self) -> dict[str, ModelFile]:
        """The model file of every declared stage, and of the detector's verifier."""
        files = {} if self.detector is None else {"detector": self.detector.file}
        if self.detector is not None and self.detector.verifier is not None:
            files["verifier"] = self.detector.verifier.model.file
        return files | {stage: spec.file for stage, spec in self.face_models}


class _Table:
    """A TOML table that says in one sentence what is wrong with it."""

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self.values = dict(values)
        self.where = where

    def take(self, key: str, kind: type | tuple[type, ...], default: Any = ...) -> Any:
        value = self.values.pop(key, default)
        if value is ...:
            raise PackError(f"{self.where} lacks the key '{key}': add it.")
        if value is not default and (not isinstance(value, kind) or isinstance(value, bool)):
            raise PackError(f"{self.where} has a '{key}' of the wrong type ({value!r}): correct it.")
        return value

    def one_of(self, key: str, allowed: tuple[str, ...], default: Any = ...) -> str:
        value: str = self.take(key, str, default)
        if value not in allowed:
            raise PackError(f"{self.where} has {key} = {value!r}: use one of {', '.join(allowed)}.")
        return value

    def numbers(self, key: str, count: int, default: Any = ...) -> tuple[float, ...]:
        value = self.take(key, list, default)
        good = len(value) == count and all(isinstance(v, int | float) for v in value)
        if not good:
            raise PackError(f"{self.where} needs {count} numbers in '{key}': correct it.")
        return tuple(value)

    def table(self, key: str) -> _Table | None:
        value = self.take(key, dict, None)
        return None if value is None else _Table(value, f"[{key}] in {self.where}")

    def done(self) -> None:
        if self.values:
            keys = ", ".join(sorted(self.values))
            raise PackError(f"{self.where} has keys that mean nothing here ({keys}): remove them.")


def _pixels(size: tuple[float, ...], where: str) -> tuple[int, int]:
    if not all(isinstance(side, int) and side > 0 for side in size):
        raise PackError(f"{where} needs sizes in whole pixels above zero: correct them.")
    return int(size[0]), int(size[1])


def _inside(name: str, where: str) -> str:
    """Returns a file name if it stays within the folder that it is joined to, on every system."""
    strange = any(sign in name for sign in '\\:*?"<>|') or any(ord(sign) < 32 for sign in name)
    # Windows drops dots and spaces at an end: what differs from a name by them alone is that name.
    steps = [step.rstrip(". ") for step in name.split("/")]
    if strange or not all(steps) or "/".join(steps).lower() == "pack.toml":
        raise PackError(f"{where} names the file {name!r}, and a file must lie within the pack's folder: correct it.")
    return name


def _model_file(table: _Table) -> ModelFile:
    size = table.take("bytes", int, None)
    if size is not None and size <= 0:
        raise PackError(f"{table.where} needs 'bytes' above zero: correct it.")
    return ModelFile(
        name=_inside(table.take("file", str), table.where),
        bytes=size,
        sha256=table.take("sha256", str, None),
        git_blob=table.take("git_blob", str, None),
        url=table.take("url", str, None),
        member=table.take("member", str, None),
        licence=table.take("licence", str, "not stated"),
    )


def _detector(table: _Table) -> DetectorSpec:
    file = _model_file(table)
    sizes = table.take("input_sizes", list, [[640, 640]])
    if not sizes or not all(isinstance(size, list) and len(size) == 2 for size in sizes):
        raise PackError(f"{table.where} needs 'input_sizes' as [[width, height], ...]: correct it.")
    finds_from = table.take("finds_from", int, None)
    if finds_from is not None and finds_from <= 0:
        raise PackError(f"{table.where} needs a 'finds_from' above zero: correct it.")
    verifier = table.table("verifier")
    spec = DetectorSpec(
        file,
        tuple(_pixels(tuple(size), table.where) for size in sizes),
        finds_from,
        None if verifier is None else _verifier(verifier),
    )
    table.done()
    return spec


def _verifier(table: _Table) -> VerifierSpec:
    low, high = table.numbers("doubt", 2)
    if not 0 < low < high <= 1:
        raise PackError(f"{table.where} needs 'doubt' as two scores, the lower one first, above 0: correct it.")
    return VerifierSpec(_face_model(table, VERIFIER), (low, high))


def _face_model(table: _Table, outputs: tuple[str, ...]) -> FaceModelSpec:
    output = table.one_of("output", outputs, outputs[0])
    labels = tuple(table.take("labels", list, []))
    if output.startswith("classes") and len(labels) < 2:
        raise PackError(f"{table.where} needs two 'labels' or more: add them.")
    spec = FaceModelSpec(
        file=_model_file(table),
        size=_pixels(table.numbers("size", 2), table.where),
        crop=table.one_of("crop", CROPS),
        output=output,
        crop_scale=float(table.take("crop_scale", (int, float), 1.0)),
        color=table.one_of("color", ("rgb", "bgr"), "rgb"),
        mean=table.numbers("mean", 3, [0.0, 0.0, 0.0]),
        std=table.numbers("std", 3, [1.0, 1.0, 1.0]),
        labels=labels,
        temperature=float(table.take("temperature", (int, float), 1.0)),
    )
    table.done()
    if spec.temperature <= 0 or spec.crop_scale <= 0 or 0 in spec.std:
        raise PackError(f"{table.where} needs 'temperature', 'crop_scale' and 'std' above zero: correct them.")
    return spec


def parse_pack(text: str, name: str, where: str, folder: Path | None = None) -> PackSpec:
    """Reads the declaration of a pack.

    Args:
        text: TOML text.
        name: Name of the pack.
        where: The file it comes from, for messages.
        folder: The folder that holds the pack's files; None for a pack of the catalogue.

    Returns:
        The checked declaration.

    Raises:
        PackError: If the text is no TOML, lacks a key, or has one that means nothing.
    """
    try:
        top = _Table(tomllib.loads(text), where)
    except tomllib.TOMLDecodeError as error:
        raise PackError(f"{where} is not valid TOML ({error}): correct it.") from error
    title = top.take("title", str, name)
    description = top.take("description", str, "")
    detector = top.table("detector")
    face_models: list[tuple[str, FaceModelSpec]] = []
    if attributes := top.table("attributes"):
        face_models.append(("attributes", _face_model(attributes, ATTRIBUTES)))
    if emotion := top.table("emotion"):
        face_models.append(("emotion", _face_model(emotion, EMOTION)))
    if heads := top.table("heads"):
        for head in sorted(heads.values):
            if head in ("detector", "verifier", "attributes", "emotion"):
                raise PackError(f"{heads.where} may not be called '{head}': rename it.")
            table = heads.table(head)
            assert table is not None
            face_models.append((head, _face_model(table, HEAD)))
    top.done()
    return PackSpec(
        name=name,
        title=title,
        description=description,
        folder=folder,
        detector=None if detector is None else _detector(detector),
        face_models=tuple(face_models),
    )
