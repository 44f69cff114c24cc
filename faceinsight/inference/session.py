"""ONNX Runtime sessions: providers, threads, batches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from faceinsight.errors import ModelFileError

FloatArray = npt.NDArray[np.float32]

CPU = "CPUExecutionProvider"
# Tried in this order where the installed ONNX Runtime has them.
PREFERRED_PROVIDERS = ("CUDAExecutionProvider", CPU)
# Bounds the memory of a crowd: EfficientNet at 224 px needs about 30 MB a face.
MAX_BATCH = 32
_ERRORS_ONLY = 3


def usable_cpus() -> int:
    """Returns how many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def create_session(
    path: Path, providers: Sequence[str] | None = None, threads: int | None = None
) -> ort.InferenceSession:
    """Loads an ONNX file.

    Args:
        path: The model file.
        providers: ONNX Runtime execution providers, the first usable one is taken; None for CUDA
            where it is installed, else the CPU.
        threads: Threads within one operator; None for every core this process may use.

    Returns:
        The session; several threads may run it at once.

    Raises:
        ModelFileError: If the file is no model that ONNX Runtime can run.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads or usable_cpus()
    # Measured by benchmarks/sessions.py: with spinning, several sessions on two cores take two to three times as
    # long, as a thread that spins for one takes time from the next. Arena, memory pattern and all graph
    # optimisations stay as they come: nothing else was faster.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    available = ort.get_available_providers()
    wanted = [p for p in providers or PREFERRED_PROVIDERS if p in available] or [CPU]
    try:
        return ort.InferenceSession(str(path), options, providers=wanted)
    except Exception as error:  # ONNX Runtime's errors share no base class of their own
        raise ModelFileError(f"{path} is not a model that ONNX Runtime can run: replace the file.") from error


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
