"""What runs the models: the one that was asked for, or a sentence."""

from __future__ import annotations

import importlib.metadata
import threading

import onnxruntime as ort
import pytest

from faceinsight import FaceAnalyzer, ProviderError
from faceinsight.inference import providers, session
from faceinsight.inference.providers import NAMES, PROVIDERS, builds, choose, title_of
from faceinsight.inference.session import create_session
from faceinsight.options import PROVIDERS as OPTIONS
from faceinsight.ui.engine import Engine
from tests.toy_models import toy_classifier

pytestmark = pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")


@pytest.fixture
def installed(monkeypatch):
    """Makes it look as if other builds of ONNX Runtime were installed, with what they bring."""

    def set_installed(*packages: str) -> None:
        versions = dict.fromkeys(packages, "1.99")

        def version(name: str) -> str:
            if name not in versions:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(providers, "version", version)
        have = [one.execution for one in PROVIDERS.values() if one.package in packages and one.title != "CoreML"]
        monkeypatch.setattr(ort, "get_available_providers", lambda: [*have, "CPUExecutionProvider"])

    return set_installed


@pytest.fixture
def model(tmp_path):
    return toy_classifier(tmp_path / "m.onnx", 2, side=16)


def test_the_command_line_offers_what_there_is():
    assert OPTIONS == NAMES


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_the_plain_build_runs_on_the_cpu(model, name):
    assert list(builds()) == ["onnxruntime"]
    assert create_session(model, name).get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cuda", "install onnxruntime-gpu in its place"),
        ("directml", "install onnxruntime-directml in its place"),
        ("openvino", "install onnxruntime-openvino in its place"),
        ("coreml", "coreml needs macOS"),
        ("tpu", "There is no provider called 'tpu': choose one of auto, cpu, cuda"),
    ],
)
def test_a_provider_that_is_not_here_is_said(model, installed, name, sentence):
    installed("onnxruntime")
    with pytest.raises(ProviderError) as caught:
        create_session(model, name)
    assert sentence in str(caught.value)
    assert name == "tpu" or "onnxruntime 1.99 is installed, which has cpu alone" in str(caught.value)


def test_a_provider_that_does_not_start_is_said(model, installed, toy_pack):
    """The build for CUDA is there, its libraries are not: ONNX Runtime itself takes the CPU without an error."""
    installed("onnxruntime-gpu")
    with pytest.raises(ProviderError, match="CUDA is installed .* and could not be started: it needs an NVIDIA driver"):
        create_session(model, "cuda")
    # "auto" goes on, and says why it is slow.
    assert create_session(model, "auto").get_providers() == ["CPUExecutionProvider"]
    analyzer = FaceAnalyzer(toy_pack)
    assert "could not be started" in analyzer.provider_problem
    assert "⚠️ CUDA is installed" in Engine(toy_pack).status()


def test_two_builds_over_each_other_are_said(model, installed):
    installed("onnxruntime", "onnxruntime-openvino")
    with pytest.raises(ProviderError, match="uninstall both, then install only onnxruntime-openvino"):
        create_session(model)


def test_auto_takes_what_was_installed_on_purpose(installed):
    for package, title in [("onnxruntime-gpu", "CUDA"), ("onnxruntime-openvino", "OpenVINO"), ("onnxruntime", "CPU")]:
        installed(package)
        assert choose("auto").title == title


def test_the_page_says_what_runs_it(toy_pack):
    assert FaceAnalyzer(toy_pack, provider="cpu").provider_problem is None
    assert Engine(toy_pack, provider="cpu").status().splitlines()[0].endswith("CPU")
    assert title_of("DmlExecutionProvider") == "DirectML"
    assert title_of("NewExecutionProvider") == "New"


def test_the_page_does_not_start_on_another(toy_pack, installed):
    installed("onnxruntime")
    with pytest.raises(ProviderError):
        Engine(toy_pack, provider="cuda").problem()


def test_directml_gets_one_call_at_a_time(model, installed, monkeypatch):
    installed("onnxruntime-directml")
    monkeypatch.setattr(session, "check_started", lambda *args: None)
    made = create_session(model, "directml")
    now, most = 0, 0
    inside = threading.Lock()

    def run(*args):
        nonlocal now, most
        with inside:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.02)
        with inside:
            now -= 1

    monkeypatch.setattr(ort.InferenceSession, "run", run)
    threads = [threading.Thread(target=made.run, args=(None, {})) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
