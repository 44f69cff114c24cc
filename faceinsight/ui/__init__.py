"""The Gradio page. Importing it turns off the telemetry of Gradio and Hugging Face."""

import os

# Read by the libraries while they are imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")

from faceinsight.ui.demo import build_demo
from faceinsight.ui.engine import Engine
from faceinsight.ui.launch import LaunchOptions, launch

__all__ = ["Engine", "LaunchOptions", "build_demo", "launch"]
