"""FaceInsight: where every face is, and its apparent age, gender and emotion.

Example:
    >>> from faceinsight import FaceAnalyzer, load_image
    >>> analysis = FaceAnalyzer().analyze(load_image("photo.jpg").pixels)
"""

# First, as what is imported below reads it.
import faceinsight.telemetry  # noqa: F401

# isort: split
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from faceinsight.analyzer import FaceAnalyzer
    from faceinsight.clips import ClipAnalysis, ClipOptions, ClipProgress, analyze_clip, iter_clip
    from faceinsight.drawing import DrawOptions, draw
    from faceinsight.errors import (
        DamagedMediaError,
        FaceInsightError,
        FetchError,
        MediaError,
        ModelFileError,
        PackError,
        ProviderError,
    )
    from faceinsight.export import analysis_dict, rows_of, to_csv, to_json
    from faceinsight.media.image import LoadedImage, load_image
    from faceinsight.people import Moment, Person, people_of
    from faceinsight.results import Classification, Face, FrameAnalysis
    from faceinsight.stream import FaceStream
    from faceinsight.tracking import Track, Tracker, TrackState

__all__ = [
    "Classification",
    "ClipAnalysis",
    "ClipOptions",
    "ClipProgress",
    "DamagedMediaError",
    "DrawOptions",
    "Face",
    "FaceAnalyzer",
    "FaceInsightError",
    "FaceStream",
    "FetchError",
    "FrameAnalysis",
    "LoadedImage",
    "MediaError",
    "ModelFileError",
    "Moment",
    "PackError",
    "Person",
    "ProviderError",
    "Track",
    "TrackState",
    "Tracker",
    "analysis_dict",
    "analyze_clip",
    "draw",
    "iter_clip",
    "load_image",
    "people_of",
    "rows_of",
    "to_csv",
    "to_json",
]

# Imported when they are asked for: what needs no models, as `faceinsight --help`, does not wait for their libraries.
_HOMES = {
    "analyzer": ("FaceAnalyzer",),
    "clips": (
        "ClipAnalysis",
        "ClipOptions",
        "ClipProgress",
        "analyze_clip",
        "iter_clip",
    ),
    "drawing": (
        "DrawOptions",
        "draw",
    ),
    "errors": (
        "DamagedMediaError",
        "FaceInsightError",
        "FetchError",
        "MediaError",
        "ModelFileError",
        "PackError",
        "ProviderError",
    ),
    "export": (
        "analysis_dict",
        "rows_of",
        "to_csv",
        "to_json",
    ),
    "media.image": (
        "LoadedImage",
        "load_image",
    ),
    "people": (
        "Moment",
        "Person",
        "people_of",
    ),
    "results": (
        "Classification",
        "Face",
        "FrameAnalysis",
    ),
    "stream": ("FaceStream",),
    "tracking": (
        "Track",
        "Tracker",
        "TrackState",
    ),
}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Imports a public name from its module."""
        for home, names in _HOMES.items():
            if name in names:
                globals()[name] = getattr(import_module(f"faceinsight.{home}"), name)
                return globals()[name]
        raise AttributeError(f"module 'faceinsight' has no attribute '{name}'")
