"""Runs the steps of a pipeline beside each other: a generator goes on in a thread while its consumer works."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TypeVar, cast

T = TypeVar("T")
_DONE = object()


def ahead(source: Generator[T], size: int) -> Generator[T]:
    """Yields what a generator yields, while it goes on in a thread of its own.

    Closing this generator closes the source, in its thread, before it returns.

    Args:
        source: The generator; its thread starts when the first value is asked for.
        size: How many values it may be ahead of the consumer.

    Raises:
        Exception: What the source raises, after the values before it.
    """
    values: queue.Queue[object] = queue.Queue(size)
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with closing(source):
                for value in source:
                    values.put(value)
                    if stop.is_set():
                        break
                    # Held here it would live until the next one comes.
                    del value
        except BaseException as error:
            failures.append(error)
        values.put(_DONE)

    thread = threading.Thread(target=run, name="ahead", daemon=True)
    thread.start()
    try:
        yield from cast(Iterator[T], iter(values.get, _DONE))
        # Nothing comes after it: who looked for more would wait.
        thread.join()
        if failures:
            raise failures[0]
    finally:
        stop.set()
        while thread.is_alive():
            # Who waits to hand a value over would wait for ever.
            try:
                values.get(timeout=0.05)
            except queue.Empty:
                continue
        thread.join()
