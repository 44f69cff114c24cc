"""The Webcam tab: camera frames in, labelled frames out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
import numpy as np
import numpy.typing as npt

from faceinsight.drawing import draw
from faceinsight.errors import FaceInsightError
from faceinsight.ui import views
from faceinsight.ui.components import LiveImage
from faceinsight.ui.engine import Engine, friendly
from faceinsight.ui.parts import Settings, results_table
from faceinsight.ui.texts import WEBCAM_HINT

# How often the page sends a frame at most; the server drops what it cannot keep up with.
STREAM_EVERY_S = 0.05
# The table and the bars are for reading: redrawing them with every frame would only cost time.
READABLE_EVERY_S = 0.4
MAX_VISITORS = 8
_SMOOTH = 0.9


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a visitor's stream runs.

    Attributes:
        frame_at: Monotonic seconds of the last frame; None before the first.
        readable_at: Monotonic seconds of the last update of table and bars.
        interval: Smoothed seconds between two frames; None before the second.
    """

    frame_at: float | None = None
    readable_at: float = 0.0
    interval: float | None = None

    def tick(self, now: float) -> Pace:
        """Returns the pace after a frame at `now`; a pause of over a second starts it anew."""
        if self.frame_at is None or now - self.frame_at > 1:
            return replace(self, frame_at=now, interval=None)
        step = now - self.frame_at
        smooth = step if self.interval is None else _SMOOTH * self.interval + (1 - _SMOOTH) * step
        return replace(self, frame_at=now, interval=smooth)

    @property
    def fps(self) -> float:
        """Frames a second; 0 where it is not known yet."""
        return 1 / self.interval if self.interval else 0.0


def build_webcam_tab(engine: Engine, settings: list[gr.components.Component], status: gr.Markdown) -> None:
    """Builds the tab inside the current Blocks context.

    Args:
        engine: The app's models.
        settings: The side panel's components, in the order of `Settings`.
        status: The page's status line.
    """
    pace_state = gr.State(Pace())
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=280):
            camera = gr.Image(
                label="Camera",
                sources=["webcam"],
                streaming=True,
                type="numpy",
                height=360,
                webcam_options=gr.WebcamOptions(mirror=True, constraints={"video": {"width": 640, "height": 480}}),
                elem_id="webcam-input",
            )
        with gr.Column(scale=1, min_width=280):
            labelled = LiveImage(
                interactive=False,
                label="You, labelled",
                height=360,
                buttons=[],
                elem_id="webcam-output",
            )
    notice = gr.Markdown(WEBCAM_HINT, elem_id="webcam-notice", elem_classes="notice")
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=280):
            table = results_table(views.HEADERS, views.WIDTHS, "One row a face", 260, "webcam-table")
        with gr.Column(scale=1, min_width=240):
            bars = gr.Label(label="Emotion (largest face)", show_heading=False, elem_id="webcam-bars")

    def on_frame(frame: npt.NDArray[np.uint8] | None, pace: Pace, *values: Any) -> dict[Any, Any]:
        if frame is None:  # sent while the camera starts or stops
            return {notice: gr.skip()}
        now = time.monotonic()
        pace = pace.tick(now)
        chosen = Settings.of(values)
        try:
            analysis = engine.analyzer(chosen.pack).analyze(frame, **chosen.detect)
        except FaceInsightError as error:
            return {labelled: frame, notice: f"⚠️ {error}", pace_state: pace}
        shown: dict[Any, Any] = {labelled: draw(frame, analysis.faces, chosen.draw)}
        if now - pace.readable_at >= READABLE_EVERY_S:
            pace = replace(pace, readable_at=now)
            largest = None if analysis.largest is None else analysis.faces[analysis.largest]
            count = views.count_faces(len(analysis.faces))
            pace_text = f" · {pace.fps:.0f} frames/s" if pace.interval else ""
            shown |= {
                table: views.table(analysis),
                bars: views.bars(largest),
                notice: f"{count}{pace_text}",
                status: engine.status(chosen.pack, analysis),
            }
        return shown | {pace_state: pace}

    camera.stream(
        friendly(on_frame),
        [camera, pace_state, *settings],
        [labelled, table, bars, notice, status, pace_state],
        stream_every=STREAM_EVERY_S,
        concurrency_limit=MAX_VISITORS,
        concurrency_id="webcam",
        show_progress="hidden",
        api_visibility="private",
    )
    camera.clear(
        lambda: (None, [], None, WEBCAM_HINT),
        None,
        [labelled, table, bars, notice],
        api_visibility="private",
        queue=False,
    )
