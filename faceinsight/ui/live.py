"""The live stream of the Webcam tab: a picture in, what to draw over the camera's own picture out."""

from __future__ import annotations

import base64
import math
import time
from dataclasses import dataclass, field
from typing import Any

import anyio
import gradio as gr
import numpy as np
import numpy.typing as npt
from anyio.to_thread import run_sync

from faceinsight.analyzer import FaceAnalyzer
from faceinsight.errors import FaceInsightError, MediaError
from faceinsight.export import rows_of
from faceinsight.media.jpeg import decode_frame
from faceinsight.stream import FaceStream
from faceinsight.ui import metrics, views
from faceinsight.ui.engine import Engine, as_page_error
from faceinsight.ui.limits import Limits
from faceinsight.ui.parts import Settings
from faceinsight.ui.places import Places

MAX_SIDE = 1920
MAX_BYTES = 2_000_000
# A page that went without a word, as on a lost connection.
GONE_S = 1800.0
# A browser counts seconds since the page was opened: nobody's was for a year.
LATEST_S = 3e7
# Numbers of people that a page knows go up to here.
MAX_ID = 1_000_000
# Seconds without a frame that is newer than the last, while frames come.
HEAL_S = 3.0
# Where the visitor sets none: the smallest face, as a share of the frame's longer side.
SMALLEST_SHARE = 1 / 16

# Milliseconds of analysis for a frame, where it cannot do with less.
BUDGET_MS = 25.0

Answer = dict[str, Any]


@dataclass(slots=True)
class Visitor:
    """What is kept of a visitor while the page is open; never a picture."""

    seen_at: float = -math.inf
    turn: anyio.Lock = field(default_factory=anyio.Lock)
    # When the last frame was taken, in seconds on the camera's clock, and when it came.
    time_s: float = -math.inf
    came_s: float = -math.inf
    stream: FaceStream | None = None

    def stream_of(self, analyzer: FaceAnalyzer, settings: Settings, after: int) -> FaceStream:
        """Returns the visitor's stream, with the settings of now; people keep their ids through all changes.

        A new stream goes on with the id after `after`.
        """
        if self.stream is None:
            self.stream = FaceStream(analyzer, smoothing=settings.smoothing, budget_ms=BUDGET_MS, cuts=False)
            self.stream.reset(after)
        self.stream.renew(analyzer, settings.smoothing)
        self.stream.tracker.det_threshold = settings.det_threshold
        # Between two searches, who walks in would be shown unblurred.
        self.stream.search_all = settings.blur
        return self.stream

    def is_next(self, time_s: float, now: float) -> bool:
        """Says whether a frame comes after the last one."""
        if not 0 <= time_s < LATEST_S:
            return False
        if self.time_s < time_s:
            return True
        if now - self.came_s < HEAL_S:
            return False
        # The time that all others seem to be older than was wrong: the camera's clock begins anew.
        self.stream = None
        return True


@dataclass(frozen=True, slots=True)
class Sent:
    """What a page sends with a frame, checked."""

    picture: str
    time_s: float
    settings: Settings
    record: bool
    after: int = 0

    @classmethod
    def of(cls, data: Any) -> Sent:
        """Reads what came, of which nothing is known.

        Raises:
            MediaError: If it is not what our page sends.
        """
        try:
            settings = Settings.of(tuple(data["settings"]))
            after = min(max(int(data.get("after", 0)), 0), MAX_ID)
            return cls(data["picture"], float(data["time"]), settings, bool(data.get("record")), after)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise MediaError("What came with the camera's frame cannot be read: reload the page.") from error


