"""The Models & about tab: which packs are here, how to get others, what the numbers mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from anyio.to_thread import run_sync

from faceinsight.errors import PackError
from faceinsight.packs import pack_names
from faceinsight.packs.locate import pack_roots
from faceinsight.ui.engine import Engine, as_page_error
from faceinsight.ui.managing import Managers
from faceinsight.ui.scripts import run_script
from faceinsight.ui.shelf import Answer, Shelf
from faceinsight.ui.templates import template
from faceinsight.ui.texts import ABOUT, MANAGERS_ONLY, PUBLISHED

CARD = "MODEL_CARD.md"
MAX_CARD_BYTES = 200_000


def model_cards(models: str | Path | None = None) -> dict[str, str]:
    """Returns what packs say of how they were made and how good they are, in Markdown, by their names."""
    cards = {}
    for name in pack_names(models):
        for root in pack_roots(models):
            if (path := root / name / CARD).is_file() and path.stat().st_size <= MAX_CARD_BYTES:
                cards[name] = path.read_text(encoding="utf-8", errors="replace")
                break
    return cards


def build_about_tab(
    engine: Engine, managers: Managers, settings: list[gr.components.Component], status: gr.Markdown
) -> None:
    """Builds the tab inside the current Blocks context.

    Args:
        engine: The app's models.
        managers: Who may download and remove packs.
        settings: The drawer's components, in the order of `Settings`.
        status: The page's status line.
    """
    shelf = Shelf(engine.forget, engine.models)

    async def packs(data: Any, request: gr.Request) -> Answer:
        may = managers.include(request)
        words, problem = "", ""
        try:
            if (what := str(data["what"])) != "look":
                if not may:
                    raise PackError(MANAGERS_ONLY)
                words = await run_sync(shelf.act, what, str(data["pack"]), data.get("accepted") is True)
        except (AttributeError, LookupError, TypeError):
            problem = "What the page sent cannot be read: reload it."
        except Exception as error:
            problem = str(as_page_error(error).message)
        answer = await run_sync(shelf.look)
        return answer | {"may": may, "why": "" if may else MANAGERS_ONLY, "words": words, "problem": problem}

    stage = gr.HTML(
        None,
        html_template=template("models"),
        js_on_load=run_script("models.js", "start", "element", "server", "{ props, trigger }"),
        server_functions=[packs],
        apply_default_css=False,
        padding=False,
        elem_id="models",
    )
    for name, card in model_cards(engine.models).items():
        with gr.Accordion(f"How {name} was made, and how good it is", open=False):
            gr.Markdown(card)
    gr.Markdown(PUBLISHED)
    gr.Markdown(ABOUT, elem_id="about")

    # What the page says once the files of a pack have changed.
    stage.submit(
        lambda: (gr.Dropdown(choices=engine.named_choices()), engine.status()),
        None,
        [settings[0], status],
        show_progress="hidden",
        api_visibility="private",
    )
