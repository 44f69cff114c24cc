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

from faceinsight.drawing import DrawOptions, color_of, label_lines, percent, text_height
from faceinsight.errors import FaceInsightError, MediaError
from faceinsight.export import Row, face_row, to_csv
from faceinsight.results import FrameAnalysis
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

Answer = dict[str, Any]


@dataclass(slots=True)
class Visitor:
    """What is kept of a visitor while the page is open; never a picture."""

    seen_at: float = -math.inf
    turn: anyio.Lock = field(default_factory=anyio.Lock)
    pack: str | None = None
    stream: Any = None
    analysis: FrameAnalysis | None = None
    began_s: float = 0.0
    rows: list[tuple[float, FrameAnalysis]] | None = None
    row_count: int = 0


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

    async def live_frame(self, data: Answer, request: gr.Request) -> Answer:
        """Analyses a frame of a visitor's camera; a server function of the page.

        Args:
            data: `picture` (JPEG in Base64), `time` (seconds on the camera's clock) and `settings`
                (the values of the side panel).
            request: Whose it is.

        Returns:
            What `overlay` returns, or `problem`: a sentence.
        """
        visitor = self._enter(await _session(request))
        if visitor is None:
            return {"problem": self._full()}
        try:
            async with visitor.turn:
                return await run_sync(self._analyse, visitor, data, limiter=self._limiter)
        except FaceInsightError as error:
            return {"problem": str(error)}
        except Exception as error:
            return {"problem": as_page_error(error).message}

    async def live_record(self, on: bool, request: gr.Request) -> Answer:
        """Begins to keep a row a face and frame, or ends it and hands them over; a server function.

        Args:
            on: Whether to begin.
            request: Whose rows.

        Returns:
            `csv` (text) and `rows` (their number) at the end.
        """
        visitor = self._visitors.setdefault(await _session(request), Visitor())
        kept, visitor.rows, visitor.row_count = visitor.rows or [], [] if on else None, 0
        if on:
            return {}
        rows = await run_sync(_rows, kept)
        return {"csv": "\ufeff" + to_csv(rows, ("time", "face")), "rows": len(rows)}

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
            self._visitors = {key: v for key, v in self._visitors.items() if now - v.seen_at <= GONE_S or v.rows}
            if sum(now - v.seen_at <= AWAY_S for v in self._visitors.values()) >= self._engine.live_visitors:
                return None
            visitor = self._visitors.setdefault(session, visitor or Visitor())
        visitor.seen_at = now
        return visitor

    def _full(self) -> str:
        return (
            f"All {self._engine.live_visitors} places are taken: keep this page open, "
            "and the next that becomes free is yours."
        )

    def _analyse(self, visitor: Visitor, data: Answer) -> Answer:
        began = time.perf_counter()
        settings = Settings.of(tuple(data["settings"]))
        taken_s = float(data["time"])
        picture = decode(data["picture"])
        analyzer = self._engine.analyzer(settings.pack)
        if visitor.stream is None or visitor.stream.analyzer is not analyzer:
            visitor.stream, visitor.pack, visitor.began_s = FaceStream(analyzer), settings.pack, taken_s
        visitor.stream.smoothing = settings.smoothing
        visitor.stream.det_threshold = settings.det_threshold
        visitor.stream.min_face = settings.min_face or max(picture.shape) * SMALLEST_SHARE
        analysis = visitor.stream.process(picture, taken_s)
        visitor.analysis = analysis
        answer = overlay(analysis, settings.draw) | {"ms": round((time.perf_counter() - began) * 1000, 1)}
        return answer | self._keep(visitor, taken_s, analysis)

    def _keep(self, visitor: Visitor, taken_s: float, analysis: FrameAnalysis) -> Answer:
        if visitor.rows is None:
            return {}
        if visitor.row_count + len(analysis.faces) > MAX_ROWS:
            return {"rows": visitor.row_count, "full": True}
        visitor.rows.append((taken_s - visitor.began_s, analysis))
        visitor.row_count += len(analysis.faces)
        return {"rows": visitor.row_count}


async def _session(request: gr.Request) -> str:
    """Returns whose call of a server function this is: Gradio hands over the bare request."""
    return str((await request.json())["session_hash"])


def _rows(kept: Sequence[tuple[float, FrameAnalysis]]) -> list[Row]:
    return [
        {"time": round(time_s, 3), **face_row(face, number)}
        for time_s, analysis in kept
        for face, number in zip(analysis.faces, numbers(analysis), strict=True)
    ]


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


def numbers(analysis: FrameAnalysis) -> list[int]:
    """Returns the number of each face of a frame: that of the person where it is known."""
    return [getattr(face, "track_id", None) or number for number, face in enumerate(analysis.faces, start=1)]


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
            for face, number in zip(analysis.faces, numbers(analysis), strict=True)
        ],
    }


class FaceStream:
    """A stand-in."""

    def __init__(self, analyzer):  # type: ignore
        self.analyzer = analyzer
        self.det_threshold, self.min_face, self.smoothing = 0.5, 0.0, 0.5

    def process(self, image, time_s):  # type: ignore
        return self.analyzer.analyze(image, det_threshold=self.det_threshold, min_face=self.min_face)
