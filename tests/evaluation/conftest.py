"""A pack whose answers are known: red is Anger, green Happiness, blue Sadness; the rest as in the toy pack."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceinsight import FaceAnalyzer
from tests.toy_models import toy_colour_classifier, write_toy_pack

COLOURS = {"Anger": (255, 0, 0), "Happiness": (0, 255, 0), "Sadness": (0, 0, 255)}
LABELS = ("angry", "Contempt", "Happiness", "Sadness")
# Contempt answers to red as well, but less.
WEIGHTS = np.array([[4, 3, 0, 0], [0, 0, 4, 0], [0, 0, 0, 4]])


@pytest.fixture(scope="session")
def colour_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_toy_pack(tmp_path_factory.mktemp("packs") / "colour")
    toy_colour_classifier(folder / "emotion.onnx", WEIGHTS)
    text, _, _ = (folder / "pack.toml").read_text().partition("[emotion]")
    labels = ", ".join(f'"{label}"' for label in LABELS)
    table = f'[emotion]\nfile = "emotion.onnx"\nsize = [8, 8]\ncrop = "tight_box"\nlabels = [{labels}]\n'
    (folder / "pack.toml").write_text(text + table)
    return folder


@pytest.fixture(scope="session")
def analyzer(colour_pack: Path) -> FaceAnalyzer:
    return FaceAnalyzer(colour_pack)


def png(colour: tuple[int, int, int], size: tuple[int, int] = (48, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture(params=["folder", "zip"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """Writes files by name, into a folder or a zip."""

    def write(files: dict[str, bytes]) -> Path:
        return (write_folder if request.param == "folder" else write_zip)(tmp_path, files)

    return write


def write_folder(parent: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = parent / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return parent / "set"


def write_zip(parent: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(parent / "set.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return parent / "set.zip"
