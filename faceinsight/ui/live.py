"""The live stream of the Webcam tab: a picture in, what to draw over the camera's own picture out."""

from __future__ import annotations

import base64
import io
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import gradio as gr
import numpy as np
import numpy.typing as npt
from anyio.to_thread import run_sync
from PIL import Image

from faceinsight.analyzer import FaceAnalyzer
from faceinsight.drawing import DrawOptions, color_of, label_lines, percent, text_height
from faceinsight.errors import FaceInsightError, MediaError
from faceinsight.export import rows_of, to_csv
from faceinsight.results import FrameAnalysis, face_numbers
from faceinsight.stream import FaceStream
from faceinsight.ui import views
from faceinsight.ui.engine import Engine, as_page_error
from faceinsight.ui.parts import Settings

MAX_SIDE = 1920
MAX_BYTES = 2_000_000
# Who has sent nothing for so long does not keep others from a place.
AWAY_S = 10.0
# A page that went without a word, as on a lost connection.
GONE_S = 1800.0
# At 30 frames a second, one face for eleven minutes; some 20 MB.
MAX_ROWS = 20_000
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
    # When the last frame was taken, in seconds on the camera's clock.
    time_s: float = -math.inf
    pack: str | None = None
    stream: FaceStream | None = None
    analysis: FrameAnalysis | None = None
    # What is recorded: (seconds on the camera's clock, frame); None while nothing is.
    kept: list[tuple[float, FrameAnalysis]] | None = None
    rows: int = 0

    def stream_of(self, analyzer: FaceAnalyzer, settings: Settings) -> FaceStream:
        """Returns the visitor's stream; people are counted anew after another pack or smoothing."""
        old = self.stream
        if old is None or (old.analyzer, old.smoothing) != (analyzer, settings.smoothing):
            self.stream = FaceStream(analyzer, smoothing=settings.smoothing, budget_ms=BUDGET_MS, cuts=False)
        assert self.stream is not None
        self.stream.tracker.det_threshold = settings.det_threshold
        return self.stream

    def keep(self, time_s: float) -> Answer:
        """Records the last frame where that is asked for; returns how far the recording is."""
        if self.kept is None or self.analysis is None:
            return {}
        full = self.rows + len(self.analysis.faces) > MAX_ROWS
        if not full:
            self.kept.append((time_s, self.analysis))
            self.rows += len(self.analysis.faces)
        return {"rows": self.rows, "full": full}


