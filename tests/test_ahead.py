from __future__ import annotations

import threading
import time

import pytest

from faceinsight.ahead import ahead


def test_values_come_in_order_and_no_further_ahead_than_asked():
    made = []

    def source():
        for n in range(20):
            made.append(n)
            yield n

    values = ahead(source(), 2)
    assert next(values) == 0
    time.sleep(0.2)
    # Two wait, and one is in the hand of the thread that would add it.
    assert len(made) <= 4
    assert list(values) == list(range(1, 20))


def test_an_error_comes_after_the_values_before_it():
    def source():
        yield 1
        raise ValueError("broken")

    values = ahead(source(), 4)
    assert next(values) == 1
    with pytest.raises(ValueError, match="broken"):
        next(values)


def test_closing_ends_a_chain_of_threads():
    ended = []

    def source():
        try:
            n = 0
            while True:
                yield (n := n + 1)
        finally:
            ended.append(threading.current_thread().name)

    def twice(values):
        try:
            for value in values:
                yield 2 * value
        finally:
            values.close()

    before = threading.active_count()
    values = ahead(twice(ahead(source(), 1)), 1)
    assert [next(values), next(values)] == [2, 4]
    values.close()
    assert ended == ["ahead"]
    assert threading.active_count() == before


def test_what_was_never_asked_for_is_closed_too():
    def source():
        yield 1

    ahead(source(), 1).close()
