"""Gradio components that differ in what they take from or give to the page."""

from __future__ import annotations

from abc import ABCMeta
from typing import Any

import gradio as gr
from gradio.component_meta import ComponentMeta
from gradio.data_classes import ImageData


def within(ends: tuple[float, float], value: Any) -> float:
    """Returns the number between two ends that is nearest to a value; the least for what is no number."""
    least, most = ends
    try:
        number = float(value)
    except (TypeError, ValueError):
        return least
    # In this order, NaN counts as the least.
    return min(most, max(least, number))


class _PlainMeta(ComponentMeta):
    """Makes component classes without writing a .pyi file beside their source, as Gradio would."""

    def __new__(cls, name: str, bases: tuple[type, ...], attributes: dict[str, Any]) -> Any:
        return ABCMeta.__new__(cls, name, bases, attributes)


class UploadedImage(gr.Image, metaclass=_PlainMeta):
    """An image input that hands over the uploaded file's path, undecoded.

    Gradio would decode it with Pillow: unbounded, without HEIC, and with a traceback for what is
    no image. `load_image` does better.
    """

    is_template = True  # in the page it is its base class

    def preprocess(self, payload: ImageData | None) -> str | None:
        """Returns the path of the uploaded file; None where there is none."""
        if payload is None:
            return None
        if payload.path is None:
            raise gr.Error("The image has no content: upload a file.", print_exception=False)
        return str(payload.path)


class BoundedSlider(gr.Slider, metaclass=_PlainMeta):
    """A slider that takes a typed value beyond its ends for the end, where Gradio would refuse the whole event."""

    is_template = True

    def preprocess(self, payload: float) -> float:
        """Returns the value that the slider can have which is nearest to a sent one."""
        return within((self.minimum, self.maximum), payload)
