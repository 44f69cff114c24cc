"""Links that visitors send where a file belongs are not followed."""

from __future__ import annotations

from typing import NoReturn

import gradio as gr
from gradio import processing_utils


async def _refuse(url: str) -> NoReturn:
    raise gr.Error("A link is not followed: upload the file itself.", print_exception=False)


def refuse_links() -> None:
    """Keeps Gradio from fetching what a link in a request points to.

    Gradio would download it, whatever its size, from any public host, and look its name up at a DNS service on the
    web; there is no setting for that. Every way to it leads through this one function.
    """
    processing_utils.async_ssrf_protected_get = _refuse
