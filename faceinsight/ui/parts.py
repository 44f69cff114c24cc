"""Components that several tabs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from faceinsight.analyzer import DET_THRESHOLD, FaceAnalyzer
from faceinsight.drawing import LABELS, DrawOptions
from faceinsight.errors import MediaError
from faceinsight.ui.components import BoundedSlider, within
from faceinsight.ui.engine import Engine
from faceinsight.ui.texts import (
    BLUR_INFO,
    LABELS_INFO,
    PACK_INFO,
    SMALLEST_INFO,
    SMOOTHING_INFO,
    THRESHOLD_INFO,
)

# The ends of the sliders.
THRESHOLDS = (0.1, 0.95)
SMALLEST = (0, 400)
SMOOTHING = (0, 100)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a visitor chose in the drawer, in the order of its components; smoothing from 0 to 1."""

    pack: str
    det_threshold: float
    min_face: float
    labels: tuple[str, ...]
    blur: bool
    smoothing: float

    @classmethod
    def of(cls, values: tuple[Any, ...]) -> Settings:
        """Makes settings of the values of the drawer's components.

        The Webcam tab's come as the browser sends them, past Gradio's own checks: what no component can be
        set to becomes the next value that it can.
        """
        pack, det_threshold, min_face, labels, blur, smoothing = values
        return cls(
            str(pack or ""),
            within(THRESHOLDS, det_threshold),
            within(SMALLEST, min_face),
            tuple(label for label in LABELS if label in labels),
            bool(blur),
            within(SMOOTHING, smoothing) / 100,
        )

    @property
    def draw(self) -> DrawOptions:
        """The part that concerns drawing."""
        return DrawOptions(labels=self.labels, blur=self.blur)

    @property
    def detect(self) -> dict[str, float]:
        """The part that concerns detection, as arguments of `FaceAnalyzer.analyze`."""
        return {"det_threshold": self.det_threshold, "min_face": self.min_face}

    def made(self, analyzer: FaceAnalyzer) -> dict[str, Any]:
        """Returns how an analyzer's answers come about, as arguments of `result_head`."""
        return {"pack": analyzer.pack.name, "pack_hash": analyzer.pack_hash, **self.detect}


def threshold_slider() -> gr.Slider:
    """Returns the control of the detection threshold."""
    return BoundedSlider(*THRESHOLDS, DET_THRESHOLD, step=0.05, label="Detection threshold", info=THRESHOLD_INFO)


def min_face_slider() -> gr.Slider:
    """Returns the control of the smallest face."""
    return BoundedSlider(*SMALLEST, 0, step=4, label="Smallest face", info=SMALLEST_INFO)


def settings_drawer(engine: Engine) -> list[gr.components.Component]:
    """Builds the settings that every tab shares, in the order of `Settings`."""
    return [
        gr.Dropdown(engine.named_choices(), value=engine.default, label="Model pack", info=PACK_INFO, elem_id="pack"),
        threshold_slider(),
        min_face_slider(),
        gr.CheckboxGroup(list(LABELS), value=list(LABELS), label="Labels", info=LABELS_INFO),
        gr.Checkbox(False, label="Blur faces", info=BLUR_INFO, elem_id="blur"),
        BoundedSlider(*SMOOTHING, 50, step=5, label="Smoothing", info=SMOOTHING_INFO),
    ]


def results_table(
    headers: list[str], widths: list[str], label: str, max_height: int, elem_id: str, **options: Any
) -> gr.Dataframe:
    """Returns a table to read and select from, with its columns' headings and widths."""
    return gr.Dataframe(
        headers=headers,
        column_widths=widths,
        label=label,
        max_height=max_height,
        elem_id=elem_id,
        interactive=False,
        wrap=True,
        **options,
    )


def request_number(request: Any) -> Any:
    """Returns the number that the page gave to a request, by which it knows the answer; None for none."""
    return request.get("request") if isinstance(request, dict) else None


def named_file(sent: Any) -> tuple[str, str]:
    """Reads what the page says of a file.

    Args:
        sent: An object with `name`, and `file`: what was uploaded, or None.

    Returns:
        The visitor's name for it, and its path, "" where it was not uploaded.

    Raises:
        KeyError, TypeError: If it is no such object.
    """
    file = sent["file"]
    return str(sent["name"])[:255], file["path"] if file else ""


def need(path: str | None, what: str) -> str:
    """Returns an uploaded file's path; raises MediaError where there is none."""
    if not path:
        raise MediaError(f"There is no {what} yet: upload one first.")
    return path
