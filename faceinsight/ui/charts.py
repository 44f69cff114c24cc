"""Expressions over time as pictures of a page: SVG, with the webcam timeline's look."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from faceinsight.people import Person
from faceinsight.svg import emotion_color, stacked_columns

# Columns of a chart, and how many charts: a long clip with many people stays a page that scrolls smoothly.
COLUMNS = 240
MAX_CHARTS = 12


def emotion_charts(people: Sequence[Person], start: float, end: float) -> str:
    """Returns a chart a person as HTML, those longest on screen first; "" where no expression is known.

    Args:
        people: The people of one clip.
        start: Seconds of the clip at which the charts begin.
        end: Seconds of the clip at which they end.
    """
    known = [person for person in people if person.emotion is not None]
    if not known:
        return ""
    longest = sorted(known, key=lambda person: -person.seconds)[:MAX_CHARTS]
    labels = longest[0].emotion.labels if longest[0].emotion else ()
    legend = "".join(
        f'<span><i style="background: {emotion_color(label)}"></i>{escape(label)}</span>' for label in labels
    )
    rows = "".join(
        f'<div data-id="{person.track_id}" data-start="{start:.3f}" data-end="{end:.3f}"><b>#{person.track_id}</b>'
        f"{_chart(person, labels, start, max(end - start, 1e-3))}</div>"
        for person in sorted(longest, key=lambda person: person.track_id)
    )
    more = f"<p>The {MAX_CHARTS} people longest on screen, of {len(known)}.</p>" if len(known) > MAX_CHARTS else ""
    scale = f"<div><b></b><p><span>{start:.1f} s</span><span>{end:.1f} s</span></p></div>"
    return f'<section class="emotion-charts"><h4>Emotions over time</h4><p>{legend}</p>{rows}{scale}{more}</section>'


def _chart(person: Person, labels: Sequence[str], start: float, length: float) -> str:
    """Draws the shares of the expressions over time; nothing where the person is away."""
    columns = _columns(person, len(labels), start, length)
    name = f"Emotions of person {person.track_id} over time"
    return stacked_columns(columns, labels, [emotion_color(label) for label in labels], name)


def _columns(person: Person, labels: int, start: float, length: float) -> npt.NDArray[np.float64]:
    """Returns the mean shares by column (COLUMNS, labels); zeros where the person is away."""
    sums = np.zeros((COLUMNS, labels))
    counts = np.zeros((COLUMNS, 1))
    for moment in person.moments:
        if moment.face.emotion is None:
            continue
        first = min(round(COLUMNS * (moment.time - start) / length), COLUMNS - 1)
        last = round(COLUMNS * (moment.time + moment.seconds - start) / length)
        columns = slice(first, max(last, first + 1))
        sums[columns] += moment.face.emotion.probabilities
        counts[columns] += 1
    return sums / np.maximum(counts, 1)
