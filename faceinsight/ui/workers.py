"""Serves the page by several processes behind one port, each started anew when it dies."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import secrets
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import uvicorn

from faceinsight.cpus import SHARED_BY
from faceinsight.logs import FIELDS, OURS
from faceinsight.ui.behind import Job
from faceinsight.ui.launching import LaunchError, LaunchOptions, Started, announce, check_port
from faceinsight.ui.proxy import Proxy
from faceinsight.ui.upstream import Upstream

log = logging.getLogger(__name__)

# As long as it may take on a machine that is busy with other things.
START_S = 180.0
# Less than this process itself has (stopping.py).
END_S = 1.6
# Between two starts of one that dies again and again; what has lived for so long begins anew.
SHORTEST_S, LONGEST_S = 0.5, 60.0
_START = "import sys; sys.path[:] = {path!r}; from faceinsight.ui.worker import main; main()"


class Worker:
    """A process that serves the page for this one."""

    def __init__(self, number: int, job: Job) -> None:
        """Starts it.

        Args:
            number: Which one it is, from 1.
            job: What it is told.
        """
        self.upstream = Upstream(job.secret)
        self.started: Started | None = None
        self.problem = ""
        self._number, self._job = number, job
        self._process: subprocess.Popen[bytes] | None = None
        self._settled, self._unwanted = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"worker {number}", daemon=True)
        self._thread.start()

    def wait(self) -> Started:
        """Waits until its page is there, and returns what it says.

        Raises:
            LaunchError: If it cannot be.
        """
        self._settled.wait()
        if self.started is None:
            raise LaunchError(self.problem)
        return self.started

    def want_no_more(self) -> None:
        """Has the process end, which takes a moment."""
        self._unwanted.set()
        process = self._process
        if process is None or process.stdin is None:
            return
        if self.upstream.runs:
            with contextlib.suppress(OSError):
                process.stdin.close()
        else:
            # It does not listen yet.
            process.terminate()

    def end(self, until: float) -> None:
        """Waits for its end, and ends it at a time on time.monotonic."""
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._process is not None:
            self._process.kill()
            self._thread.join(1)

    def _keep(self) -> None:
        wait_s = SHORTEST_S
        while not self._unwanted.is_set():
            began, self.problem, status = time.monotonic(), "", None
            try:
                status = self._run()
            except (OSError, ValueError) as error:
                self.problem = f"A worker cannot be started ({error}): start fewer of them (--workers)."
            self.upstream.down()
            self._settled.set()
            if self.started is None or self._unwanted.is_set():
                return
            log.error(
                "Worker %s has ended (%s): it is started anew.",
                self._number,
                self.problem or f"status {status}",
                extra={FIELDS: {"worker": self._number, "status": status}},
            )
            wait_s = SHORTEST_S if time.monotonic() - began > LONGEST_S else min(2 * wait_s, LONGEST_S)
            self._unwanted.wait(wait_s)

    def _run(self) -> int:
        """Runs the process once, and returns its exit status."""
        path = [str(Path(__file__).resolve().parents[2]), *sys.path]
        with subprocess.Popen(
            # The number is for whoever looks at a list of processes.
            [sys.executable, "-c", _START.format(path=path), f"worker-{self._number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {SHARED_BY: str(self._job.options.workers)},
            # Ctrl+C is this process's alone.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            self._process = process
            late = threading.Timer(START_S, process.kill)
            late.start()
            # The pipe stays open: its end is the worker's.
            with contextlib.suppress(OSError):
                process.stdin.write(pickle.dumps(self._job))
                process.stdin.flush()
            said = process.stdout.readline()
            late.cancel()
            self._hear(json.loads(said) if said.endswith(b"\n") else {})
            return process.wait()

    def _hear(self, said: dict[str, object]) -> None:
        match said:
            case {"port": int(port), "started": dict(started)}:
                self.started = Started(**started)
                self.upstream.up(port)
                self._settled.set()
            case {"problem": str(problem)}:
                self.problem = problem
            case _:
                self.problem = (
                    f"Worker {self._number} ended before its page was there, or was not ready within {START_S:.0f} s: "
                    "see its messages above, or start fewer of them (--workers)."
                )


def serve_by_workers(options: LaunchOptions, asked: threading.Event) -> None:
    """Serves the page by `options.workers` processes until KeyboardInterrupt.

    Args:
        options: How to serve it.
        asked: Tells that it is to end.

    Raises:
        LaunchError: If it cannot be served.
    """
    if options.share:
        raise LaunchError("A public link leads to one process: leave out --share, or --workers.")
    secret = secrets.token_hex(32)
    debug = logging.getLogger(OURS).isEnabledFor(logging.DEBUG)
    _allow_files()
    count = options.workers
    jobs = [replace(options, limits=options.limits.of_worker(number, count)) for number in range(1, count + 1)]
    workers = [Worker(number, Job(job, secret, debug)) for number, job in enumerate(jobs, 1)]
    server: uvicorn.Server | None = None
    try:
        started = [worker.wait() for worker in workers]
        server = _listen(options, Proxy([worker.upstream for worker in workers], options))
        announce(options, started[0])
        asked.wait()
    finally:
        until = time.monotonic() + END_S
        if server is not None:
            server.should_exit = server.force_exit = True
        for worker in workers:
            worker.want_no_more()
        for worker in workers:
            worker.end(until)


def _listen(options: LaunchOptions, app: Proxy) -> uvicorn.Server:
    """Returns a server that answers.

    Raises:
        LaunchError: If its port cannot be used.
    """
    config = uvicorn.Config(
        app,
        host=options.host.strip("[]"),
        port=options.port,
        forwarded_allow_ips=options.trusted_proxies,
        # Workers name themselves.
        server_header=False,
        date_header=False,
        # That an answer breaks off where its worker dies is said once.
        log_level="critical",
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        if not thread.is_alive():
            check_port(options.host, options.port)
            raise LaunchError(f"Port {options.port} of {options.host} cannot be used: choose another with --port.")
    return server


def _allow_files() -> None:
    """Lets this process have as many connections open as it may: each visitor's are two here."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
