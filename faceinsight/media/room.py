"""Room in memory: how much all that is decoded and analysed at once may take, whoever sent it."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from faceinsight.errors import BusyError


class Room:
    """Megabytes that work may take, handed out in the order in which they are asked for."""

    def __init__(self, megabytes: int, patience_s: float) -> None:
        """Begins empty.

        Args:
            megabytes: How much there is.
            patience_s: Seconds that anybody waits for their part.
        """
        self.megabytes = megabytes
        self._patience_s = patience_s
        self._taken = 0
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def take(self, megabytes: float) -> Iterator[None]:
        """Waits for a part and holds it until the block ends; what asks for more than there is gets it all.

        Raises:
            BusyError: If it was not to be had in time.
        """
        part = min(math.ceil(megabytes), self.megabytes)
        ticket = object()
        until = time.monotonic() + self._patience_s
        with self._changed:
            self._line.append(ticket)
            try:
                while self._line[0] is not ticket or self._taken + part > self.megabytes:
                    if not self._changed.wait(until - time.monotonic()) and time.monotonic() >= until:
                        raise BusyError("Many files are being analysed at the moment: try again in a minute.")
                self._taken += part
            finally:
                self._line.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._taken -= part
                self._changed.notify_all()
