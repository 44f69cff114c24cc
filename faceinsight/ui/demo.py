"""The whole page."""

from __future__ import annotations

import gradio as gr

from faceinsight.ui.about_tab import build_about_tab
from faceinsight.ui.api import build_api
from faceinsight.ui.engine import Engine
from faceinsight.ui.image_tab import build_image_tab
from faceinsight.ui.links import refuse_links
from faceinsight.ui.live import Visitors
from faceinsight.ui.managing import Managers
from faceinsight.ui.page import Page
from faceinsight.ui.parts import settings_drawer
from faceinsight.ui.scripts import run_script
from faceinsight.ui.switching import build_switching
from faceinsight.ui.texts import FOOTER, HEADER
from faceinsight.ui.video_tab import build_video_tab
from faceinsight.ui.webcam_tab import build_webcam_tab

# What the browser's code reads of the settings.
SHARE_SETTINGS = """(...values) => {
  window.faceInsightSettings = values;
  window.dispatchEvent(new Event("faceinsight-settings"));
  return [];
}"""


def build_demo(
    engine: Engine | None = None,
    visitors: Visitors | None = None,
    managers: Managers = Managers(everybody=False, on_this_machine=True),
) -> gr.Blocks:
    """Builds the page.

    Args:
        engine: The models to use; those of the first pack on this machine where None.
        visitors: The people at the Webcam tab; nobody yet where None.
        managers: Who may download and remove packs.

    Returns:
        The page, to be launched with `launch_options`.
    """
    refuse_links()
    engine = engine or Engine()
    visitors = Visitors(engine) if visitors is None else visitors
    tabs = {
        "Webcam": lambda _, *parts: build_webcam_tab(visitors, *parts),
        "Image": build_image_tab,
        "Video": build_video_tab,
        "Models & about": lambda _, *parts: build_about_tab(engine, managers, *parts),
    }
    with Page(title="FaceInsight", analytics_enabled=False, fill_width=True) as demo:
        gr.HTML(HEADER, js_on_load=run_script("drawer.js", "start"), apply_default_css=False, elem_id="header")
        status = gr.Markdown(engine.status(), elem_id="status")
        here = run_script("presence.js", "start")
        gr.HTML('<p id="camera-problem" role="alert"></p>', js_on_load=here, padding=False)
        with gr.Column(elem_id="settings"):
            settings = settings_drawer(engine)
        with gr.Tabs(selected="Image", elem_id="tabs"):
            for name, build in tabs.items():
                with gr.Tab(name, id=name):
                    build(engine, settings, status)
        build_switching(engine, settings[0], status)
        # Without triggers: at every change, and when the page is opened.
        gr.on(None, None, settings, js=SHARE_SETTINGS, api_visibility="private")
        gr.Markdown(FOOTER, elem_id="footer")
        build_api(engine)
        # A visitor who comes later sees what has been fetched since.
        demo.unload(visitors.leave)
        demo.load(
            lambda: (engine.status(), gr.Dropdown(choices=engine.named_choices())),
            None,
            [status, settings[0]],
            api_visibility="private",
            show_progress="hidden",
        )
    return demo
