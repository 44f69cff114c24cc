"""The Webcam tab: the visitor's own live picture, with the labels drawn over it in the browser."""

from __future__ import annotations

from typing import Any

import gradio as gr

from faceinsight.ui import views
from faceinsight.ui.charts import EMOTION_COLORS, OTHER_COLOR
from faceinsight.ui.components import Camera
from faceinsight.ui.live import Answer, Visitors
from faceinsight.ui.scripts import run_script
from faceinsight.ui.templates import table_head
from faceinsight.ui.texts import WEBCAM_HINT
from faceinsight.ui.visitors import visitor_of

# Seconds between two updates of the page's status line.
STATUS_EVERY_S = 2.0

NO_COOKIE = (
    "The camera needs a cookie by which this page knows you, and your browser sends none: "
    "allow cookies for this page, or open it in a window of its own, and reload it."
)

# The checkbox is drawn by the browser: of those outside its components, Gradio hides the tick.
PANEL = f"""
<p id="webcam-notice" role="status">{WEBCAM_HINT}</p>
<p id="webcam-figures" hidden><b id="webcam-fps"></b> frames/s ·
<b id="webcam-updates"></b> analysed · <b id="webcam-latency"></b> ms behind</p>
<div class="live-tools">
<label><input type="checkbox" id="webcam-record" style="appearance: auto" disabled> Record to CSV
<span id="webcam-rows"></span></label>
<button id="webcam-snapshot" disabled>Snapshot</button>
</div>
<p id="webcam-without"></p>
<div id="webcam-mood">
<h4 id="webcam-who">Emotion</h4>
<div id="webcam-bars"></div>
<canvas id="webcam-timeline" role="img" aria-label="Emotions of the last 30 seconds"></canvas>
<p class="live-axis"><span>30 s ago</span><span>now</span></p>
</div>
"""
TABLE = (
    '<div class="live-table" tabindex="0" role="region" aria-label="One row a person"><table id="webcam-table">'
    f"{table_head(views.HEADERS)}<tbody></tbody></table></div>"
)


def build_webcam_tab(visitors: Visitors, settings: list[gr.components.Component], status: gr.Markdown) -> None:
    """Builds the tab inside the current Blocks context.

    Args:
        visitors: The streams of all visitors.
        settings: The drawer's components, in the order of `Settings`.
        status: The page's status line.
    """

    async def live_frame(data: Any, request: gr.Request) -> Answer:
        visitor = visitor_of(request)
        if not visitor.browser:
            return {"problem": NO_COOKIE}
        return await visitors.frame(await session_of(request), data, visitor.id)

    async def live_record(number: Any, request: gr.Request) -> Answer:
        return await visitors.recorded(await session_of(request), number)

    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=280):
            camera = Camera(
                label="Camera",
                sources=["webcam"],
                streaming=True,
                height=480,
                webcam_options=gr.WebcamOptions(mirror=True, constraints={"video": {"width": 640, "height": 480}}),
                elem_id="webcam-input",
            )
        with gr.Column(scale=2, min_width=260):
            # Frames go up and answers come down in calls of its own: Gradio's stream would send every frame
            # through its queue. It sends one in two seconds, which nobody looks at, for the status line.
            gr.HTML(
                PANEL,
                js_on_load=run_script(
                    "webcam.js", "start", "element", "server", colors=EMOTION_COLORS, other=OTHER_COLOR
                ),
                server_functions=[live_frame, live_record],
                apply_default_css=False,
                padding=False,
                elem_id="webcam-panel",
            )
    gr.HTML(TABLE, apply_default_css=False, padding=False)

    async def on_stream(_: None, request: gr.Request) -> str:
        return await visitors.status(request)

    camera.stream(
        on_stream,
        camera,
        status,
        stream_every=STATUS_EVERY_S,
        concurrency_limit=None,
        show_progress="hidden",
        api_visibility="private",
    )


async def session_of(request: gr.Request) -> str:
    """Returns whose call of a server function this is; Gradio hands over the request as it came."""
    return str((await request.json())["session_hash"])
