"""Says on what machine a benchmark ran, and keeps what it found."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import onnxruntime

from faceinsight.writing import write_file


def machine() -> str:
    """Describes this machine in a line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = re.findall(r"model name\s*: (.*)", info.read_text())
        cpu = names[0] if names else cpu
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cpu}, {cores} cores, Python {platform.python_version()}, onnxruntime {onnxruntime.__version__}"


def keep(path: Path, text: str) -> None:
    """Writes what a benchmark found, in a folder that need not be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text.encode())
