"""How a command ends before its time: Ctrl+C and SIGTERM unwind it once, and no later than in seconds."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# From SIGTERM to the end, whatever runs.
GRACE_S = 2.0


# What a signal has raised in the block of `stoppable`.
_raised: type[KeyboardInterrupt] | None = None


class Terminated(KeyboardInterrupt):
    """The program was asked to end by SIGTERM."""


def exit_status(number: int) -> int:
    """Returns the exit status by which a shell tells of a signal: 130 for Ctrl+C, 143 for SIGTERM."""
    return 128 + number


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """Has Ctrl+C raise KeyboardInterrupt and SIGTERM raise Terminated, once, within the block.

    Gives what tells that one of them came: where Python calls back by itself, what is raised is dropped.

    Who asks twice ends the process at once, and so does `GRACE_S` after SIGTERM: files take their names only when they
    are whole, so nothing is broken by it. Does nothing outside of the main thread.
    """
    global _raised
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def on_signal(number: int, frame: FrameType | None) -> None:
        global _raised
        if not asked.is_set():
            asked.set()
            _raised = Terminated if number == signal.SIGTERM else KeyboardInterrupt
            raise _raised

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    # Native code that is not done yet does not let `on_signal` run; this thread is told all the same.
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()
    try:
        yield asked
    finally:
        _raised = None
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()


def raise_if_stopped() -> None:
    """Raises anew what a signal raised, where a library that calls Python back made an error of a file of it."""
    if _raised is not None:
        raise _raised


@contextmanager
def signals_kept() -> Iterator[None]:
    """Puts back in the end what a library in the block has set to answer Ctrl+C and SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(reader: socket.socket) -> None:
    """Ends the process where it takes too long; returns when the other end is closed."""
    asked = 0
    with reader:
        try:
            while told := reader.recv(1):
                number = told[0]
                if number not in (signal.SIGINT, signal.SIGTERM):
                    continue
                asked += 1
                if asked > 1:
                    os._exit(exit_status(number))
                if number == signal.SIGTERM:
                    reader.settimeout(GRACE_S)
        except TimeoutError:
            os._exit(exit_status(signal.SIGTERM))
