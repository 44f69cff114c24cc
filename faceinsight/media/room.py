"""Room in memory: how much all that is decoded and analysed at once may take, whoever sent it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from faceinsight.errors import BusyError


class Room:
    """Megabytes that work may take, handed out in the order in which they are asked for."""

    def __init__(self, megabytes: float, patience_s: float) -> None:
        """Begins empty.

        Args:
            megabytes: How much there is.
            patience_s: Seconds that anybody waits for their part.
        """
        self.megabytes = megabytes
        self._patience_s = patience_s
        self._taken = 0.0
        self._line: deque[Place] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def take(self, megabytes: float) -> Iterator[Place]:
        """Waits for a part and holds it until the block ends; what asks for more than there is gets it all.

        Raises:
            BusyError: If it was not to be had in time.
        """
        place = Place(self, min(megabytes, self.megabytes))
        until = time.monotonic() + self._patience_s
        with self._changed:
            self._line.append(place)
            try:
                while self._line[0] is not place or self._taken + place.megabytes > self.megabytes:
                    if not self._changed.wait(until - time.monotonic()) and time.monotonic() >= until:
                        raise BusyError("Many files are being analysed at the moment: try again in a minute.")
                self._taken += place.megabytes
            finally:
                self._line.remove(place)
                self._changed.notify_all()
        try:
            yield place
        finally:
            place.shrink(0)

    def _give(self, megabytes: float) -> None:
        with self._changed:
            self._taken -= megabytes
            self._changed.notify_all()


class Place:
    """A part of the room.

    Attributes:
        megabytes: How much it is.
    """

    def __init__(self, room: Room, megabytes: float) -> None:
        """Is made by `Room.take`."""
        self._room = room
        self.megabytes = megabytes

    def shrink(self, megabytes: float) -> None:
        """Gives back all but so much."""
        if megabytes < self.megabytes:
            over, self.megabytes = self.megabytes - megabytes, megabytes
            self._room._give(over)
