"""Pulls the plug of real processes: a parent with everything imported forks one for each command line.

Run as `python -m tests.plugs` it is that parent; tests use `Outlet`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its exit status (below zero: the signal), what it wrote, and how long after the signal."""

    status: int
    out: str
    err: str
    seconds: float


class Outlet:
    """Starts `faceinsight` again and again with its libraries loaded already, and pulls its plug."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.plugs", folder],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"MPLCONFIGDIR": str(folder)},
        )
        assert self._told(LIMIT_S) == "ready"

    def _told(self, seconds: float) -> str | None:
        """Returns what the parent says next, or None where it says nothing for so long."""
        stream = self._parent.stdout
        return stream.readline().strip() if select.select([stream], [], [], seconds)[0] else None

    def run(
        self,
        *args: object,
        number: int = signal.SIGKILL,
        when: Callable[[float], bool] = lambda seconds: False,
        **limits: object,
    ) -> Ended:
        """Runs a command line to its end, or to where it is sent a signal.

        Args:
            args: The arguments of `faceinsight`.
            number: The signal.
            when: Asked with the seconds since the start whether it is time.
            limits: `home` (FACEINSIGHT_HOME) and `largest` (the bytes that no file may outgrow).
        """
        job = {"args": [*map(str, args)]} | {name: value and str(value) for name, value in limits.items()}
        self._parent.stdin.write(json.dumps(job) + "\n")
        self._parent.stdin.flush()
        pid = int(self._told(LIMIT_S))
        began = asked = time.monotonic()
        while (status := self._told(0.0005)) is None:
            assert time.monotonic() < asked + LIMIT_S, "it does not end"
            if asked == began and when(time.monotonic() - began):
                os.kill(pid, number)
                asked = time.monotonic()
        out, err = ((self._folder / name).read_text() for name in ("out", "err"))
        return Ended(int(status), out, err, time.monotonic() - asked)

    def close(self) -> None:
        """Ends the parent."""
        self._parent.stdin.close()
        self._parent.wait(20)
        self._parent.stdout.close()


def _child(job: dict, folder: str) -> None:
    import resource

    from faceinsight.cli import main

    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if job.get("home"):
        os.environ["FACEINSIGHT_HOME"] = job["home"]
    if job.get("largest"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(job["largest"]),) * 2)
    status: object = 1
    try:
        status = main(job["args"])
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status if isinstance(status, int) else 1)


def _parent(folder: str) -> None:
    import matplotlib.figure  # noqa: F401

    import faceinsight.batch
    import faceinsight.evaluation
    import faceinsight.evaluation.plots
    import faceinsight.packs.fetch  # noqa: F401

    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            _child(json.loads(line), folder)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    _parent(sys.argv[1])
