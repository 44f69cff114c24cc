"""Tables and files: one row a face, as Python, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from faceinsight import __version__
from faceinsight.results import Face, FrameAnalysis

Row = dict[str, Any]

_DIGITS = 4
# The byte-order mark, by which Excel knows UTF-8.
BOM = "\ufeff"
# A spreadsheet takes a cell that begins so for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def face_row(face: Face, number: int) -> Row:
    """Returns one face as a flat row.

    Args:
        face: The face.
        number: Its number in the image, counted from 1.

    Returns:
        `face`, in a stream `track_id`, `age`, `age_low`, `age_high` (years),
        `gender`, `gender_confidence`, `emotion`, `emotion_confidence`, `det_score`, `x1`, `y1`, `x2`,
        `y2` (pixels), then where the model gives them `p_LABEL` for every emotion, `valence`,
        `arousal`, and for every further head NAME the columns `NAME` and `NAME_confidence`. What is
        unknown is None.
    """
    low, high = face.age_range or (None, None)
    row: Row = {
        "face": number,
        **({} if face.raw is None else {"track_id": face.track_id}),
        "age": _rounded(face.age, 1),
        "age_low": _rounded(low, 1),
        "age_high": _rounded(high, 1),
        "gender": face.gender and face.gender.label,
        "gender_confidence": face.gender and _rounded(face.gender.confidence),
        "emotion": face.emotion and face.emotion.label,
        "emotion_confidence": face.emotion and _rounded(face.emotion.confidence),
        "det_score": _rounded(face.det_score),
        **{key: _rounded(v, 1) for key, v in zip(("x1", "y1", "x2", "y2"), face.bbox, strict=True)},
    }
    if face.emotion is not None:
        row |= {f"p_{name.lower()}": _rounded(p) for name, p in face.emotion.as_dict().items()}
    if face.valence is not None:
        row |= {"valence": _rounded(face.valence), "arousal": _rounded(face.arousal)}
    for name, answer in face.heads:
        row |= {name: answer.label, f"{name}_confidence": _rounded(answer.confidence)}
    return row


def face_record(face: Face, number: int) -> Row:
    """Returns `face_row` with `kps`, the key points as [[x, y], ...] in pixels, or None."""
    return face_row(face, number) | {"kps": face.kps and [[_rounded(v, 1) for v in point] for point in face.kps]}


def _rounded(value: float | None, digits: int = _DIGITS) -> float | None:
    return None if value is None else round(value, digits)


def rows_of(analysis: FrameAnalysis, **columns: Any) -> list[Row]:
    """Returns one row a face, each led by `columns` (a file name, a time)."""
    return [columns | face_row(face, n) for n, face in enumerate(analysis.faces, start=1)]


def result_head(file: str, pack: str, pack_hash: str, det_threshold: float, min_face: float) -> dict[str, Any]:
    """Returns how the answers about a file came about: what the JSON of each begins with.

    Args:
        file: The file's name.
        pack: The model pack's name.
        pack_hash: What tells the pack from every other, `FaceAnalyzer.pack_hash`.
        det_threshold: Faces with a lower detection score, in [0, 1], were left out.
        min_face: Faces whose longest side is shorter, in pixels, were left out.

    Returns:
        These, `version` (FaceInsight's) and `date` (now, in UTC, as of ISO 8601).
    """
    return {
        "file": file,
        "version": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "pack": pack,
        "pack_hash": pack_hash,
        "det_threshold": det_threshold,
        "min_face": min_face,
    }


def analysis_dict(analysis: FrameAnalysis) -> dict[str, Any]:
    """Returns an analysis as plain values for JSON.

    Returns:
        `width`, `height` (pixels), `pack`, `stages`, `missing` ({stage: reason}), `timings_ms`
        ({stage: ms}), and `faces`: as of `face_record`.
    """
    return {
        "width": analysis.width,
        "height": analysis.height,
        "pack": analysis.pack,
        "stages": list(analysis.stages),
        "missing": dict(analysis.missing),
        "timings_ms": {stage: round(ms, 2) for stage, ms in analysis.timings},
        "faces": [face_record(face, n) for n, face in enumerate(analysis.faces, start=1)],
    }


def columns_of(rows: Iterable[Row]) -> list[str]:
    """Returns the columns of a table: those of all rows, whatever stands in the first of them."""
    found = dict.fromkeys(key for row in rows for key in row)
    # A clip's rows begin with a time, and a problem is told of at the end.
    first = [key for key in ("file", "time", "face", "track_id") if key in found]
    last = [key for key in ("error",) if key in found]
    return [*first, *(key for key in found if key not in (*first, *last)), *last]


def to_json(value: Any) -> str:
    """Returns indented JSON text that ends with a line break."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def to_csv(rows: Iterable[Row], columns: Sequence[str] = ("face",)) -> str:
    """Returns CSV text with a header line, readable by spreadsheets.

    Args:
        rows: Rows; their columns may differ, what a row lacks stays empty.
        columns: The header where there are no rows at all.

    Returns:
        CSV as of RFC 4180. Text that a spreadsheet would run as a formula is led by an apostrophe.
    """
    rows = list(rows)
    header = columns_of(rows) or list(columns)
    return "".join(csv_pieces(rows, header))


def csv_pieces(rows: Iterable[Row], header: Sequence[str]) -> Iterator[str]:
    """Yields the text of `to_csv` row by row, for rows whose columns are all in `header`."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, header, restval="", lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        writer.writerow({key: _safe_cell(value) for key, value in row.items()})
    yield buffer.getvalue()


def _safe_cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


def csv_bytes(rows: Iterable[Row], columns: Sequence[str] = ("face",)) -> bytes:
    """Returns `to_csv` as a file's content, led by `BOM`."""
    return (BOM + to_csv(rows, columns)).encode(errors="backslashreplace")
