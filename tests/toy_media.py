"""Makes small real clips: H.264 with or without sound, rotated, silent, cut short."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.toy_models import toy_picture

# How a camera was held, by EXIF's number, as clips say it: what is stored at (x, y) is shown at (a x + c y, b x + d y).
HELD = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}


def toy_frames(count: int) -> list[np.ndarray]:
    """Returns 640x480 frames in which a toy face moves one grid cell to the right each frame."""
    return [toy_picture({(n % 18 + 1, 5): (255, 200, 255)}) for n in range(count)]


def tone(time: np.ndarray) -> np.ndarray:
    """A tone of 440 Hz."""
    return 0.3 * np.sin(2 * np.pi * 440 * time)


def write_clip(
    path: Path, frames: list[np.ndarray], fps: int = 10, sound: bool | Callable = False, codec: str = "libx264"
) -> Path:
    """Writes frames as an MP4 whose index lies at the front, silent, with a tone, or with a function of time."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream(codec, rate=fps)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        video.options = {"crf": "12", "g": "5", "preset": "ultrafast" if codec == "libx265" else "superfast"}
        if codec == "libx265":
            video.options |= {"x265-params": "log-level=error"}
        if sound:
            audio = container.add_stream("aac", rate=16000)
            audio.layout = "mono"
        for picture in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        if sound:
            write_sound(container, audio, len(frames) / fps, tone if sound is True else sound)
    return path


def write_sound(
    container: av.container.OutputContainer, stream: av.AudioStream, seconds: float, sound: Callable = tone
) -> None:
    """Encodes a function of time."""
    samples = sound(np.arange(int(seconds * 16000)) / 16000).astype(np.float32)
    for start in range(0, len(samples), 1024):
        chunk = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], "fltp", "mono")
        chunk.sample_rate, chunk.pts, chunk.time_base = 16000, start, Fraction(1, 16000)
        container.mux(stream.encode(chunk))
    container.mux(stream.encode())


def write_tone(path: Path) -> Path:
    """Writes an MP4 that holds sound and no video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        write_sound(container, stream, 1.0)
    return path


def turn_clip(path: Path, held: int = 6) -> Path:
    """Marks an MP4 as filmed with a camera held so, by EXIF's number: 6 is to be shown turned clockwise."""
    a, b, c, d = HELD[held]
    with av.open(str(path)) as container:
        width, height = container.streams.video[0].width, container.streams.video[0].height
    # What would lie to the left of the picture, or above it, is moved into it.
    x, y = width * (a < 0) + height * (c < 0), width * (b < 0) + height * (d < 0)
    matrix = [a << 16, b << 16, 0, c << 16, d << 16, 0, x << 16, y << 16, 1 << 30]
    data = bytearray(path.read_bytes())
    # In a version 0 track header the matrix follows 40 bytes after the box's name.
    start = data.index(b"tkhd") + 44
    data[start : start + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
    return path


def as_stored(picture: np.ndarray, held: int) -> np.ndarray:
    """Returns what a camera held so stores of a picture, (H, W, 3)."""
    a, b, c, d = HELD[held]
    picture = picture[:: d or b, :: a or c]
    return np.ascontiguousarray(picture.swapaxes(0, 1) if held >= 5 else picture)
