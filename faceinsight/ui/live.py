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
from faceinsight.export import rows_of, to_csv
from faceinsight.media.jpeg import decode_frame
from faceinsight.results import FrameAnalysis
from faceinsight.stream import FaceStream
from faceinsight.ui import views
from faceinsight.ui.engine import Engine, as_page_error
from faceinsight.ui.limits import Limits
from faceinsight.ui.parts import Settings
from faceinsight.ui.places import Places

MAX_SIDE = 1920
MAX_BYTES = 2_000_000
# A page that went without a word, as on a lost connection.
GONE_S = 1800.0
# At 30 frames a second, one face for eleven minutes; some 20 MB.
MAX_ROWS = 20_000
# A browser counts seconds since the page was opened: nobody's was for a year.
LATEST_S = 3e7
# Seconds without a frame that is newer than the last, while frames come.
HEAL_S = 3.0
# Where the visitor sets none: the smallest face, as a share of the frame's longer side.
SMALLEST_SHARE = 1 / 16

# Milliseconds of analysis for a frame, where it cannot do with less.
BUDGET_MS = 25.0

Answer = dict[str, Any]


@dataclass(slots=True)
class Recording:
    """The frames with faces that a visitor's page asked to keep."""

    # The page counts its recordings: a new number begins a new one.
    number: int
    began_s: float
    # (seconds on the camera's clock, frame), and the rows of a table that they make.
    frames: list[tuple[float, FrameAnalysis]] = field(default_factory=list)
    rows: int = 0
    full: bool = False

    def add(self, time_s: float, analysis: FrameAnalysis, room: int) -> None:
        """Keeps a frame, until one is too many: after that none, so that there are no gaps.

        Args:
            time_s: When it was taken.
            analysis: The frame.
            room: How many rows more there may be in all recordings.
        """
        self.full = self.full or len(analysis.faces) > min(MAX_ROWS - self.rows, room)
        if analysis.faces and not self.full:
            self.frames.append((time_s, analysis))
            self.rows += len(analysis.faces)

    def csv(self) -> str:
        """Returns the rows; their time counts from the recording's start."""
        rows = [row for at, analysis in self.frames for row in rows_of(analysis, time=round(at - self.began_s, 3))]
        # With the byte-order mark by which Excel knows UTF-8.
        return "\ufeff" + to_csv(rows, ("time", "face"))


@dataclass(slots=True)
class Visitor:
    """What is kept of a visitor while the page is open; never a picture."""

    seen_at: float = -math.inf
    turn: anyio.Lock = field(default_factory=anyio.Lock)
    # When the last frame was taken, in seconds on the camera's clock, and when it came.
    time_s: float = -math.inf
    came_s: float = -math.inf
    pack: str | None = None
    stream: FaceStream | None = None
    analysis: FrameAnalysis | None = None
    recording: Recording | None = None

    def stream_of(self, analyzer: FaceAnalyzer, settings: Settings) -> FaceStream:
        """Returns the visitor's stream, with the settings of now; people keep their ids through all changes."""
        if self.stream is None:
            self.stream = FaceStream(analyzer, smoothing=settings.smoothing, budget_ms=BUDGET_MS, cuts=False)
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

    def keep(self, number: int, analysis: FrameAnalysis, room: int) -> Answer:
        """Records a frame; returns how far the recording is.

        Args:
            number: The recording's; at 0, the page records nothing or has what it recorded.
            analysis: The frame.
            room: How many rows more there may be in all recordings.
        """
        if not number:
            self.recording = None
            return {}
        if self.recording is None or self.recording.number != number:
            self.recording = Recording(number, self.time_s)
        self.recording.add(self.time_s, analysis, room)
        return {"rows": self.recording.rows, "full": self.recording.full}


