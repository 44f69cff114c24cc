"""Measures ONNX Runtime's options on the compact pack's models: what faceinsight/inference/session.py sets, and why.

    python -m benchmarks.sessions

Each model runs in turn with each set of options, the way a webcam frame with one face runs it: alone on the machine,
and beside as many busy processes as there are cores, as where a browser paints on the same machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from benchmarks.machine import keep, machine
from faceinsight.cpus import usable_cpus
from faceinsight.packs import resolve

# Pictures, height, width, channels.
SHAPES = {
    "detector": (1, 256, 320, 3),
    "detector, 640x480": (1, 480, 640, 3),
    "verifier": (1, 56, 56, 3),
    "attributes": (1, 80, 80, 3),
    "emotion": (1, 48, 48, 3),
    "emotion, 6 faces": (6, 48, 48, 3),
}
LEVELS = {
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
# By name: threads, spinning, arena, memory pattern, level of graph optimisation.
CHOICES: dict[str, tuple[int, bool, bool, bool, str]] = {
    "as shipped": (usable_cpus(), False, True, True, "all"),
    "1 thread": (1, False, True, True, "all"),
    "spinning": (usable_cpus(), True, True, True, "all"),
    "no arena": (usable_cpus(), False, False, True, "all"),
    "no memory pattern": (usable_cpus(), False, True, False, "all"),
    "graph: extended only": (usable_cpus(), False, True, True, "extended"),
}


def session(path: Path, choice: tuple[int, bool, bool, bool, str]) -> ort.InferenceSession:
    """Loads a model with these options."""
    threads, spinning, arena, pattern, level = choice
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    options.enable_cpu_mem_arena = arena
    options.enable_mem_pattern = pattern
    options.graph_optimization_level = LEVELS[level]
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def measure(name: str, rounds: int) -> tuple[dict[str, float], float, float]:
    """Returns the median milliseconds of every model, CPU milliseconds a round, and peak memory in MB."""
    paths = resolve("compact").paths
    stages = {key: key.split(",")[0] for key in SHAPES}
    sessions = {stage: session(paths[stage], CHOICES[name]) for stage in set(stages.values()) if stage in paths}
    random = np.random.default_rng(0)
    pictures = {key: random.integers(0, 256, shape, np.uint8) for key, shape in SHAPES.items()}
    times: dict[str, list[float]] = {key: [] for key in SHAPES if stages[key] in sessions}
    spent = 0.0
    for count in range(rounds + 5):
        if count == 5:
            spent = time.process_time()
        for key, took in times.items():
            runner = sessions[stages[key]]
            began = time.perf_counter()
            runner.run(None, {runner.get_inputs()[0].name: pictures[key]})
            if count >= 5:
                took.append((time.perf_counter() - began) * 1000)
    spent = (time.process_time() - spent) * 1000 / rounds
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {key: float(np.median(took)) for key, took in times.items()}, spent, memory


def burn() -> None:
    """Keeps a core busy for ever."""
    while True:
        pass


def main() -> None:
    """Prints one table with the machine to itself, and one beside busy processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60, help="runs of every model a row")
    parser.add_argument("--out", type=Path, help="write the tables to this file too")
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    lines = [machine(), ""]
    for busy in (0, usable_cpus()):
        burners = [context.Process(target=burn, daemon=True) for _ in range(busy)]
        for burner in burners:
            burner.start()
        lines += [f"Beside {busy} busy processes, median milliseconds:", ""]
        lines += [f"| options | {' | '.join(SHAPES)} | CPU ms, all | peak MB |", "| --- " * (len(SHAPES) + 3) + "|"]
        for name in CHOICES:
            # A process of its own: peak memory is a process's.
            with context.Pool(1) as pool:
                times, spent, memory = pool.apply(measure, (name, args.rounds))
            cells = [f"{times[key]:.2f}" if key in times else "-" for key in SHAPES]
            lines.append(f"| {name} | {' | '.join(cells)} | {spent:.1f} | {memory:.0f} |")
        lines.append("")
        for burner in burners:
            burner.terminate()
    text = "\n".join(lines)
    print(text)
    if args.out:
        keep(args.out, text)


if __name__ == "__main__":
    main()
