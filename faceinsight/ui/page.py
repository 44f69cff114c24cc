"""Gradio's page, with the files of each visitor kept apart and every file in a request checked."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.routes import App

from faceinsight.ui.engine import as_page_error
from faceinsight.ui.files import folder_now, store, working_in
from faceinsight.ui.visitors import Visitor, visitor_of

NOBODY = Visitor("nobody", browser=False)


def _keep_apart(owner: type, name: str) -> None:
    # Gradio asks for it at each file; its own value is one folder for all visitors, set once.
    setattr(owner, name, property(lambda self: str(folder_now()), lambda self, value: None))


# Where components put what they show, and where uploads go.
_keep_apart(Block, "GRADIO_CACHE")
_keep_apart(App, "uploaded_file_dir")


class Page(gr.Blocks):
    """A page whose events see no file but those that their visitor may use.

    Gradio checks a file only where the request marks it as one. Here every value that came is looked
    through, before any component's `preprocess` sees it.
    """

    async def process_api(
        self, block_fn: Any, inputs: list[Any], state: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Does what an event asks for: all ways to a handler lead through here, whatever the route."""
        visitor = visitor_of(request) if isinstance(request, gr.Request) else NOBODY
        try:
            inputs, found = store().admit(inputs, visitor)
        except Exception as error:
            raise as_page_error(error) from error
        folder = store().folder_beside(found, visitor)
        with store().using([*found, folder]), working_in(folder):
            answer: dict[str, Any] = await super().process_api(block_fn, inputs, state, request, *args, **kwargs)
        # Gradio would keep the name of every file for a cleaner of its own, which the janitor stands in for.
        for names in self.temp_file_sets:
            names.clear()
        return answer
