"""The Webcam tab: the visitor's own live picture, with the labels drawn over it in the browser."""

from __future__ import annotations

from typing import Any

import gradio as gr

from faceinsight.svg import EMOTION_COLORS, OTHER_COLOR
from faceinsight.ui import views
from faceinsight.ui.live import Answer, Visitors
from faceinsight.ui.scripts import run_script
from faceinsight.ui.templates import table_head, template
from faceinsight.ui.texts import WEBCAM_HINT
from faceinsight.ui.visitors import visitor_of

NO_COOKIE = (
    "The camera needs a cookie by which this page knows you, and your browser sends none: "
    "allow cookies for this page, or open it in a window of its own, and reload it."
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
        return await visitors.frame(await session_of(request), data, visitor.id, visitor.address)

    # Frames go up and answers come down in calls of its own: Gradio's stream would send every frame through
    # its queue.
    stage = gr.HTML(
        None,
        html_template=template("webcam", hint=WEBCAM_HINT, head=table_head(views.HEADERS)),
        js_on_load=run_script(
            "webcam.js", "start", "element", "server", "{ props, trigger }", colors=EMOTION_COLORS, other=OTHER_COLOR
        ),
        server_functions=[live_frame],
        apply_default_css=False,
        padding=False,
        elem_id="webcam-input",
    )
    # The page has the line from the answers: the server is not asked, which may be away.
    stage.submit(None, stage, status, js="({ status }) => status", api_visibility="private")


async def session_of(request: gr.Request) -> str:
    """Returns whose call of a server function this is; Gradio hands over the request as it came."""
    return str((await request.json())["session_hash"])
