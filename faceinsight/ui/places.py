"""The places at the camera, and the fair line of those who wait for one."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass

# Who has sent nothing for so long does not keep others from a place, nor a place in the line.
AWAY_S = 10.0


@dataclass(slots=True)
class _Person:
    """Somebody in the line or at the camera: the visitor, and since when; several pages may be one visitor's.

    `address` is the visitor's; several visitors may be at one.
    """

    visitor: str
    address: str
    since: float
    seen_at: float


class Places:
    """Who is at the camera, and who is next."""

    def __init__(self, count: int, turn_s: float = math.inf, line: int = 1000, address_line: int = 1000) -> None:
        """Begins with nobody.

        Args:
            count: How many may be at the camera.
            turn_s: Seconds that one keeps a place while others wait.
            line: How many may wait.
            address_line: How many of one address may be at the camera or wait.
        """
        self.count = count
        self._turn_s = turn_s
        self._longest_line, self._of_an_address = line, address_line
        self._seated: dict[str, _Person] = {}
        # Whoever came first is first.
        self._waiting: dict[str, _Person] = {}

    def __contains__(self, page: str) -> bool:
        """Says whether a page has a place or waits for one."""
        return page in self._seated or page in self._waiting

    @property
    def taken(self) -> int:
        """How many are at the camera."""
        return len(self._seated)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def ask(self, page: str, visitor: str, address: str = "") -> int | None:
        """Gives a page a place, or keeps its place in the line.

        Args:
            page: Who asks.
            visitor: Whose page it is: a visitor's second page gets in when nobody else waits.
            address: Where the visitor is: one address gets more than half of the places when nobody else waits.

        Returns:
            0 where it has a place; else its number in the line, from 1; None where the line is too long, or too many
            of the address are here.
        """
        now = time.monotonic()
        self._clear(now)
        if page in self._seated:
            if not self._is_over(self._seated[page], now):
                return 0
            del self._seated[page]
            # The one who waited is let in first.
            self._let_in(now)
        if page not in self._waiting:
            near = sum(person.address == address for person in (*self._seated.values(), *self._waiting.values()))
            if len(self._waiting) >= self._longest_line or near >= self._of_an_address:
                return None
            self._waiting[page] = _Person(visitor, address, now, now)
        self._waiting[page].seen_at = now
        self._let_in(now)
        return 0 if page in self._seated else self._order().index(page) + 1

    def seen(self, page: str) -> None:
        """Notes that a page sent a frame of its camera; only that keeps a place."""
        if (person := self._seated.get(page)) is not None:
            person.seen_at = time.monotonic()

    def leave(self, page: str) -> None:
        """Frees what a page has."""
        self._seated.pop(page, None)
        self._waiting.pop(page, None)

    def _clear(self, now: float) -> None:
        for people in (self._seated, self._waiting):
            for page in [page for page, person in people.items() if now - person.seen_at > AWAY_S]:
                del people[page]

    def _let_in(self, now: float) -> None:
        while self._waiting and len(self._seated) < self.count:
            page = self._order()[0]
            person = self._waiting.pop(page)
            person.since = now
            self._seated[page] = person

    def _order(self) -> list[str]:
        here = {person.visitor for person in self._seated.values()}
        places = Counter(person.address for person in self._seated.values())

        def comes_later(page: str) -> tuple[bool, bool]:
            person = self._waiting[page]
            return person.visitor in here, 2 * places[person.address] >= self.count

        # Sorting keeps the order of those who are alike.
        return sorted(self._waiting, key=comes_later)

    def _is_over(self, person: _Person, now: float) -> bool:
        """Says whether a turn is over: somebody waits who should have the place now."""
        if not self._waiting:
            return False
        first = self._waiting[self._order()[0]]
        pages = [other.visitor for other in self._seated.values()]
        if pages.count(person.visitor) > 1 and first.visitor not in pages:
            return True
        # Else two whose turns are over would change places at every frame.
        has_waited = now - first.since >= self._turn_s / self.count
        return now - person.since >= self._turn_s and has_waited
