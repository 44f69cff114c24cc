"""Gradio's page, with the files of each visitor kept apart and every file in a request checked."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.routes import App

from faceinsight.errors import MediaError
from faceinsight.logs import event
from faceinsight.ui import metrics
from faceinsight.ui.engine import UnforeseenError, as_page_error
from faceinsight.ui.files import folder_now, store, working_in
from faceinsight.ui.visitors import Visitor, visitor_of

log = logging.getLogger(__name__)

NOBODY = Visitor("nobody", browser=False)


def _keep_apart(owner: type, name: str) -> None:
    # Gradio asks for it at each file; its own value is one folder for all visitors, set once.
    setattr(owner, name, property(lambda self: str(folder_now()), lambda self, value: None))


# Where components put what they show, and where uploads go.
_keep_apart(Block, "GRADIO_CACHE")
_keep_apart(App, "uploaded_file_dir")


@contextmanager
def _counted(name: str) -> Iterator[None]:
    """Tells /metrics and the log how work on an event went."""
    outcome, began = "ok", time.perf_counter()
    try:
        yield
    except gr.Error as error:
        outcome = "failed" if isinstance(error, UnforeseenError) else "refused"
        raise
    except BaseException:
        outcome = "failed"
        raise
    finally:
        seconds = time.perf_counter() - began
        metrics.event_seconds.labels(name).observe(seconds)
        metrics.events.labels(name, outcome).inc()
        event(log, "event", endpoint=name, outcome=outcome, ms=round(seconds * 1000, 1))


class Page(gr.Blocks):
    """A page whose events see no file but those that their visitor may use.

    Gradio checks a file only where the request marks it as one. Here every value that came is looked
    through, before any component's `preprocess` sees it.
    """

    async def process_api(
        self, block_fn: Any, inputs: list[Any], state: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Does what an event asks for: all ways to a handler lead through here, whatever the route."""
        name = block_fn.api_name if block_fn.api_visibility == "public" and block_fn.api_name else "page"
        with _counted(str(name)):
            try:
                return await self._process(block_fn, inputs, state, request, *args, **kwargs)
            except Exception as error:
                # Gradio would print it, and what a visitor sent with it.
                raise as_page_error(error) from error

    async def _process(
        self, block_fn: Any, inputs: list[Any], state: Any, request: Any, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        visitor = visitor_of(request) if isinstance(request, gr.Request) else NOBODY
        if len(inputs) < len(block_fn.inputs):
            raise MediaError(f"{len(inputs)} values came where {len(block_fn.inputs)} are needed: see the description.")
        inputs, found = store().admit(inputs, visitor)
        folder = store().folder_beside(found, visitor)
        with store().using([*found, folder]), working_in(folder):
            answer: dict[str, Any] = await super().process_api(block_fn, inputs, state, request, *args, **kwargs)
        # Gradio would keep the name of every file for a cleaner of its own, which the janitor stands in for.
        for names in self.temp_file_sets:
            names.clear()
        return answer