class Visitors:
    """The people at the Webcam tab: a stream each, as many at once as there are places."""

    def __init__(self, engine: Engine) -> None:
        """Begins with nobody.

        Args:
            engine: The app's models, and how many places there are.
        """
        self._engine = engine
        self._visitors: dict[str, Visitor] = {}
        # One frame at a time uses every core already; whoever came first is next.
        self._limiter = anyio.CapacityLimiter(1)

    def __len__(self) -> int:
        """How many visitors something is kept of."""
        return len(self._visitors)

    async def frame(self, session: str, data: Answer) -> Answer:
        """Analyses a frame of a visitor's camera.

        Args:
            session: Whose it is.
            data: `picture` (JPEG in Base64), `time` (seconds on the camera's clock) and `settings`
                (the values of the side panel).

        Returns:
            What `overlay` returns, `ms` that it took, while recording `rows` (their number) and `full`
            (whether no more are kept); or `late` where a newer frame came first; or `problem`, a sentence.
        """
        visitor = self._enter(session)
        if visitor is None:
            return {"problem": self._full()}
        try:
            async with visitor.turn:
                return await run_sync(self._analyse, visitor, data, limiter=self._limiter)
        except FaceInsightError as error:
            return {"problem": str(error)}
        except Exception as error:
            return {"problem": as_page_error(error).message}

    async def record(self, session: str, on: bool) -> Answer:
        """Begins to keep a row a face and frame, or ends it and hands them over.

        Args:
            session: Whose rows.
            on: Whether to begin.

        Returns:
            At the end, `csv` (text) and `rows` (their number).
        """
        visitor = self._visitors.setdefault(session, Visitor())
        kept, visitor.kept = visitor.kept or [], [] if on else None
        rows, visitor.rows = visitor.rows, 0
        return {} if on else {"csv": await run_sync(_csv, kept), "rows": rows}

    def leave(self, request: gr.Request) -> None:
        """Forgets a visitor who closed the page."""
        self._visitors.pop(str(request.session_hash), None)

    def status(self, request: gr.Request) -> str:
        """Returns the page's status line for a visitor."""
        visitor = self._visitors.get(str(request.session_hash), Visitor())
        return self._engine.status(visitor.pack, visitor.analysis)

    def _enter(self, session: str) -> Visitor | None:
        now = time.monotonic()
        visitor = self._visitors.get(session)
        if visitor is None or now - visitor.seen_at > AWAY_S:
            self._visitors = {key: v for key, v in self._visitors.items() if now - v.seen_at <= GONE_S}
            if sum(now - v.seen_at <= AWAY_S for v in self._visitors.values()) >= self._engine.live_visitors:
                return None
            visitor = self._visitors.setdefault(session, visitor or Visitor())
        visitor.seen_at = now
        return visitor

    def _full(self) -> str:
        return (
            f"All places at the camera are taken ({self._engine.live_visitors}): keep this page open, "
            "and the next that becomes free is yours."
        )

    def _analyse(self, visitor: Visitor, data: Answer) -> Answer:
        began = time.perf_counter()
        settings, time_s = Settings.of(tuple(data["settings"])), float(data["time"])
        if time_s <= visitor.time_s:
            return {"late": True}
        visitor.time_s = time_s
        picture = decode(data["picture"])
        stream = visitor.stream_of(self._engine.analyzer(settings.pack), settings)
        stream.min_face = settings.min_face or max(picture.shape) * SMALLEST_SHARE
        visitor.pack, visitor.analysis = settings.pack, stream.process(picture, time_s)
        answer = overlay(visitor.analysis, settings.draw) | visitor.keep(time_s)
        return answer | {"ms": round((time.perf_counter() - began) * 1000, 1)}


def _csv(kept: Sequence[tuple[float, FrameAnalysis]]) -> str:
    rows = [row for time_s, analysis in kept for row in rows_of(analysis, time=round(time_s - kept[0][0], 3))]
    # With the byte-order mark by which Excel knows UTF-8.
    return "\ufeff" + to_csv(rows, ("time", "face"))


def decode(picture: str) -> npt.NDArray[np.uint8]:
    """Returns a JPEG in Base64 as (H, W, 3) uint8 RGB.

    Raises:
        MediaError: If it is none, or larger than a camera's frame need be.
    """
    try:
        content = base64.b64decode(picture[: MAX_BYTES * 4 // 3 + 4], validate=True)
        image = Image.open(io.BytesIO(content), formats=("JPEG",))
        if max(image.size) > MAX_SIDE or len(content) > MAX_BYTES:
            raise ValueError("too large")
        return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, TypeError) as error:
        raise MediaError("The camera's frame cannot be read: reload the page.") from error


def overlay(analysis: FrameAnalysis, options: DrawOptions) -> Answer:
    """Returns what the page draws over a frame and shows beside it, as plain values.

    Args:
        analysis: The frame.
        options: What to draw.

    Returns:
        `size` (width and height of the frame in pixels) and `faces`, one object a face: `id`, `box`,
        `color`, `lines` (its label), `cells` (of `views.HEADERS`), `emotion` ([name, share, text], ...).
    """
    text_px = text_height((analysis.height, analysis.width))
    return {
        "size": (analysis.width, analysis.height),
        "faces": [
            {
                "id": number,
                "box": [round(v, 1) for v in face.bbox],
                "color": "rgb({} {} {})".format(*color_of(number)),
                "lines": label_lines(face, number, options.labels, text_px),
                "cells": views.cells(face, number),
                "emotion": face.emotion and [(k, round(p, 3), percent(p)) for k, p in face.emotion.as_dict().items()],
            }
            for face, number in zip(analysis.faces, face_numbers(analysis.faces), strict=True)
        ],
    }
