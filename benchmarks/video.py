"""Measures `faceinsight analyze CLIP --rate 10 --out` beside a plain transcode of the same clip, in one run.

    python -m benchmarks.video --out benchmarks/results/video.md
    python -m benchmarks.video --short      # a fifth of the length, to try a change

The transcode is what PyAV does in a loop: the same encoder settings, sound copied. The clips show one to five people
before a camera in a hand, with cuts and a sensor's noise. Every run is a process of its own, with all it has to load.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import insightface
import numpy as np
import numpy.typing as npt
import skimage

from benchmarks.machine import Run, keep, machine, run
from faceinsight import load_image
from faceinsight.media.writer import CODEC, OPTIONS
from faceinsight.writing import write_file

Frame = npt.NDArray[np.uint8]

FPS, SOUND_RATE, SHOT_S = 30, 48_000, 2.5
T1 = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"
ASTRONAUT = Path(skimage.__file__).parent / "data" / "astronaut.png"
# Picture, middle and width of what the camera sees: one, two, three and five people.
SHOTS = ((ASTRONAUT, 240, 140, 400), (T1, 416, 281, 470), (T1, 985, 265, 780), (T1, 740, 290, 1080))


def filmed(seconds: float, size: tuple[int, int]) -> Iterator[Frame]:
    """Yields frames (H, W, 3) RGB."""
    pictures = {path: load_image(path).pixels for path in (T1, ASTRONAUT)}
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 2, (size[1] + 64, size[0] + 64, 3)).astype(np.int16)
    for number in range(round(seconds * FPS)):
        now = number / FPS
        path, x, y, width = SHOTS[int(now // SHOT_S) % len(SHOTS)]
        sway = width / 40
        scale = size[0] / (width * (1 + 0.06 * np.sin(0.9 * now)))
        middle = x + sway * np.sin(2.1 * now), y + sway * np.sin(1.3 * now)
        matrix = np.array([[scale, 0, size[0] / 2 - scale * middle[0]], [0, scale, size[1] / 2 - scale * middle[1]]])
        seen = cv2.warpAffine(pictures[path], matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        dx, dy = rng.integers(0, 64, 2)
        yield np.asarray(cv2.add(seen, noise[dy : dy + size[1], dx : dx + size[0]], dtype=cv2.CV_8U), np.uint8)


def write_clip(path: Path, seconds: float, size: tuple[int, int]) -> None:
    """Writes a clip with sound."""
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.options = {"preset": "superfast", "crf": "20"}
        sound: Any = container.add_stream("aac", rate=SOUND_RATE)
        sound.layout = "stereo"
        for number, picture in enumerate(filmed(seconds, size)):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            if number % FPS == 0:
                wave = 0.2 * np.sin(2 * np.pi * 440 * np.arange(SOUND_RATE) / SOUND_RATE)
                piece = av.AudioFrame.from_ndarray(np.stack([wave, wave]).astype(np.float32), "fltp", "stereo")
                piece.sample_rate, piece.pts = SOUND_RATE, number // FPS * SOUND_RATE
                piece.time_base = Fraction(1, SOUND_RATE)
                container.mux(sound.encode(piece))
        container.mux(video.encode())
        container.mux(sound.encode())


def repeat(source: Path, path: Path, times: int, seconds: float) -> None:
    """Writes a clip that shows another one several times, packet by packet."""
    with av.open(str(path), "w") as out:
        streams: list[Any] = []
        last: dict[int, int] = {}
        for turn in range(times):
            with av.open(str(source)) as container:
                streams = streams or [out.add_stream_from_template(stream) for stream in container.streams]
                for packet in container.demux():
                    if packet.dts is None or packet.pts is None or packet.time_base is None:
                        continue
                    index = packet.stream.index
                    later = round(turn * seconds / packet.time_base)
                    packet.pts, packet.dts = packet.pts + later, packet.dts + later
                    if packet.dts > last.get(index, -(2**60)):
                        last[index] = packet.dts
                        packet.stream = streams[index]
                        out.mux(packet)


def transcode(source: Path, path: Path) -> None:
    """Decodes and encodes a clip, and copies its sound."""
    with av.open(str(source)) as container, av.open(str(path), "w", options={"movflags": "+faststart"}) as out:
        video: Any = container.streams.video[0]
        video.thread_type = "AUTO"
        stream: Any = out.add_stream(CODEC, rate=video.average_rate)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90_000)
        stream.options = dict(OPTIONS)
        sound = container.streams.audio[0]
        copied = out.add_stream_from_template(sound)
        for packet in container.demux(video, sound):
            if packet.stream is video:
                for frame in packet.decode():
                    out.mux(stream.encode(frame))
            elif packet.dts is not None:
                packet.stream = copied
                out.mux(packet)
        out.mux(stream.encode())


def analyse(clip: Path, out: Path) -> Run:
    """Runs the command."""
    return run(["faceinsight", "analyze", clip, "--rate", "10", "--out", out, "--overwrite"])


def drift(folder: Path) -> float:
    """Returns how far sound and picture are apart, in frames, at the end of a clip of a changing rate."""
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.choice([0.016, 0.033, 0.05, 0.12], 1200)).round(3)
    times -= times[0]
    flash = len(times) - 20
    clip = folder / "changing.mkv"
    with av.open(str(clip), "w") as container:
        video: Any = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = 640, 360, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        sound: Any = container.add_stream("aac", rate=SOUND_RATE)
        sound.layout = "mono"
        for number, at in enumerate(times):
            light = np.full((360, 640, 3), 230 if number == flash else 40, np.uint8)
            frame = av.VideoFrame.from_ndarray(light, format="rgb24")
            frame.pts, frame.time_base = round(at * 1000), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        wave = np.zeros((1, round((times[-1] + 0.5) * SOUND_RATE)), np.float32)
        begin = round(times[flash] * SOUND_RATE)
        wave[0, begin : begin + 4800] = 0.4 * np.sin(2 * np.pi * 440 * np.arange(4800) / SOUND_RATE)
        for first in range(0, wave.shape[1], 1024):
            piece = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[:, first : first + 1024]), "fltp", "mono")
            piece.sample_rate, piece.pts, piece.time_base = SOUND_RATE, first, Fraction(1, SOUND_RATE)
            container.mux(sound.encode(piece))
        container.mux(sound.encode())
    analyse(clip, folder / "drift")
    with av.open(str(folder / "drift" / "changing-faces.mp4")) as container:
        bright = [f.time for f in container.decode(video=0) if f.to_ndarray(format="gray").mean() > 150]
    with av.open(str(folder / "drift" / "changing-faces.mp4")) as container:
        heard = [(piece.time or 0.0, piece.to_ndarray()[0]) for piece in container.decode(audio=0)]
    began = next(at + np.argmax(np.abs(one) > 0.1) / SOUND_RATE for at, one in heard if np.abs(one).max() > 0.1)
    return float(abs(began - bright[0]) / np.median(np.diff(times)))


def measure(folder: Path, part: float) -> list[dict[str, Any]]:
    """Returns the rows of the table."""
    large, minute, long, short = (folder / f"{name}.mp4" for name in ("hd", "minute", "long", "short"))
    seconds = 60 * part
    write_clip(large, seconds, (1920, 1080))
    write_clip(minute, seconds, (640, 360))
    write_clip(short, 10, (640, 360))
    repeat(minute, long, 10, seconds)
    rows = []
    for name, clip, length in (("1920x1080", large, seconds), ("640x360", long, 10 * seconds)):
        plain = run(["benchmarks.video", "--transcode", clip, folder / "plain.mp4"])
        ours = analyse(clip, folder / "results")
        rows.append({"clip": f"{name}, {length:g} s", "length": length, "plain": asdict(plain), "ours": asdict(ours)})
        print(rows[-1], flush=True)
    little = analyse(short, folder / "results")
    rows.append({"clip": "640x360, 10 s", "length": 10, "plain": None, "ours": asdict(little)})
    rows.append({"clip": "drift", "frames": drift(folder)})
    print(*rows[2:], sep="\n", flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as Markdown."""
    lines = [
        "| clip | transcode s | analyze s | ratio | CPU s, transcode | CPU s, analyze | times real time | peak MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows[:3]:
        plain, ours = row["plain"], row["ours"]
        ratio = f"{ours['wall'] / plain['wall']:.2f}" if plain else "-"
        first = f"{plain['wall']:.1f}" if plain else "-"
        cpu = f"{plain['cpu']:.1f}" if plain else "-"
        lines.append(
            f"| {row['clip']} | {first} | {ours['wall']:.1f} | {ratio} | {cpu} | {ours['cpu']:.1f} | "
            f"{row['length'] / ours['wall']:.1f} | {ours['memory']:.0f} |"
        )
    memory = rows[1]["ours"]["memory"] / rows[2]["ours"]["memory"]
    lines += [
        "",
        f"Peak memory of the long clip against that of ten seconds: {memory:.2f}.",
        f"Sound and picture at the end of a clip of a changing rate: {rows[3]['frames']:.2f} frames apart.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Makes the clips, measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a fifth of the length")
    parser.add_argument("--out", type=Path, help="write the table to this file, and a JSON file beside it")
    parser.add_argument("--transcode", nargs=2, type=Path, metavar="FILE", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.transcode:
        transcode(*args.transcode)
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), 0.2 if args.short else 1.0)
    text = f"{machine()}\n\n{table(rows)}"
    print(f"\n{text}")
    if args.out:
        keep(args.out, f"{text}\n")
        content = {"machine": machine(), "rows": rows}
        write_file(args.out.with_suffix(".json"), f"{json.dumps(content, indent=1)}\n".encode())


if __name__ == "__main__":
    main()
