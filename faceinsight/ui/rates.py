"""How often, and how many at once: counted by visitor, in bounded memory."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

# Whoever is forgotten begins anew, so many others must have come since.
KEYS = 10_000
# What marks the count of an address, whose id may be a visitor's too.
AT = "at"


class Rate:
    """A token bucket for everybody who comes."""

    def __init__(self, per_s: float, burst: float) -> None:
        """Begins with nobody known.

        Args:
            per_s: How much a second is given back.
            burst: How much there is at most, and at first.
        """
        self._per_s = per_s
        self._burst = burst
        # (how much there was, when), whoever came last at the end.
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """How many somebodies are known."""
        return len(self._left)

    def take(self, who: Hashable, share: float = 1.0) -> float:
        """Takes one from somebody's bucket.

        Args:
            who: Whose.
            share: How many times what others have they may have.

        Returns:
            0 where there was one; else the seconds until there is.
        """
        now = time.monotonic()
        left = self._refilled(who, now)
        cost = 1 / share
        enough = left >= cost
        self._put(who, left - cost if enough else left, now)
        return 0.0 if enough else (cost - left) / self._per_s

    def give_back(self, who: Hashable) -> None:
        """Gives back what `take` took."""
        now = time.monotonic()
        self._put(who, min(self._refilled(who, now) + 1, self._burst), now)

    def _refilled(self, who: Hashable, now: float) -> float:
        left, at = self._left.get(who, (self._burst, now))
        return min(left + (now - at) * self._per_s, self._burst)

    def _put(self, who: Hashable, left: float, now: float) -> None:
        self._left[who] = (left, now)
        self._left.move_to_end(who)
        if len(self._left) > KEYS:
            self._left.popitem(last=False)


class AtOnce:
    """How many of a kind are going on now."""

    def __init__(self) -> None:
        """Begins with none."""
        self._counts: Counter[Hashable] = Counter()

    def __getitem__(self, key: Hashable) -> int:
        """How many go on."""
        return self._counts[key]

    @contextmanager
    def counted(self, *keys: Hashable) -> Iterator[None]:
        """Counts one more of each while the context lasts."""
        self._counts.update(keys)
        try:
            yield
        finally:
            self._counts.subtract(keys)
            for key in keys:
                if not self._counts[key]:
                    del self._counts[key]