@dataclass(frozen=True, slots=True)
class Sent:
    """What a page sends with a frame, checked."""

    picture: str
    time_s: float
    settings: Settings
    record: int

    @classmethod
    def of(cls, data: Any) -> Sent:
        """Reads what came, of which nothing is known.

        Raises:
            MediaError: If it is not what our page sends.
        """
        try:
            settings = Settings.of(tuple(data["settings"]))
            return cls(data["picture"], float(data["time"]), settings, int(data.get("record") or 0))
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
        self._places = Places(limits.places, limits.turn_s, limits.line)
        self._visitors: dict[str, Visitor] = {}
        # One frame at a time uses every core already; whoever came first is next.
        self._limiter = anyio.CapacityLimiter(1)

    def __len__(self) -> int:
        """How many visitors something is kept of."""
        return len(self._visitors)

    async def frame(self, session: str, data: Any, visitor: str | None = None) -> Answer:
        """Analyses a frame of a visitor's camera.

        Args:
            session: Whose it is.
            data: `picture` (JPEG in Base64), `time` (seconds on the camera's clock), `settings` (the
                values of the drawer) and `record` (the number of the page's recording; 0 for none).
            visitor: Whose session it is, who may have several; None where the session is all there is.

        Returns:
            What `views.overlay` returns, `ms` that it took here (waiting included), while recording `rows` (their
            number) and `full` (whether no more are kept); or `late` where a newer frame came first; or
            `problem`, a sentence, with `line` (the number in the line) where there is no place yet.
        """
        came = time.perf_counter()
        try:
            sent = Sent.of(data)
            if session not in self._places:
                # Who sends no picture of a camera gets none.
                await run_sync(decode, sent.picture, limiter=self._limiter)
            number = self._places.ask(session, visitor or session)
            if number != 0:
                return self._wait(number)
            kept = self._kept(session)
            async with kept.turn:
                # Outside the limiter: others go on while a pack is loaded.
                analyzer = await run_sync(self._engine.analyzer, sent.settings.pack)
                work = kept, sent, analyzer, came, self._room()
                answer = await run_sync(self._analyse, *work, limiter=self._limiter)
            if "late" not in answer:
                self._places.seen(session)
            return answer
        except FaceInsightError as error:
            return {"problem": str(error)}
        except Exception as error:
            return {"problem": as_page_error(error).message}

    async def recorded(self, session: str, number: Any) -> Answer:
        """Hands over a recording. It is kept, should this answer be lost, until a frame with another number.

        Args:
            session: Whose recording.
            number: Its number, as the frames had it.

        Returns:
            `rows`, their number, and where there are any, `csv` (text) with a row a face and frame.
        """
        visitor = self._visitors.get(session)
        if visitor is None:
            return {"rows": 0}
        async with visitor.turn:
            recording = visitor.recording
            if recording is None or recording.number != number:
                return {"rows": 0}
            return {"csv": await run_sync(recording.csv), "rows": recording.rows}

    # These run in Gradio's event loop, as all that adds to or takes from `_visitors` must: in a thread it
    # would change while another loop goes through it.
    async def leave(self, request: gr.Request) -> None:
        """Forgets a visitor who closed the page."""
        self.forget(str(request.session_hash))

    def forget(self, session: str) -> None:
        """Forgets a session; to be called in the event loop."""
        self._places.leave(session)
        self._visitors.pop(session, None)

    async def status(self, request: gr.Request) -> str:
        """Returns the page's status line for a visitor."""
        self._forget_gone()
        visitor = self._visitors.get(str(request.session_hash), Visitor())
        return await run_sync(self._engine.status, visitor.pack, visitor.analysis)

    def _forget_gone(self) -> None:
        now = time.monotonic()
        for session in [key for key, visitor in self._visitors.items() if now - visitor.seen_at > GONE_S]:
            del self._visitors[session]

    def _kept(self, session: str) -> Visitor:
        self._forget_gone()
        visitor = self._visitors.setdefault(session, Visitor())
        visitor.seen_at = time.monotonic()
        return visitor

    def _room(self) -> int:
        recordings = (visitor.recording for visitor in self._visitors.values())
        return self._limits.recorded_rows - sum(recording.rows for recording in recordings if recording)

    def _wait(self, number: int | None) -> Answer:
        if number is None:
            return {"problem": "Too many people wait for the camera: try again in a minute."}
        minutes = round(self._limits.turn_s / 60)
        turn = f" A turn lasts {minutes} min while others wait." if minutes else ""
        return {
            "line": number,
            "problem": f"You are number {number} in line for the camera: keep this page open.{turn}",
        }

    def _analyse(self, visitor: Visitor, sent: Sent, analyzer: FaceAnalyzer, came: float, room: int) -> Answer:
        if not visitor.is_next(sent.time_s, now := time.monotonic()):
            return {"late": True}
        visitor.time_s, visitor.came_s = sent.time_s, now
        picture = decode(sent.picture)
        settings = sent.settings
        stream = visitor.stream_of(analyzer, settings)
        stream.min_face = settings.min_face or max(picture.shape) * SMALLEST_SHARE
        analysis = stream.process(picture, sent.time_s)
        visitor.pack, visitor.analysis = settings.pack, analysis
        answer = views.overlay(analysis, settings.draw) | visitor.keep(sent.record, analysis, room)
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
