"""Says on what machine a benchmark ran."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import onnxruntime


def machine() -> str:
    """Describes this machine in a line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = re.findall(r"model name\s*: (.*)", info.read_text())
        cpu = names[0] if names else cpu
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cpu}, {cores} cores, Python {platform.python_version()}, onnxruntime {onnxruntime.__version__}"
