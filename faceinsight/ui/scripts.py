"""The browser's code: ES modules of assets/js/, which the page imports from the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from faceinsight.resources import asset


def scripts_folder() -> Path:
    """Returns the folder that the server has to hand out."""
    return asset("js").resolve()


def file_url(path: Path) -> str:
    """Returns the address of a file that the server hands out.

    It is relative to the page's own base, as Gradio's files are: right behind any proxy and on any sub-path.
    """
    return f"./gradio_api/file={quote(path.as_posix(), safe='/:')}"


def run_script(module: str, function: str, *arguments: str, **options: Any) -> str:
    """Returns JavaScript, for `js_on_load`, that runs a function of a module.

    Args:
        module: The module's file name.
        function: The name of a function that it exports.
        arguments: What to give it, as JavaScript: of `js_on_load`, "element" and "server".
        options: What to give it as one object after those, as plain values; no object where there are none.
    """
    url = json.dumps(file_url(scripts_folder() / module))
    given = ", ".join([*arguments, json.dumps(options)] if options else arguments)
    return f"import(new URL({url}, document.baseURI)).then((module) => module.{function}({given}))"
