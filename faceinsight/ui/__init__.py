"""The Gradio page."""

from faceinsight.ui.demo import build_demo
from faceinsight.ui.engine import Engine
from faceinsight.ui.launch import LaunchOptions, launch

__all__ = ["Engine", "LaunchOptions", "build_demo", "launch"]