class Visitors:
    """The people at the Webcam tab: a stream each, as many at once as there are places."""

    def __init__(self, engine: Engine, limits: Limits = Limits()) -> None:
        """Begins with nobody.

        Args:
            engine: The app's models.
            limits: How many may be there, and how much is kept of them.
        """
        self._engine = engine
        self._limits = limits
        self._places = Places(limits.places, limits.turn_s, limits.line, limits.address_line)
        self._visitors: dict[str, Visitor] = {}
        # One frame at a time uses every core already; whoever came first is next.
        self._limiter = anyio.CapacityLimiter(1)

    def places(self) -> dict[str, int]:
        """Returns how many places there are, are taken, and are waited for."""
        return {"places": self._places.count, "places_taken": self._places.taken, "places_line": self._places.waiting}

    def __len__(self) -> int:
        """How many visitors something is kept of."""
        return len(self._visitors)

    async def frame(self, session: str, data: Any, visitor: str | None = None, address: str = "") -> Answer:
        """Analyses a frame of a visitor's camera.

        Args:
            session: Whose it is.
            data: `picture` (JPEG in Base64), `time` (seconds on the camera's clock), `settings` (the
                values of the drawer), `record` (whether the page records) and `after` (the highest number of a person
                that it knows: who is new to a server that was started anew gets a higher one).
            visitor: Whose session it is, who may have several; None where the session is all there is.
            address: Where the visitor is.

        Returns:
            What `views.overlay` returns, `ms` that it took here (waiting included), `status` (the page's status
            line), where the page records `rows` (of `export.rows_of`); or `late` where a newer frame came first; or
            `problem`, a sentence, with `line` (the number in the line) where there is no place yet.
        """
        came = time.perf_counter()
        answer = await self._answer(session, data, (visitor or session, address), came)
        outcome = "late" if "late" in answer else "waiting" if "line" in answer else "problem"
        if "ms" in answer:
            outcome = "analysed"
            metrics.frame_seconds.observe(answer["ms"] / 1000)
        metrics.frames.labels(outcome).inc()
        return answer

    async def _answer(self, session: str, data: Any, who: tuple[str, str], came: float) -> Answer:
        try:
            sent = Sent.of(data)
            if session not in self._places:
                # Who sends no picture of a camera gets none.
                await run_sync(decode, sent.picture, limiter=self._limiter)
            number = self._places.ask(session, *who)
            if number != 0:
                return self._wait(number)
            kept = self._kept(session)
            async with kept.turn:
                # Outside the limiter: others go on while a pack is loaded, and so does who has had another one.
                current = None if kept.stream is None else kept.stream.analyzer
                analyzer, note = await run_sync(self._engine.analyzer_beside, sent.settings.pack, current)
                work = kept, sent, analyzer, note, came
                answer = await run_sync(self._analyse, *work, limiter=self._limiter)
            if "late" not in answer:
                self._places.seen(session)
            return answer
        except FaceInsightError as error:
            return {"problem": str(error)}
        except Exception as error:
            return {"problem": as_page_error(error).message}

    # These run in Gradio's event loop, as all that adds to or takes from `_visitors` must: in a thread it
    # would change while another loop goes through it.
    async def leave(self, request: gr.Request) -> None:
        """Forgets a visitor who closed the page, and those who went without a word."""
        self._forget_gone()
        self.forget(str(request.session_hash))

    def forget(self, session: str) -> None:
        """Forgets a session; to be called in the event loop."""
        self._places.leave(session)
        self._visitors.pop(session, None)

    def _forget_gone(self) -> None:
        now = time.monotonic()
        for session in [key for key, visitor in self._visitors.items() if now - visitor.seen_at > GONE_S]:
            del self._visitors[session]

    def _kept(self, session: str) -> Visitor:
        self._forget_gone()
        visitor = self._visitors.setdefault(session, Visitor())
        visitor.seen_at = time.monotonic()
        return visitor

    def _wait(self, number: int | None) -> Answer:
        if number is None:
            return {"problem": "Too many people wait for the camera, here or at your address: try again in a minute."}
        minutes = round(self._limits.turn_s / 60)
        turn = f" A turn lasts {minutes} min while others wait." if minutes else ""
        return {
            "line": number,
            "problem": f"You are number {number} in line for the camera: keep this page open.{turn}",
        }

    def _analyse(self, visitor: Visitor, sent: Sent, analyzer: FaceAnalyzer, note: str, came: float) -> Answer:
        if not visitor.is_next(sent.time_s, now := time.monotonic()):
            return {"late": True}
        visitor.time_s, visitor.came_s = sent.time_s, now
        picture = decode(sent.picture)
        settings = sent.settings
        stream = visitor.stream_of(analyzer, settings, sent.after)
        stream.min_face = settings.min_face or max(picture.shape) * SMALLEST_SHARE
        analysis = stream.process(picture, sent.time_s)
        answer = views.overlay(analysis, settings.draw) | {"status": self._engine.status_of(analyzer, analysis, note)}
        if sent.record:
            answer["rows"] = rows_of(analysis)
        return answer | {"ms": round((time.perf_counter() - came) * 1000, 1)}


def decode(picture: str) -> npt.NDArray[np.uint8]:
    """Returns a JPEG in Base64 as (H, W, 3) uint8 RGB.

    Raises:
        MediaError: If it is none, or larger than a camera's frame need be.
    """
    try:
        content = base64.b64decode(picture[: MAX_BYTES * 4 // 3 + 4], validate=True)
        if len(content) > MAX_BYTES:
            raise ValueError("it is too large")
        return decode_frame(content, MAX_SIDE)
    except (ValueError, TypeError, LookupError) as error:
        raise MediaError("The camera's frame cannot be read: reload the page.") from error
