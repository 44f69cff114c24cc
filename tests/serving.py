"""Runs the app as a user does: a process of its own, reached over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from tests.conftest import ROOT

START_S = 180  # a busy machine takes its time


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class App:
    """A running app: its address, its process, its temporary files and what it has printed."""

    def __init__(self, start: Callable[[], subprocess.Popen], url: str, folder: Path) -> None:
        self._start, self.url = start, url
        self.process = start()
        self.temporary = folder / "tmp"
        self._log = folder / "app.log"

    def start_anew(self) -> None:
        """Starts it on the same port, after its process has ended."""
        self.process.wait(20)
        self.process = self._start()
        wait_for_page(self)

    @property
    def output(self) -> str:
        return self._log.read_text()


@contextmanager
def served(
    folder: Path, *args: object, code: str | None = None, prefix: tuple[str, ...] = (), **environment: str
) -> Iterator[App]:
    """Starts app.py, or `code`, with `args` and behind `prefix`, waits for its page, and stops it in the end."""
    port = free_port()
    start = ("app.py",) if code is None else ("-c", code)
    log = folder / "app.log"
    # Temporary files go to a folder of ours, so that a test can see what is left.
    (folder / "tmp").mkdir(exist_ok=True)
    env = os.environ | {"TMPDIR": str(folder / "tmp"), "NO_COLOR": "1"} | environment

    def process() -> subprocess.Popen:
        with log.open("w") as out:
            return subprocess.Popen(
                [*prefix, sys.executable, *start, "--port", str(port), *map(str, args)],
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
            )

    app = App(process, f"http://127.0.0.1:{port}", folder)
    try:
        wait_for_page(app)
        yield app
    finally:
        app.process.terminate()
        try:
            app.process.wait(20)
        except subprocess.TimeoutExpired:
            app.process.kill()
            app.process.wait()
            raise


def wait_for_page(app: App) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if app.process.poll() is not None:
            raise AssertionError(f"the app stopped: {app.output}")
        try:
            with urllib.request.urlopen(app.url, timeout=5):
                pass
        except (URLError, OSError):
            time.sleep(0.1)
            continue
        # The page answers a moment before the app says so.
        while not ("Press Ctrl+C" in app.output or '"event": "started"' in app.output) and time.monotonic() < deadline:
            time.sleep(0.05)
        return
    raise AssertionError(f"no page after {START_S} s: {app.output}")
