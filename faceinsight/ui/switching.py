"""Another pack, chosen in the drawer: loaded beside what goes on, and kept only where it can be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from faceinsight.ui.engine import Engine, as_page_error


def build_switching(engine: Engine, pack: gr.Dropdown, status: gr.Markdown) -> None:
    """Has the status line follow the choice of a pack.

    Args:
        engine: The app's models.
        pack: The drawer's choice.
        status: The page's status line.
    """
    last = gr.State(engine.default)

    def on_choice(chosen: str, before: str) -> Iterator[tuple[Any, Any, Any]]:
        if not engine.is_loaded(chosen):
            name = next((name for name, choice in engine.named_choices() if choice == chosen), chosen)
            yield f"Loading pack **{name}** …", gr.skip(), gr.skip()
        try:
            analyzer = engine.analyzer(chosen)
        except Exception as error:
            sentence = f"⚠️ {as_page_error(error).message}"
            yield (f"{sentence}  \n{engine.status(before)}" if before != chosen else sentence), before, gr.skip()
        else:
            yield engine.status_of(analyzer), gr.skip(), chosen

    pack.input(
        on_choice,
        [pack, last],
        [status, pack, last],
        concurrency_limit=4,
        show_progress="hidden",
        api_visibility="private",
    )
