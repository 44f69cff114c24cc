"""Opens video files that strangers send: the formats that are known to hold all they show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import av

from faceinsight.errors import MediaError
from faceinsight.media.source import open_file

# MP4 and MOV, MKV and WebM, AVI, MPEG, Ogg, FLV, WMV: none of them is a list of other files.
DEMUXERS = "mov,matroska,avi,mpeg,mpegts,ogg,flv,asf"
# A MOV may say that its pictures lie in another file, and what is opened might open more: neither is done.
_OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "", "enable_drefs": "0", "use_absolute_path": "0"}

# Where a file's times go back by more, another recording begins: it was put together of several.
RESTART_S = 0.5


def _refuse(url: str, *_: object) -> NoReturn:
    raise PermissionError(f"a video may not open {url}")


@contextmanager
def opened_container(path: Path, label: str) -> Iterator[Any]:
    """Opens a video file.

    Args:
        path: The file.
        label: What to call it in messages.

    Yields:
        The PyAV container.

    Raises:
        MediaError: If the file cannot be read, or is none of the formats.
    """
    with open_file(path, label) as file:
        try:
            # By its content alone: neither its name nor what it names is opened.
            # The file itself, as no code of Python's is to run within FFmpeg: what a signal raises would be lost there.
            container = av.open(
                file, "r", container_options=_OPTIONS, metadata_errors="replace", io_open=_refuse, buffer_size=1 << 17
            )
        except Exception as error:
            raise unreadable(label) from error
        with container:
            yield container


def unreadable(label: str) -> MediaError:
    """Returns the error for what is no video at all."""
    return MediaError(
        f"{label} is not a video that can be read, or it is cut short: choose an MP4, MOV, WebM or MKV file."
    )
