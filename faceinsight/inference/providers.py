"""What runs the models: the CPU, or what another build of ONNX Runtime brings; never another one than was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import onnxruntime as ort

from faceinsight.errors import ProviderError

AUTO = "auto"
HOW = "docs/hosting.md says how"


@dataclass(frozen=True, slots=True)
class Provider:
    """A way to run models.

    Attributes:
        execution: ONNX Runtime's name for it.
        title: What people call it.
        package: The build of ONNX Runtime that brings it.
        needs: What else it needs.
        options: ONNX Runtime's options for it.
    """

    execution: str
    title: str
    package: str
    needs: str
    options: tuple[tuple[str, str], ...] = ()


CPU = Provider("CPUExecutionProvider", "CPU", "onnxruntime", "nothing")
PROVIDERS = {
    "cpu": CPU,
    "cuda": Provider(
        "CUDAExecutionProvider",
        "CUDA",
        "onnxruntime-gpu",
        "an NVIDIA driver with CUDA and cuDNN as of onnxruntime-gpu[cuda,cudnn]",
        # Else every new size of a picture is timed with all algorithms there are.
        (("cudnn_conv_algo_search", "HEURISTIC"),),
    ),
    "coreml": Provider("CoreMLExecutionProvider", "CoreML", "onnxruntime", "macOS"),
    "directml": Provider("DmlExecutionProvider", "DirectML", "onnxruntime-directml", "Windows with DirectX 12"),
    "openvino": Provider("OpenVINOExecutionProvider", "OpenVINO", "onnxruntime-openvino", "an x86-64 or Arm processor"),
}
NAMES = (AUTO, *PROVIDERS)
# Who has one of these has installed it on purpose; CoreML comes unasked with every ONNX Runtime for macOS.
AUTOMATIC = ("cuda", "directml", "openvino")


def choose(name: str) -> Provider:
    """Returns the provider of a name; for "auto" the first there is.

    Raises:
        ProviderError: If it is not there, or two builds of ONNX Runtime lie over each other.
    """
    if name not in NAMES:
        raise ProviderError(f"There is no provider called '{name}': choose one of {', '.join(NAMES)}.")
    check_one_build()
    available = ort.get_available_providers()
    if name == AUTO:
        there = [PROVIDERS[one] for one in AUTOMATIC if PROVIDERS[one].execution in available]
        return there[0] if there else CPU
    provider = PROVIDERS[name]
    if provider.execution not in available:
        have = " and ".join(sorted(one for one, other in PROVIDERS.items() if other.execution in available))
        instead = "" if provider.package in builds() else f"install {provider.package} in its place ({HOW})"
        raise ProviderError(
            f"The provider {name} is not here: {_installed()} is installed, which has {have} alone; "
            f"{instead or f'{name} needs {provider.needs}'}, or choose another with --provider."
        )
    return provider


def check_started(provider: Provider, name: str, session: ort.InferenceSession) -> None:
    """Checks that a session runs on what it was made for: ONNX Runtime takes the CPU without a word.

    Raises:
        ProviderError: If it does not, and was not to find one itself.
    """
    if name != AUTO and provider.execution not in session.get_providers():
        raise ProviderError(_not_started(provider))


def problem_of(session: ort.InferenceSession) -> str | None:
    """Returns one sentence where a session of "auto" runs on the CPU because what is installed did not start."""
    provider = choose(AUTO)
    return None if provider.execution in session.get_providers() else _not_started(provider)


def _not_started(provider: Provider) -> str:
    return (
        f"{provider.title} is installed ({_installed()}) and could not be started: it needs {provider.needs} ({HOW}), "
        "or choose --provider cpu."
    )


def title_of(execution: str) -> str:
    """Returns what people call one of ONNX Runtime's execution providers."""
    titles = {provider.execution: provider.title for provider in PROVIDERS.values()}
    return titles.get(execution, execution.removesuffix("ExecutionProvider"))


def check_one_build() -> None:
    """Raises ProviderError where two builds of ONNX Runtime are installed, of which each overwrites the other."""
    found = builds()
    if len(found) > 1:
        one = next(name for name in found if name != CPU.package)
        raise ProviderError(
            f"{' and '.join(found)} are installed over each other, and neither is whole: uninstall both, then install "
            f"only {one} ({HOW})."
        )


def builds() -> dict[str, str]:
    """Returns the versions of the builds of ONNX Runtime that are installed, by package."""
    found = {}
    for package in dict.fromkeys(provider.package for provider in PROVIDERS.values()):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _installed() -> str:
    return " and ".join(f"{name} {number}" for name, number in builds().items()) or f"onnxruntime {ort.__version__}"


def as_onnxruntime_takes_it(provider: Provider) -> list[tuple[str, dict[str, Any]]]:
    """Returns ONNX Runtime's list: the provider, then the CPU for what it leaves."""
    both = {provider.execution: dict(provider.options), CPU.execution: {}}
    return list(both.items())
