"""Makes small real clips: H.264 with or without sound, rotated, silent, cut short."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.toy_models import toy_picture


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


def turn_clip(path: Path) -> Path:
    """Marks an MP4 as filmed upright with a phone held sideways: to be shown turned clockwise."""
    data = bytearray(path.read_bytes())
    box = data.index(b"tkhd")
    # In a version 0 track header the matrix follows 40 bytes after the box's name.
    quarter = [0, 0x10000, 0, -0x10000, 0, 0, 480 << 16, 0, 0x40000000]
    for n, value in enumerate(quarter):
        data[box + 44 + 4 * n : box + 48 + 4 * n] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    return path
