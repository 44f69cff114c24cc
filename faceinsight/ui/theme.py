"""The look: quiet, system fonts (nothing is loaded from elsewhere), light and dark."""

from __future__ import annotations

import gradio as gr


def build_theme() -> gr.themes.Base:
    """Returns the theme of the page."""
    return gr.themes.Soft(
        primary_hue="blue",
        neutral_hue="slate",
        radius_size="md",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    )
