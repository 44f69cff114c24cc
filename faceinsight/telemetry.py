"""Switches off what the libraries beneath would send home; imported before any of them.

The libraries read these variables while they are imported, ONNX Runtime in native code. They are set whatever they were
before: nothing is sent, and there is no switch to change that.
"""

import os

OFF = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime: a device id, sessions and models
    "GRADIO_ANALYTICS_ENABLED": "False",  # Gradio: starts of the page, and its check for a newer version
    "HF_HUB_DISABLE_TELEMETRY": "1",  # Hugging Face's client, which Gradio brings
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",  # the same
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray: clusters, their libraries and sizes
    "NO_ALBUMENTATIONS_UPDATE": "1",  # looks for a newer version of itself; insightface uses it where it is installed
    "DO_NOT_TRACK": "1",  # https://donottrack.sh: any other that heeds it
}

os.environ.update(OFF)
