"""Whose a session is: it belongs to the visitor who used it first, and nobody else may read, end or block it.

Gradio's page makes up a session's name in the browser, and Gradio asks nobody whose one is. Here every
request of Gradio's routes is asked, as a dependency of FastAPI's, which knows the body that the route gets.
"""

from __future__ import annotations

import re
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException, Request
from gradio.routes import file_upload_statuses

from faceinsight.ui.limits import Limits
from faceinsight.ui.visitors import Visitor, visitor_of

# A session that nothing was heard of for so long, with no page open, is over.
IDLE_S = 1800.0
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

NOT_YOURS = "This session belongs to another visitor: reload the page."
NO_NAME = "A session's name has 1 to 64 letters, digits, - and _."
NO_JSON = "The request is no JSON that can be read."
FULL = "Too many people are here at the moment: try again in a minute."


@dataclass(slots=True)
class _Held:
    """Whose a name is; `owner` is None for programs, to whom the name itself is the secret."""

    owner: str | None
    by: Visitor
    seen_at: float
    open: int = 0


class Held:
    """Names that belong to whoever used them first, in bounded number."""

    def __init__(self, limits: Limits, on_drop: Callable[[str], None]) -> None:
        """Begins with none.

        Args:
            limits: How many a visitor and all together may have.
            on_drop: Called with a name that is forgotten.
        """
        self._limits = limits
        self._on_drop = on_drop
        # Whichever was used last at the end.
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._at_address: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many names are held."""
        return len(self._held)

    def __contains__(self, name: str) -> bool:
        """Says whether a name is held."""
        return name in self._held

    def claim(self, name: Any, visitor: Visitor) -> None:
        """Lets a visitor use a name, the first one for good.

        Raises:
            HTTPException: 422 if it is no name; 403 if it is another visitor's; 503 if there are too many.
        """
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise HTTPException(422, NO_NAME)
        owner = visitor.id if visitor.browser else None
        held = self._held.get(name)
        if held is None:
            self._make_room(visitor)
            held = self._held[name] = _Held(owner, visitor, 0.0)
            self._count(visitor, 1)
        elif held.owner != owner:
            raise HTTPException(403, NOT_YOURS)
        held.seen_at = time.monotonic()
        self._held.move_to_end(name)

    def opened(self, name: str, more: int = 1) -> None:
        """Notes that a page holds a name open, or no longer: one that is open is not dropped for others."""
        if (held := self._held.get(name)) is not None:
            held.open += more
            held.seen_at = time.monotonic()

    def drop(self, name: str) -> None:
        """Forgets a name."""
        held = self._held.pop(name, None)
        if held is not None:
            self._count(held.by, -1)
            self._on_drop(name)

    def _count(self, visitor: Visitor, more: int) -> None:
        for counts, key in ((self._counts, visitor.id), (self._at_address, visitor.address)):
            counts[key] += more
            if not counts[key]:
                del counts[key]

    def _make_room(self, visitor: Visitor) -> None:
        too_old = time.monotonic() - IDLE_S
        while self._held and (oldest := next(iter(self._held.items())))[1].seen_at < too_old:
            if oldest[1].open:
                self._held.move_to_end(oldest[0])
                oldest[1].seen_at = time.monotonic()
            else:
                self.drop(oldest[0])
        if self._counts[visitor.id] >= self._limits.share(self._limits.sessions, visitor.browser):
            self._drop_one(lambda held: held.by.id == visitor.id)
        if self._at_address[visitor.address] >= self._limits.address_sessions:
            self._drop_one(lambda held: held.by.address == visitor.address)
        if len(self._held) >= self._limits.open_sessions:
            self._drop_one(lambda held: True)

    def _drop_one(self, which: Callable[[_Held], bool]) -> None:
        for name, held in self._held.items():
            if not held.open and which(held):
                self.drop(name)
                return
        raise HTTPException(503, FULL)


class Sessions:
    """Guards the sessions of a running app, and what Gradio keeps of each."""

    def __init__(self, app: Any, limits: Limits, on_forget: Callable[[str], None]) -> None:
        """Begins with none.

        Args:
            app: Gradio's web app.
            limits: How many there may be.
            on_forget: Called with a session that is over.
        """
        self._app = app
        self._limits = limits
        self.held = Held(limits, self._forget)
        self.uploads = Held(limits, _forget_upload)
        self._on_forget = on_forget

    @asynccontextmanager
    async def checked(self, request: Request) -> AsyncIterator[None]:
        """Holds the sessions that a request concerns while it is answered.

        Raises:
            HTTPException: With a sentence; what `Held.claim` raises, or 422 where there should be JSON.
        """
        visitor = visitor_of(request)
        for upload in request.query_params.getlist("upload_id"):
            self.uploads.claim(upload, visitor)
        names = [*request.query_params.getlist("session_hash"), *_some(request.path_params, "session_hash")]
        if (event := request.path_params.get("event_id")) is not None:
            # Gradio takes the name of an event that it does not know for a session's.
            names.append(self._session_of(event) or (event if request.method == "GET" else None))
        # The page says of its GET requests, too, that they are JSON.
        if request.method == "POST" and "json" in request.headers.get("content-type", "").lower():
            body = await json_of(request)
            names += _some(body, "session_hash")
            names += [self._session_of(event) for event in _some(body, "event_id")]
        names = [name for name in names if name is not None]
        for name in names:
            self.held.claim(name, visitor)
        self._tidy()
        # A page's heartbeat lasts as long as the page is open.
        for name in names:
            self.held.opened(name)
        try:
            yield
        finally:
            for name in names:
                self.held.opened(name, -1)

    def _session_of(self, event_id: Any) -> str | None:
        """Returns the session of an event; None where there is no such event."""
        queue = self._app.get_blocks()._queue
        if not isinstance(event_id, str):
            return None
        if (event := queue.event_ids_to_events.get(event_id)) is not None:
            return str(event.session_hash)
        return next((name for name, ids in queue.pending_event_ids_session.items() if event_id in ids), None)

    def _tidy(self) -> None:
        """Drops what Gradio keeps of sessions that nobody holds, as of programs that fetched no answer."""
        app, queue = self._app, self._app.get_blocks()._queue
        kept = app.state_holder.session_data, queue.pending_messages_per_session, queue.pending_event_ids_session
        for things in kept:
            if len(things) > len(self.held) + 2 * self._limits.queue:
                busy = {event.session_hash for event in queue.event_ids_to_events.values()}
                over = [name for name in things if name not in self.held and name not in busy]
                # The newest ones may still be asked for.
                for name in over[: -self._limits.queue]:
                    self._forget(name)

    def _forget(self, name: str) -> None:
        app, queue = self._app, self._app.get_blocks()._queue
        app.state_holder.session_data.pop(name, None)
        app.state_holder.time_last_used.pop(name, None)
        queue.pending_messages_per_session.pop(name, None)
        queue.pending_event_ids_session.pop(name, None)
        self._on_forget(name)


def _forget_upload(name: str) -> None:
    file_upload_statuses.stop_tracking(name)
    file_upload_statuses._signals.pop(name, None)


def _some(values: Any, name: str) -> list[Any]:
    value = values.get(name) if isinstance(values, dict) else None
    return [] if value is None else [value]


async def json_of(request: Request) -> Any:
    """Returns what a request holds; Starlette keeps what was parsed, so the route that is asked gets this very object.

    Raises:
        HTTPException: 422 if it is no JSON.
    """
    try:
        return await request.json()
    except (ValueError, RecursionError) as error:
        raise HTTPException(422, NO_JSON) from error
