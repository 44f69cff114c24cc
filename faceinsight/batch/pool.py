"""Who runs an archive's work: processes of this machine, each with the models; one that dies is replaced."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from faceinsight.batch.job import Finished, Job, Shard
from faceinsight.errors import FaceInsightError
from faceinsight.media.source import reason

# How long workers may go on with the file that they have when all is to end.
_GRACE_S = 1.5
# Who dies so often before the first answer will do so again.
_STARTS = 3


@dataclass(slots=True)
class _Hand:
    """A process, and the shard that it has."""

    process: Any
    pipe: Connection
    shard: Shard | None = None
    ready: bool = False


class ProcessPool:
    """An engine of processes on this machine."""

    def __init__(self, count: int) -> None:
        """Starts nothing yet; `count` processes will work at once."""
        self._count = count
        self._context = multiprocessing.get_context("spawn")

    def __call__(self, job: Job, shards: Sequence[Shard]) -> Generator[Finished]:
        """As of Engine.

        Raises:
            FaceInsightError: What a worker raises: its pack cannot be used, or its part cannot be written.
        """
        waiting = deque(shards)
        hands = [self._start(job) for _ in range(min(self._count, len(shards)))]
        failed_starts = 0
        try:
            while waiting or any(hand.shard for hand in hands):
                for hand in [hand for hand in hands if hand.ready and hand.shard is None and waiting]:
                    hand.shard = waiting.popleft()
                    with suppress(OSError):  # its end is noticed below
                        hand.pipe.send(hand.shard)
                for pipe in wait([hand.pipe for hand in hands if hand.shard is not None or not hand.ready]):
                    hand = next(hand for hand in hands if hand.pipe is pipe)
                    try:
                        answer = hand.pipe.recv()
                    except (EOFError, OSError):
                        failed_starts = 0 if hand.ready else failed_starts + 1
                        if failed_starts == _STARTS:
                            raise FaceInsightError(_NEVER_READY) from None
                        if hand.shard is not None:
                            waiting.appendleft(hand.shard)
                        self._end(hand)
                        hands[hands.index(hand)] = self._start(job)
                        continue
                    if isinstance(answer, BaseException):
                        raise answer
                    if answer is not None:
                        hand.shard = None
                        yield answer
                    hand.ready = True
        finally:
            until = time.monotonic() + _GRACE_S
            for hand in hands:
                hand.pipe.close()
            for hand in hands:
                hand.process.join(max(until - time.monotonic(), 0.05))
                self._end(hand)

    def _start(self, job: Job) -> _Hand:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, job), daemon=True)
        with _interrupt_blocked():
            process.start()
        theirs.close()
        return _Hand(process, ours)

    def _end(self, hand: _Hand) -> None:
        hand.process.kill()
        hand.process.join()
        hand.process.close()
        hand.pipe.close()


@contextmanager
def _interrupt_blocked() -> Iterator[None]:
    """Has what is started in the block never see Ctrl+C; ours comes after it, where the system can do so.

    A terminal sends it to all: who started a process tells it when to end.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would take the block away
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_NEVER_READY = "The processes that analyse end before they begin, perhaps for want of memory: try fewer --jobs."


def _serve(pipe: Connection, job: Job) -> None:
    """What a process does: it says that it is ready, and works on what it is sent until its pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from faceinsight.batch.worker import Worker

    with suppress(EOFError, OSError):
        try:
            worker = Worker(job)
            pipe.send(None)
            # While a shard is worked on, nothing comes through the pipe but its end: then it is time to stop.
            while True:
                pipe.send(worker.do(pipe.recv(), pipe.poll))
        except FaceInsightError as error:
            pipe.send(error)
        except (EOFError, OSError):
            raise
        except Exception as error:
            pipe.send(FaceInsightError(f"A worker stopped ({type(error).__name__}: {reason(error)}): run it again."))
