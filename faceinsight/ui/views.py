"""Results as the page shows them: table cells, captions, bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faceinsight.drawing import DrawOptions, color_of, label_of
from faceinsight.label_layout import core_of
from faceinsight.people import Person
from faceinsight.results import Classification, Face, FrameAnalysis, face_numbers, percent
from faceinsight.ui.texts import NO_EMOTION, NO_FACE

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
                "id": number,
                "box": [round(v, 1) for v in face.bbox],
                "core": [round(v, 1) for v in core_of(face)],
                "color": "rgb({} {} {})".format(*color_of(number)),
                "tag": label.tag,
                "lines": label.lines,
                "cells": cells(face, number),
                "age": face.age and round(face.age),
                "range": face.age_range and [round(years) for years in face.age_range],
                "gender": _shares(face.gender),
                "emotion": _shares(face.emotion),
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
