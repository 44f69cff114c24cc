"""Processes that read files: asked, watched, ended where they take too long, and used again."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from faceinsight.errors import DamagedMediaError, MediaError

Answer = tuple[dict[str, Any], npt.NDArray[Any]]

# How long one picture, or one frame of a clip, may take on a machine that is busy with other things; the processor may
# work on it for less.
ANSWER_S = 120.0
_WATCH_EVERY_S = 0.25
# Whoever no longer answers has ended or is about to.
_WAIT_S = 10.0
_START = "import sys; sys.path[:] = {path!r}; from faceinsight.media.worker import main; main()"
# Windows opens a console for every process that is not told otherwise.
_FLAGS = getattr(subprocess, "CREATE_NO_WINDOW", 0)


class Worker:
    """A process that runs jobs of media/worker.py, one after another.

    Attributes:
        ready: Whether it has answered all that it was asked, and takes another job.
    """

    def __init__(self) -> None:
        """Starts the process."""
        path = [str(Path(__file__).resolve().parents[2]), *sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START.format(path=path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # What decoders complain of says nothing that the answer does not.
            stderr=subprocess.DEVNULL,
            bufsize=0,
            # Each further arena would count as memory in use; and a thread of OpenBLAS, which nobody needs here, takes
            # the process with it where it starts when memory is bounded already.
            env=os.environ | {"MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1"},
            creationflags=_FLAGS,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self._name = ""
        self._deadline = math.inf
        self._late = False
        self.ready = True
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def _watch(self) -> None:
        while self.alive:
            if time.monotonic() > self._deadline:
                self._late = True
                self._process.kill()
            time.sleep(_WATCH_EVERY_S)

    def ask(self, job: str, megabytes: float, name: str, **values: Any) -> dict[str, Any]:
        """Begins a job and returns its first answer; the others come after `go`.

        Args:
            job: Which.
            megabytes: How much memory its beginning may take.
            name: What to call the file in messages.
            values: The job's own.

        Raises:
            MediaError: If the file cannot be read, or the process had to be ended.
        """
        self._name = name
        self.ready = False
        self._tell({"job": job, "megabytes": megabytes, "name": name, **values})
        answer = self._answer()
        if answer is None:
            self._fail()
        return answer[0]

    def go(self, megabytes: float) -> Iterator[Answer]:
        """Lets the job go on with so much memory; yields its answers, values and an array each, as `ask` raises."""
        self._tell(megabytes)
        while (answer := self._answer()) is not None:
            yield answer

    def _tell(self, message: object) -> None:
        try:
            self._to.write(json.dumps(message).encode() + b"\n")
        except OSError:
            self._fail()

    def _answer(self) -> Answer | None:
        """Waits for the next answer; None after the last one."""
        self._deadline = time.monotonic() + ANSWER_S
        try:
            size = bytearray(4)
            self._fill(size)
            text = bytearray(int.from_bytes(size))
            self._fill(text)
            head = json.loads(text)
            self.ready = "end" in head or not head.get("last", True)
            if "error" in head:
                raise (DamagedMediaError if head["damaged"] else MediaError)(head["error"])
            if self.ready:
                return None
            array = np.empty(head.pop("shape"), head.pop("dtype"))
            self._fill(array.reshape(-1).view(np.uint8))
            return head, array
        finally:
            self._deadline = math.inf

    def _fill(self, buffer: Any) -> None:
        rest = memoryview(buffer)
        while rest:
            count = self._from.readinto(rest)  # type: ignore[attr-defined]
            if not count:
                self._fail()
            rest = rest[count:]

    def _fail(self) -> NoReturn:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_WAIT_S)
        if self._late or self._process.returncode == -getattr(signal, "SIGXCPU", 0):
            raise MediaError(f"{self._name} takes too long to read: make it smaller and try again.")
        raise MediaError(f"{self._name} is damaged so badly that its reader stopped: choose another copy of it.")

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        self._to.close()
        self._from.close()


class Workers:
    """Workers that wait for files: started where there is none, and used again."""

    def __init__(self) -> None:
        """Starts none yet."""
        self._idle: list[Worker] = []
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[Worker]:
        """Gives a worker for one job; where it has not finished the job then, it is ended."""
        worker = self._take()
        try:
            yield worker
        finally:
            if worker.ready:
                with self._lock:
                    self._idle.append(worker)
            else:
                worker.close()

    def _take(self) -> Worker:
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else Worker()
            if worker.alive:
                return worker
            worker.close()

    def prepare(self) -> None:
        """Starts one ahead, so that the first file need not wait for it."""
        with self._lock:
            if not self._idle:
                self._idle.append(Worker())

    def close(self) -> None:
        """Ends those that wait."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()
