"""Which visitors are here, so that no more come in than there is room for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

# Whoever has loaded the page comes back for the rest of it within this, else it was no browser.
ARRIVE_S = 5.0
# Who has no page open and was not heard of for so long has gone: a page that lost its connection says twice a minute
# that it is there, a hidden one once.
AWAY_S = 75.0
# How often those who have gone are looked for.
EVERY_S = 1.0


class Presence:
    """The visitors who have the page open, or asked for something of late; browsers alone."""

    def __init__(self, most: int, has_open: Callable[[str], bool], of_an_address: float = math.inf) -> None:
        """Begins with nobody.

        Args:
            most: How many may be here.
            has_open: Says whether the visitor of an id has a page open.
            of_an_address: How many of one address may be here.
        """
        self._most = most
        self._has_open = has_open
        # Until when each one counts, if nothing else is heard.
        self._until: dict[str, float] = {}
        self._at: dict[str, str] = {}
        self._of_an_address = of_an_address
        self._cleared = -math.inf

    def __len__(self) -> int:
        """How many are here."""
        now = time.monotonic()
        if now - self._cleared > EVERY_S:
            self._cleared = now
            for visitor in [name for name, until in self._until.items() if until < now]:
                if self._has_open(visitor):
                    self._until[visitor] = now + AWAY_S
                else:
                    del self._until[visitor], self._at[visitor]
        return len(self._until)

    def come(self, visitor: str, seconds: float = AWAY_S, address: str = "") -> bool:
        """Lets a visitor in, or notes that one who is here was heard of.

        Args:
            visitor: The visitor's id.
            seconds: How long that counts.
            address: Where the visitor is.

        Returns:
            Whether there is room.
        """
        if visitor not in self._until:
            if self.is_full(address):
                return False
            self._at[visitor] = address
        self._until[visitor] = max(self._until.get(visitor, 0.0), time.monotonic() + seconds)
        return True

    def is_full(self, address: str = "") -> bool:
        """Says whether there is room for nobody else, at all or at an address."""
        # To count all clears away who has gone.
        full = len(self) >= self._most
        return full or sum(at == address for at in self._at.values()) >= self._of_an_address
