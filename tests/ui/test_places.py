"""The fair line at the camera, by a clock that the tests turn."""

from __future__ import annotations

import pytest

from faceinsight.ui import places
from faceinsight.ui.places import AWAY_S, Places


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(places, "time", clock)
    return clock


def at_the_camera(line: Places, clock, people: list[str], seconds: float) -> dict[str, float]:
    """Lets everybody ask once a second; returns how many seconds each was at the camera."""
    spent = dict.fromkeys(people, 0.0)
    for _ in range(round(seconds)):
        for person in people:
            if line.ask(person, person) == 0:
                line.seen(person)
                spent[person] += 1
        clock.now += 1
    return spent


def test_thirty_people_wait_in_a_fair_line(clock):
    line = Places(8, turn_s=60)
    people = [f"p{n}" for n in range(30)]
    assert [line.ask(person, person) for person in people] == [0] * 8 + list(range(1, 23))
    # Whoever asks often is no earlier.
    assert [line.ask("p29", "p29") for _ in range(5)] == [22] * 5
    # The one who waits longest is next; everybody behind moves up.
    line.leave("p3")
    assert line.ask("p9", "p9") == 1
    assert line.ask("p8", "p8") == 0
    assert [line.ask(person, person) for person in people[9:]] == list(range(1, 22))
    line.ask("p3", "p3")
    spent = at_the_camera(line, clock, people, 60 * 15)
    share = 60 * 15 * 8 / 30
    assert min(spent.values()) > 0.7 * share
    assert max(spent.values()) < 1.3 * share


def test_nobody_waits_for_longer_than_the_turns_before(clock):
    line = Places(8, turn_s=60)
    people = [f"p{n}" for n in range(30)]
    first = {}
    for second in range(400):
        for person in people:
            if line.ask(person, person) == 0:
                line.seen(person)
                first.setdefault(person, second)
        clock.now += 1
    assert len(first) == 30
    assert max(first.values()) <= 60 * 4


def test_a_turn_ends_only_when_somebody_waits(clock):
    line = Places(2, turn_s=60)
    assert at_the_camera(line, clock, ["ann", "bob"], 1000) == {"ann": 1000, "bob": 1000}
    assert line.ask("eve", "eve") == 1
    spent = at_the_camera(line, clock, ["ann", "bob", "eve"], 900)
    assert min(spent.values()) > 500


def test_who_pauses_makes_room(clock):
    line = Places(1, turn_s=1e9)
    assert line.ask("ann", "ann") == 0
    assert line.ask("bob", "bob") == 1
    clock.now += AWAY_S / 2
    assert line.ask("bob", "bob") == 1
    clock.now += AWAY_S / 2 + 1
    assert line.ask("bob", "bob") == 0
    assert line.ask("ann", "ann") == 1


def test_who_left_the_line_is_in_nobodys_way(clock):
    line = Places(1, turn_s=1e9)
    for name in ("ann", "bob", "eve"):
        line.ask(name, name)
    clock.now += AWAY_S - 1
    line.seen("ann")
    line.ask("eve", "eve")
    clock.now += 2
    assert line.ask("eve", "eve") == 1
    assert "bob" not in line


def test_asking_alone_keeps_no_place(clock):
    line = Places(1, turn_s=1e9)
    line.ask("ann", "ann")
    line.ask("bob", "bob")
    for _ in range(3):
        clock.now += AWAY_S / 2
        line.ask("ann", "ann")
        line.ask("bob", "bob")
    assert line.ask("bob", "bob") == 0


def test_a_visitors_further_pages_come_last_and_go_first(clock):
    line = Places(4, turn_s=1e9)
    assert [line.ask(f"eve{n}", "eve") for n in range(10)] == [0] * 4 + [1, 2, 3, 4, 5, 6]
    assert line.ask("ann", "ann") == 1
    clock.now += 1
    # The next frame of one of Eve's makes room.
    line.ask("eve0", "eve")
    assert line.ask("ann", "ann") == 0
    # With one page each, nobody has to go.
    assert line.ask("bob", "bob") == 1
    line.ask("eve1", "eve")
    line.ask("eve2", "eve")
    assert line.ask("bob", "bob") == 0
    assert line.ask("eve3", "eve") == 0


def test_the_line_is_bounded(clock):
    line = Places(1, line=3)
    asked = [line.ask(str(n), str(n)) for n in range(1000)]
    assert asked[:4] == [0, 1, 2, 3]
    assert set(asked[4:]) == {None}
    assert line.waiting == 3
