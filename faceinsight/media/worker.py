"""Reads files that strangers send in a process of its own, which may be ended at any moment.

A job comes as a line of JSON on standard input. Its answers go to standard output: the length of what follows in four
bytes, JSON, and the bytes of the array that it announces. The first answer says how many pixels there are to decode;
then the process waits for a line that says how many megabytes it may take.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from faceinsight.errors import DamagedMediaError, MediaError
from faceinsight.media.image import decode_image, opened_image
from faceinsight.media.sound import read_sound
from faceinsight.media.source import reason
from faceinsight.media.video import VideoLimits, first_look, read_frames, read_size

Answer = tuple[dict[str, Any], npt.NDArray[Any] | None]

# Whoever uses the camera goes first.
_NICE = 5
# Should the process that waits for an answer be gone, nobody else ends this one.
_ALONE_S = 150
# How long a processor may be busy with one picture, or one frame of a clip.
_BUSY_S = 30


def _image(path: str, name: str, largest: int, enough: int) -> Iterator[Answer]:
    with opened_image(path, name) as image:
        yield {"pixels": image.width * image.height, "format": image.format}, None
        loaded = decode_image(image, name, largest, enough)
    yield {"note": loaded.note, "size": loaded.size}, loaded.pixels


def _probe(path: str, name: str, limits: list[Any]) -> Iterator[Answer]:
    kept = VideoLimits(*limits)
    yield {"pixels": read_size(path, name, kept)}, None
    info, pixels = first_look(path, name, kept)
    yield {"info": astuple(info)}, pixels


def _frames(path: str, start: float, end: float | None, name: str, limits: list[Any]) -> Iterator[Answer]:
    kept = VideoLimits(*limits)
    yield {"pixels": read_size(path, name, kept)}, None
    for frame in read_frames(path, start, end, name, kept):
        image = frame.image
        yield {"time": frame.time, "size": (image.width, image.height), "colors": astuple(image.colors)}, image.data


def _sound(path: str, start: float, name: str) -> Iterator[Answer]:
    yield {"pixels": 0}, None
    for piece in read_sound(path, start):
        yield {"time": piece.time}, piece.samples


_JOBS: dict[str, Callable[..., Iterator[Answer]]] = {
    "image": _image,
    "probe": _probe,
    "frames": _frames,
    "sound": _sound,
}


def _send(out: BinaryIO, head: dict[str, Any], array: npt.NDArray[Any] | None = None) -> None:
    if array is None:
        array = np.empty(0, np.uint8)
    text = json.dumps(head | {"shape": array.shape, "dtype": array.dtype.str}).encode()
    parts: list[Any] = [len(text).to_bytes(4), text, np.ascontiguousarray(array).reshape(-1).view(np.uint8)]
    for part in parts:
        rest = memoryview(part)
        while rest:
            rest = rest[out.write(rest) :]


def _allow(megabytes: float) -> None:
    """Lets this process take so much more memory than it has, where the system knows such a limit."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + int(megabytes * 2**20)
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _alarm(seconds: int) -> None:
    """Has the system end this process after so many seconds, or earlier where it is busy all the time; 0 for not."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + _BUSY_S, hard))


def _serve(job: dict[str, Any], out: BinaryIO) -> None:
    _allow(job.pop("megabytes"))
    _alarm(_ALONE_S)
    for number, (head, array) in enumerate(_JOBS[job.pop("job")](**job)):
        _alarm(0)
        _send(out, head, array)
        if number == 0:
            _allow(json.loads(sys.stdin.buffer.readline() or "0"))
        _alarm(_ALONE_S)
    _alarm(0)
    _send(out, {"end": True})


def _widen(out: BinaryIO) -> None:
    """Lets a picture through the pipe in few steps, where the system can do so."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, 1 << 20)


def _harden() -> None:
    """Gives up what reading files does not need."""
    with suppress(AttributeError, OSError):
        os.nice(_NICE)
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # It writes to no file.
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def main() -> None:
    """Serves jobs until standard input ends."""
    # What libraries print is no answer.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    _widen(out)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # The terminal's Ctrl+C is for the server; with its end, standard input ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _harden()
    while line := sys.stdin.buffer.readline():
        try:
            _serve(json.loads(line), out)
        except BrokenPipeError:
            return
        except Exception as error:
            _alarm(0)
            known = isinstance(error, MediaError)
            text = str(error) if known else f"A file cannot be read ({reason(error)}): choose another copy of it."
            # After one of these nobody knows what this process is still good for.
            last = not known or isinstance(error.__cause__, MemoryError)
            _send(out, {"error": text, "damaged": isinstance(error, DamagedMediaError), "last": last})
            if last:
                return


if __name__ == "__main__":
    main()
