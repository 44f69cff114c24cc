"""The Gradio page."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Read by Gradio while it is imported: it would sum up all events after each one, for a dashboard that is off.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")

if TYPE_CHECKING:
    from faceinsight.ui.demo import build_demo
    from faceinsight.ui.engine import Engine
    from faceinsight.ui.launching import LaunchOptions, launch

__all__ = ["Engine", "LaunchOptions", "build_demo", "launch"]

_WHERE = {"Engine": "engine", "LaunchOptions": "launching", "build_demo": "demo", "launch": "launching"}


def __getattr__(name: str) -> Any:
    """Imports what is asked for: Gradio takes seconds and 250 MB, and what stands before several workers none of it."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"faceinsight.ui.{_WHERE[name]}"), name)
