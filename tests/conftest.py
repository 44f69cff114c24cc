"""Fixtures: an isolated home, toy models, and the real ones where they lie beside the project."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceinsight import FaceAnalyzer
from tests.material import ROOT as ROOT
from tests.material import SHARED, Clips, is_own
from tests.toy_models import genderage_table, toy_picture, write_toy_pack


@pytest.fixture(autouse=True)
def isolated_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keeps the models that a user has at home out of the tests, and the tests out of the home."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.delenv("FACEINSIGHT_HOME", raising=False)
    return home


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models, photos and clips beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"real models, photos and clips are not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """Gives real faces in clips, by name."""
    return Clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def toy_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole pack of toy models."""
    return write_toy_pack(tmp_path_factory.mktemp("packs") / "toy")


@pytest.fixture(scope="session")
def toy_analyzer(toy_pack: Path) -> FaceAnalyzer:
    """An analyzer with all four answers from toy models."""
    return FaceAnalyzer(toy_pack)


@pytest.fixture(scope="session")
def real_pack(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the folder of a pack with a real SCRFD detector and InsightFace's genderage.onnx."""

    def make(detector: str = "scrfd_2.5g_kps.onnx") -> Path:
        folder = tmp_path_factory.mktemp("packs") / "real"
        folder.mkdir()
        for name in (detector, "genderage.onnx"):
            shutil.copy(shared / "models" / name, folder)
        (folder / "pack.toml").write_text(
            f'title = "Real"\n[detector]\nfile = "{detector}"\n' + genderage_table("genderage.onnx")
        )
        return folder

    return make


@pytest.fixture(scope="session")
def real_analyzer(real_pack: Callable[..., Path]) -> FaceAnalyzer:
    """An analyzer with the real SCRFD 2.5g and genderage.onnx."""
    return FaceAnalyzer(real_pack())


@pytest.fixture(scope="session")
def compact() -> FaceAnalyzer:
    """An analyzer with the pack that comes with the repository."""
    return FaceAnalyzer("compact")


@pytest.fixture
def analyzer_for(request: pytest.FixtureRequest) -> Callable[[str], FaceAnalyzer]:
    """Gives the analyzer for a photo or clip: the compact pack where it is ours, else SCRFD 2.5g and genderage.onnx."""
    return lambda name: request.getfixturevalue("compact" if is_own(name) else "real_analyzer")


@pytest.fixture
def two_faces() -> np.ndarray:
    """A 640x480 picture with two toy faces: the surer one a woman of 94, then a man of 39."""
    return toy_picture({(3, 2): (255, 240, 200), (10, 8): (200, 100, 255)})
