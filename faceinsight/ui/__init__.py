"""The Gradio page."""

import os

# Read by Gradio while it is imported: it would sum up all events after each one, for a dashboard that is off.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")

from faceinsight.ui.demo import build_demo
from faceinsight.ui.engine import Engine
from faceinsight.ui.launch import LaunchOptions, launch

__all__ = ["Engine", "LaunchOptions", "build_demo", "launch"]
