"""Results as the page shows them: table cells, captions, bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faceinsight.drawing import caption, face_thumbnail
from faceinsight.people import Person
from faceinsight.results import Classification, Face, FrameAnalysis, face_numbers, percent
from faceinsight.ui.texts import NO_FACE

HEADERS = ["#", "Age", "Range", "Gender", "Emotion", "Score", "Box"]
# In pixels: a phone scrolls the table sideways instead of breaking words.
WIDTHS = ["40px", "60px", "80px", "125px", "150px", "75px", "155px"]
CLIP_HEADERS = ["Time (s)", *HEADERS]
CLIP_WIDTHS = ["90px", *WIDTHS]
PEOPLE_HEADERS = ["#", "On screen", "Age", "Range", "Gender", "Mostly", "Emotions"]
PEOPLE_WIDTHS = ["40px", "85px", "60px", "80px", "125px", "110px", "330px"]
# Beyond this a table in a page is no help; the CSV has all rows.
MAX_TABLE_ROWS = 500
_UNKNOWN = "–"

Cells = list[list[Any]]


def _class_cell(answer: Classification | None) -> str:
    return _UNKNOWN if answer is None else f"{answer.label} {percent(answer.confidence)}"


def _age_cell(age: float | None) -> int | str:
    return _UNKNOWN if age is None else round(age)


def _range_cell(ends: tuple[float, float] | None) -> str:
    return _UNKNOWN if ends is None else f"{ends[0]:.0f}–{ends[1]:.0f}"


def cells(face: Face, number: int) -> list[Any]:
    """Returns a face's row of a table, in the order of `HEADERS`."""
    return [
        number or _UNKNOWN,
        _age_cell(face.age),
        _range_cell(face.age_range),
        _class_cell(face.gender),
        _class_cell(face.emotion),
        percent(face.det_score),
        ", ".join(f"{v:.0f}" for v in face.bbox),
    ]


def table(analysis: FrameAnalysis) -> Cells:
    """Returns the table of an image, one row a face, in the order of `HEADERS`."""
    return list(map(cells, analysis.faces, face_numbers(analysis.faces)))


def clip_table(frames: tuple[tuple[float, FrameAnalysis], ...]) -> Cells:
    """Returns the first rows of a clip, one a face and analysed frame, as of `CLIP_HEADERS`."""
    rows: Cells = []
    for time, analysis in frames:
        rows += [[round(time, 2), *row] for row in table(analysis)]
        if len(rows) >= MAX_TABLE_ROWS:
            break
    return rows[:MAX_TABLE_ROWS]


def people_table(people: Sequence[Person]) -> Cells:
    """Returns the table of a clip's people, one row each, in the order of `PEOPLE_HEADERS`."""
    rows: Cells = []
    for person in people:
        emotion = person.emotion
        shares = sorted(emotion.as_dict().items(), key=lambda item: -item[1]) if emotion else []
        rows.append(
            [
                person.track_id,
                f"{person.seconds:.1f} s",
                _age_cell(person.age),
                _range_cell(person.age_range),
                _class_cell(person.gender),
                emotion.label if emotion else _UNKNOWN,
                " · ".join(f"{label.lower()} {percent(share)}" for label, share in shares if share >= 0.01) or _UNKNOWN,
            ]
        )
    return rows[:MAX_TABLE_ROWS]


def gallery(image: npt.NDArray[np.uint8], analysis: FrameAnalysis) -> list[tuple[npt.NDArray[np.uint8], str]]:
    """Returns (crop, caption) of every face of an image, (h, w, 3) uint8 RGB each."""
    return [
        (face_thumbnail(image, face), " · ".join(caption(face, number)))
        for number, face in enumerate(analysis.faces, start=1)
    ]


def bars(face: Face | None) -> dict[str, float] | None:
    """Returns the emotions of a face for bars; None where nothing is known.

    The page rounds to whole percents: no bar is let to read 100 %.
    """
    if face is None or face.emotion is None:
        return None
    return {label: min(share, 0.99) for label, share in face.emotion.as_dict().items()}


def bars_title(analysis: FrameAnalysis | None, index: int | None) -> str:
    """Returns the heading of the emotion bars."""
    if analysis is None or index is None:
        return "Emotion"
    return f"Emotion of face #{index + 1}"


def count_faces(count: int) -> str:
    """Returns the number of faces in words."""
    return "**1 face**" if count == 1 else f"**{count} faces**"


def summary(analysis: FrameAnalysis, note: str | None = None) -> str:
    """Returns one line in Markdown about an analysed image."""
    line = count_faces(len(analysis.faces)) if analysis.faces else NO_FACE
    if len(analysis.faces) > 1:
        line += ". Choose one in the gallery or the table."
    return line if note is None else f"{line}  \n{note}"
