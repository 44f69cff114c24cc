"""Says on what machine a benchmark ran, and keeps what it found."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from faceinsight.writing import write_file

# The peak memory that the system tells of a process begins with that of who started it: a small one starts it.
_START = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
wall = time.perf_counter() - began
print(json.dumps([status, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What a process took: seconds by the clock, of the processors, and its peak memory in MB."""

    wall: float
    cpu: float
    memory: float


def run(command: Sequence[str | Path]) -> Run:
    """Runs a Python module in a process of its own."""
    start = [sys.executable, "-I", "-S", "-c", _START, sys.executable, "-m", *map(str, command)]
    told = subprocess.run(start, stdout=subprocess.PIPE, check=True).stdout
    status, *took = json.loads(told)
    if status:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {os.waitstatus_to_exitcode(status)}")
    return Run(*took)


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
