"""A class of thirty, for less than a minute; `make soak` is the long form."""

from __future__ import annotations

import sys

import pytest

from benchmarks.soak import LONGEST_S, Reading, Tally, growth, soak, summed


@pytest.mark.skipif(sys.platform != "linux", reason="what a server takes is read off /proc")
def test_a_class_of_thirty_is_served(tmp_path):
    result = soak(tmp_path, "compact", visitors=30, seconds=45, longest_s=30)
    # How quick it is depends on who else is on the machine: the long form tells.
    failures = [failure for failure in result["failures"] if "frames a second" not in failure]
    assert failures == []
    assert result["photo_ms"]["count"] >= 25
    assert result["clip_ms"]["count"] >= 5
    assert result["faces_per_frame"] == pytest.approx(1, abs=0.05)


def steady(seconds: int = 1200) -> list[Reading]:
    return [Reading(float(at), 400.0, 20, 40, 25) for at in range(0, seconds, 5)]


def failures(tallies: list[Tally], readings: list[Reading], said: str = "") -> str:
    return "; ".join(summed(tallies, readings, 0.0, 1200, said)["failures"])


def fair() -> Tally:
    return Tally(answers=[(at / 2, 0.1) for at in range(2400)])


def test_what_is_not_as_it_should_be_is_told():
    """The measure itself: each fault is seen."""
    assert failures([fair(), fair()], steady()) == ""
    hungry = fair()
    hungry.answers = [(at, took) for at, took in hungry.answers if not 100 < at < 100 + 2 * LONGEST_S]
    assert "visitor 1 waited 20 s" in failures([fair(), hungry], steady())
    slow = Tally(answers=[(at * 2.0, 0.1) for at in range(600)])
    assert "a visitor had 0.50 frames a second" in failures([fair(), slow], steady())
    wrong = fair()
    wrong.errors["frame: late"] += 2
    assert "2 x frame: late" in failures([wrong], steady())
    assert "the server says" in failures([fair()], steady(), "ERROR: something")
    for name, value in (("mb", 430.0), ("threads", 30), ("files", 60), ("sockets", 40)):
        leaking = [
            Reading(**({f: getattr(one, f) for f in one.__slots__} | ({name: value} if one.at > 1000 else {})))
            for one in steady()
        ]
        assert name in failures([fair()], leaking), name
        assert not growth(leaking, 1200)[name][2]
