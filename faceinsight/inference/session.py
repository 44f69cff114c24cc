"""ONNX Runtime sessions: providers, threads, batches."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from faceinsight.cpus import usable_cpus
from faceinsight.errors import ModelFileError
from faceinsight.inference.providers import (
    AUTO,
    CPU,
    PROVIDERS,
    Provider,
    as_onnxruntime_takes_it,
    check_started,
    choose,
)

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]

# Bounds the memory of a crowd: EfficientNet at 224 px needs about 30 MB a face.
MAX_BATCH = 32
_WARNINGS, _ERRORS_ONLY, _FATAL_ONLY = 2, 3, 4


class _OneAtATime(ort.InferenceSession):  # type: ignore[misc]
    """A session that several threads may share where its provider does not allow for that, as DirectML."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turn = threading.Lock()

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the model, one call after another."""
        with self._turn:
            return super().run(*args, **kwargs)


def create_session(path: Path, provider: str = AUTO, threads: int | None = None) -> ort.InferenceSession:
    """Loads an ONNX file.

    Args:
        path: The model file.
        provider: What is to run it: a key of `PROVIDERS`, or "auto" for the first one of `providers.AUTOMATIC` that is
            installed, else the CPU.
        threads: Threads within one operator; None for every core this process may use.

    Returns:
        The session; several threads may run it at once.

    Raises:
        ProviderError: If the provider is not here, or does not start.
        ModelFileError: If the file is no model that ONNX Runtime can run.
    """
    chosen = choose(provider)
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads or usable_cpus()
    # OpenCV counts the machine's cores, not a container's.
    cv2.setNumThreads(min(cv2.getNumThreads(), usable_cpus()))
    # Measured by benchmarks/sessions.py: with spinning, several sessions on two cores take two to three times as
    # long, as a thread that spins for one takes time from the next. Arena, memory pattern and all graph
    # optimisations stay as they come: nothing else was faster.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    kind = ort.InferenceSession
    if chosen is PROVIDERS["directml"]:
        options.enable_mem_pattern = False
        kind = _OneAtATime
    try:
        with _quiet(chosen):
            session = kind(str(path), options, providers=as_onnxruntime_takes_it(chosen))
    except Exception as error:  # ONNX Runtime's errors share no base class of their own
        raise ModelFileError(f"{path} is not a model that ONNX Runtime can run: replace the file.") from error
    # Nor in the middle of the work, where a provider fails.
    session.disable_fallback()
    check_started(chosen, provider, session)
    return session


@contextlib.contextmanager
def _quiet(provider: Provider) -> Iterator[None]:
    """Has the libraries of a provider loaded; what ONNX Runtime prints meanwhile is for the log alone."""
    if provider is CPU:
        yield
        return
    said = io.StringIO()
    if not log.isEnabledFor(logging.DEBUG):
        ort.set_default_logger_severity(_FATAL_ONLY)
    try:
        with contextlib.redirect_stdout(said):
            if provider is PROVIDERS["cuda"] and hasattr(ort, "preload_dlls"):
                # Those of the packages nvidia-*, where they are installed.
                ort.preload_dlls()
            yield
    finally:
        ort.set_default_logger_severity(_WARNINGS)
        if said.getvalue():
            log.debug("ONNX Runtime says: %s", said.getvalue())


def takes_pixels(session: ort.InferenceSession) -> bool:
    """Returns whether a model takes pictures as they are, (N, H, W, 3) uint8."""
    return bool(session.get_inputs()[0].type == "tensor(uint8)")


def run_batched(session: ort.InferenceSession, batch: FloatArray | npt.NDArray[np.uint8]) -> FloatArray:
    """Runs a one-input, one-output model on a batch.

    Args:
        session: The model.
        batch: What the model takes, (N, ...) with N >= 1.

    Returns:
        (N, K) float32, the model's first output, row i for batch[i].
    """
    inputs = session.get_inputs()[0]
    fixed = inputs.shape[0]
    # Some exports fix the batch axis; they get as many pictures a run as they take.
    step = fixed if isinstance(fixed, int) and fixed > 0 else MAX_BATCH
    rows = []
    for start in range(0, len(batch), step):
        part = batch[start : start + step]
        count = len(part)
        if count < step and step == fixed:
            part = np.concatenate([part, np.zeros((step - count, *part.shape[1:]), part.dtype)])
        rows.append(session.run(None, {inputs.name: part})[0][:count])
    return np.concatenate(rows).reshape(len(batch), -1).astype(np.float32, copy=False)
