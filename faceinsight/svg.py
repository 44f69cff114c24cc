"""Charts as SVG to be stretched: they hold no text, which would be stretched with them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

EMOTION_COLORS = {
    "Anger": "#d55e00",
    "Contempt": "#8c6bb1",
    "Disgust": "#7a9a01",
    "Fear": "#b07aa1",
    "Happiness": "#e6b800",
    "Neutral": "#8a94a6",
    "Sadness": "#0072b2",
    "Surprise": "#009e73",
}
OTHER_COLOR = "#56b4e9"
# What is less of a chart's height is not drawn.
_LEAST = 0.005


def emotion_color(label: str) -> str:
    """Returns the colour of an expression, as CSS has it."""
    return EMOTION_COLORS.get(label, OTHER_COLOR)


def stacked_columns(
    shares: npt.NDArray[np.float64], labels: Sequence[str], colors: Sequence[str], name: str, width: float = 1
) -> str:
    """Draws columns side by side, each of parts that lie on each other.

    Args:
        shares: (columns, parts), each in [0, 1] of the chart's height.
        labels: The parts' names.
        colors: The parts' colours.
        name: What the chart shows, for whoever cannot see it.
        width: How much of its room a column takes.
    """
    paths = []
    tops = 1 - np.cumsum(shares, axis=1)
    for index, (label, color) in enumerate(zip(labels, colors, strict=True)):
        steps = "".join(
            f"M{x + (1 - width) / 2:g} {100 * tops[x, index]:.1f}h{width:g}v{100 * shares[x, index]:.1f}h-{width:g}z"
            for x in np.flatnonzero(shares[:, index] > _LEAST)
        )
        paths.append(f'<path d="{steps}" fill="{color}"><title>{escape(label)}</title></path>')
    return (
        f'<svg viewBox="0 0 {len(shares)} 100" preserveAspectRatio="none" shape-rendering="crispEdges" role="img" '
        f'aria-label="{escape(name)}">{"".join(paths)}</svg>'
    )
