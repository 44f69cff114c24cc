"""Measures the time from `python app.py` to its first page.

python -m benchmarks.startup
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
import urllib.request

from benchmarks.machine import machine
from tests.conftest import ROOT
from tests.serving import free_port


def seconds_to_first_page(pack: str) -> float:
    """Starts the app, waits for its page to arrive whole, and stops it."""
    port = free_port()
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port), "--pack", pack],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5) as page:
                    page.read()
                return time.perf_counter() - began
            except OSError:
                time.sleep(0.02)
        raise SystemExit("The app stopped before its page was there: run `python app.py` to see why.")
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Prints every run and the median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", default="auto", help="model pack to start with")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    times = [seconds_to_first_page(args.pack) for _ in range(args.runs)]
    print(machine())
    print("seconds:", " ".join(f"{t:.2f}" for t in times))
    print(f"median:  {statistics.median(times):.2f}")


if __name__ == "__main__":
    main()
