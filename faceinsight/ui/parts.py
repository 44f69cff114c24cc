"""Components that several tabs share."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np
import numpy.typing as npt
from gradio.data_classes import ImageData

from faceinsight.analyzer import DET_THRESHOLD
from faceinsight.drawing import LABELS, DrawOptions
from faceinsight.errors import MediaError
from faceinsight.media.image import encode_image
from faceinsight.ui.engine import Engine

STREAM_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Settings:
    """What a visitor chose in the side panel, in the order of its components."""

    pack: str
    det_threshold: float
    min_face: float
    labels: tuple[str, ...]
    blur: bool

    @classmethod
    def of(cls, values: tuple[Any, ...]) -> Settings:
        """Makes settings of the values of the side panel's components."""
        pack, det_threshold, min_face, labels, blur = values
        return cls(pack, float(det_threshold), float(min_face), tuple(labels), bool(blur))

    @property
    def draw(self) -> DrawOptions:
        """The part that concerns drawing."""
        return DrawOptions(labels=self.labels, blur=self.blur)

    @property
    def detect(self) -> dict[str, float]:
        """The part that concerns detection, as arguments of `FaceAnalyzer.analyze`."""
        return {"det_threshold": self.det_threshold, "min_face": self.min_face}


def threshold_slider() -> gr.Slider:
    """Returns the control of the detection threshold."""
    return gr.Slider(
        0.1,
        0.95,
        DET_THRESHOLD,
        step=0.05,
        label="Detection threshold",
        info="Higher: fewer, surer faces.",
    )


def min_face_slider() -> gr.Slider:
    """Returns the control of the smallest face."""
    return gr.Slider(
        0, 400, 0, step=4, label="Smallest face", info="Longest side in pixels; 0 for all."
    )


def side_panel(engine: Engine) -> list[gr.components.Component]:
    """Builds the settings that every tab shares, in the order of `Settings`."""
    return [
        gr.Dropdown(
            engine.named_choices(), value=engine.default, label="Model pack", elem_id="pack"
        ),
        threshold_slider(),
        min_face_slider(),
        gr.CheckboxGroup(list(LABELS), value=list(LABELS), label="Labels"),
        gr.Checkbox(False, label="Blur faces", elem_id="blur"),
    ]


def upload_image(**options: Any) -> gr.Image:
    """Returns an image input that hands over the uploaded file's path, undecoded.

    Gradio would decode it with Pillow: unbounded, without HEIC, and with a traceback for what is
    no image. `load_image` does better.
    """
    component = gr.Image(type="filepath", image_mode=None, **options)

    def preprocess(payload: ImageData | None) -> str | None:
        if payload is not None and payload.path is None:
            raise gr.Error("The image has no content: upload a file.", print_exception=False)
        return None if payload is None else payload.path

    component.preprocess = preprocess
    return component


def live_image(**options: Any) -> gr.Image:
    """Returns an image output that goes to the page as a JPEG in a data URL.

    Gradio would write every frame to disk: slower, and a face on a disk.
    """
    component = gr.Image(interactive=False, **options)

    def postprocess(value: npt.NDArray[np.uint8] | None) -> ImageData | None:
        if value is None:
            return None
        content = base64.b64encode(encode_image(value, quality=STREAM_QUALITY)).decode()
        return ImageData(url=f"data:image/jpeg;base64,{content}", orig_name="frame.jpg")

    component.postprocess = postprocess
    return component


def need(path: str | None, what: str) -> str:
    """Returns an uploaded file's path; raises MediaError where there is none."""
    if not path:
        raise MediaError(f"There is no {what} yet: upload one first.")
    return path
