"""How often and how many at once, by a clock that the tests turn."""

from __future__ import annotations

import pytest

from faceinsight.ui import rates
from faceinsight.ui.rates import AtOnce, Rate


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(rates, "time", clock)
    return clock


def test_a_burst_and_then_so_many_a_second(clock):
    rate = Rate(2, burst=5)
    assert [rate.take("ann") for _ in range(5)] == [0] * 5
    assert rate.take("ann") == 0.5
    assert rate.take("bob") == 0
    clock.now += 1
    assert [rate.take("ann") == 0 for _ in range(3)] == [True, True, False]
    clock.now += 1000
    assert [rate.take("ann") == 0 for _ in range(6)] == [True] * 5 + [False]


def test_a_share_is_so_many_times_as_much(clock):
    rate = Rate(2, burst=5)
    assert sum(rate.take("programs", share=4) == 0 for _ in range(100)) == 20
    clock.now += 1
    assert sum(rate.take("programs", share=4) == 0 for _ in range(100)) == 8


def test_what_is_given_back_is_no_more_than_there_was(clock):
    rate = Rate(0.1, burst=3)
    for _ in range(10):
        assert rate.take("ann") == 0
        rate.give_back("ann")
    rate.give_back("ann")
    assert [rate.take("ann") == 0 for _ in range(4)] == [True] * 3 + [False]


def test_what_is_known_of_all_is_bounded_and_the_busy_ones_stay_known(clock, monkeypatch):
    monkeypatch.setattr(rates, "KEYS", 50)
    rate = Rate(0.001, burst=1)
    rate.take("eve")
    for n in range(1000):
        rate.take(n)
        assert rate.take("eve") > 0
    assert len(rate) == 50


def test_at_once_counts_while_it_lasts():
    going_on = AtOnce()
    with going_on.counted("upload", ("upload", "ann")), going_on.counted("upload", ("upload", "bob")):
        assert (going_on["upload"], going_on["upload", "ann"], going_on["upload", "eve"]) == (2, 1, 0)
    with pytest.raises(ZeroDivisionError), going_on.counted("upload"):
        raise ZeroDivisionError
    assert going_on["upload"] == 0
    assert not going_on._counts
