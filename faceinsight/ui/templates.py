"""What the tabs are made of in HTML: files of assets/html/, filled in once when the page is built."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from faceinsight.resources import asset
from faceinsight.ui.scripts import file_url
from faceinsight.ui.texts import MEANINGS


def template(name: str, **parts: str) -> str:
    """Returns a file of assets/html/.

    Args:
        name: The file's name, without its ending.
        parts: What to put in place of its comments, by their words.
    """
    html = asset(f"html/{name}.html").read_text(encoding="utf-8")
    for part, content in parts.items():
        html = html.replace(f"<!-- {part} -->", content)
    return html


def table_head(headings: Sequence[str]) -> str:
    """Returns the head of a table; what a heading means is said where the pointer or the keyboard is."""
    return f"<thead><tr>{''.join(map(_heading, headings))}</tr></thead>"


def _heading(name: str) -> str:
    if name not in MEANINGS:
        return f'<th scope="col">{name}</th>'
    return f'<th scope="col"><span tabindex="0" class="fi-tip" data-tip="{escape(MEANINGS[name])}">{name}</span></th>'


def example_buttons(examples: Sequence[tuple[str, Path, Path]]) -> str:
    """Returns a button for every example: (name, the picture on it, the file itself)."""
    return "".join(
        f'<button class="fi-plain" disabled data-file="{escape(file_url(file))}" aria-label="Example {escape(name)}">'
        f'<img src="{escape(file_url(picture))}" alt="{escape(name)}"></button>'
        for name, picture, file in examples
    )
