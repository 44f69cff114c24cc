"""Results as the page shows them: table cells, captions, bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faceinsight.drawing import DrawOptions, color_of, label_of
from faceinsight.label_layout import core_of
from faceinsight.people import Person
from faceinsight.results import Classification, Face, FrameAnalysis, face_numbers, percent
from faceinsight.ui.pictures import data_url
from faceinsight.ui.texts import NO_EMOTION, NO_FACE

HEADERS = ["#", "Age", "Range", "Gender", "Emotion", "Score", "Box"]
CLIP_HEADERS = ["Time (s)", *HEADERS]
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


def clip_table(frames: Sequence[tuple[float, FrameAnalysis]]) -> Cells:
    """Returns the first rows of a clip, one a face and analysed frame, as of `CLIP_HEADERS`."""
    rows: Cells = []
    for time, analysis in frames:
        rows += [[round(time, 2), *row] for row in table(analysis)]
        if len(rows) >= MAX_TABLE_ROWS:
            break
    return rows[:MAX_TABLE_ROWS]


def person_card(person: Person, portrait: npt.NDArray[np.uint8] | None) -> dict[str, Any]:
    """Returns what the page's card says of somebody in a clip, as plain values.

    Args:
        person: The person.
        portrait: The best picture of them, (h, w, 3) uint8 RGB, or None.

    Returns:
        `id`, `color`, `age`, `range`, `gender` and `emotion` as of `overlay`, `seconds` (on screen), `first`
        (seconds from the beginning of the clip) and `portrait` (a data URL, or "").
    """
    return {
        **_card(person, person.track_id),
        "seconds": round(person.seconds, 2),
        "first": round(person.first, 3),
        "portrait": "" if portrait is None else data_url(portrait),
    }


def _card(someone: Face | Person, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "color": "rgb({} {} {})".format(*color_of(number)),
        "age": someone.age and round(someone.age),
        "range": someone.age_range and [round(years) for years in someone.age_range],
        "gender": _shares(someone.gender),
        "emotion": _shares(someone.emotion),
    }


def overlay(analysis: FrameAnalysis, options: DrawOptions) -> dict[str, Any]:
    """Returns what the page draws over a picture and shows beside it, as plain values.

    Args:
        analysis: The picture's.
        options: What to draw.

    Returns:
        `size` (width and height of the picture in pixels), `without` (a sentence where the pack says nothing
        about emotions, else "") and `faces`, one object a face: `id`, `box`, `core` (what no label may lie on),
        `color`, `tag` and `lines` (its label), `cells` (of `HEADERS`), `age` (years), `range` (two of them),
        `gender` and `emotion` ([name, share, text], ...); None for what is not known.
    """
    return {
        "size": (analysis.width, analysis.height),
        "without": "" if "emotion" in analysis.stages else dict(analysis.missing).get("emotion", NO_EMOTION),
        "faces": [
            {
                **_card(face, number),
                "box": [round(v, 1) for v in face.bbox],
                "core": [round(v, 1) for v in core_of(face)],
                "tag": label.tag,
                "lines": label.lines,
                "cells": cells(face, number),
            }
            for face, number in zip(analysis.faces, face_numbers(analysis.faces), strict=True)
            for label in (label_of(face, number, options.labels),)
        ],
    }


def _shares(answer: Classification | None) -> list[tuple[str, float, str]] | None:
    if answer is None:
        return None
    return [(name, round(share, 3), percent(share)) for name, share in answer.as_dict().items()]


def count_faces(count: int) -> str:
    """Returns the number of faces in words."""
    return "1 face" if count == 1 else f"{count} faces"


def summary(analysis: FrameAnalysis) -> str:
    """Returns one line about an analysed picture."""
    count = len(analysis.faces)
    return count_faces(count) + ("; choose one for more" if count > 1 else "") if count else NO_FACE


def photos_summary(seen: int, photos: int, faces: int) -> str:
    """Returns one line about several photos."""
    so_far = f"{seen} of {photos} photos looked at, " if seen < photos else f"{photos} photos, "
    return so_far + count_faces(faces)
