"""Measures what the worst files do to a running server: its memory, and the wait of a visitor at the camera.

    python -m benchmarks.hostile

Each file is sent to /analyze_image or /analyze_video, then eight at once, while another visitor's camera sends ten
frames a second. Memory is that of the server and the processes that read files for it (proportional set size, so Linux
only). An answer may be a result or a sentence.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import secrets
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import insightface
import numpy as np
import requests
import skimage
from PIL import Image

from benchmarks.machine import machine
from tests.serving import App, served

AT_ONCE = 8
EVERY_S = 0.1


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def group() -> Image.Image:
    """Returns a photo of six people, 1280x886."""
    return Image.open(Path(insightface.__file__).parent / "data" / "images" / "t1.jpg").convert("RGB")


def many_scans() -> bytes:
    """Returns a progressive JPEG of 8,000 scans."""
    data = _encoded(group(), "jpeg", progressive=True, quality=20)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2][:14] * 8000 + data[last:]


def many_pages() -> bytes:
    """Returns a TIFF of 60,000 pages, which share one picture of a pixel."""
    page = 2 + 10 * 12 + 4
    data = bytearray(b"II*\0" + struct.pack("<I", 12) + b"\xff\xff\xff\0")
    for number in range(60_000):
        tags = ((256, 4, 1), (257, 4, 1), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1))
        tags += ((278, 4, 1), (279, 4, 1), (284, 3, 1))
        data += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, v) for tag, kind, v in tags)
        data += struct.pack("<I", 0 if number == 59_999 else 12 + (number + 1) * page)
    return bytes(data)


def growing_clip(path: Path, first: tuple[int, int], then: tuple[int, int]) -> None:
    """Writes a clip of Motion JPEG whose frames change their size."""
    photo = group()
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height = first
        stream.pix_fmt = "yuvj420p"
        for number, size in enumerate([first] * 5 + [then] * 20):
            packet = av.Packet(_encoded(photo.resize(size), "jpeg", quality=30))
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 10)
            container.mux(packet)


def files(folder: Path, only: str) -> dict[str, Path]:
    """Writes the worst pictures and clips that are known, those whose name holds `only`, by what they are."""
    large = group().resize((8000, 8000))
    half = large.resize((5600, 5600))
    sheer = half.copy()
    sheer.putalpha(200)
    crowd = Image.new("RGB", (4000, 4000))
    photo = Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB")
    face = photo.crop((130, 10, 330, 210)).resize((250, 250))
    for place in range(256):
        crowd.paste(face, (place % 16 * 250, place // 16 * 250))
    contents: dict[str, Callable[[], bytes]] = {
        "JPEG, 64 megapixels.jpg": lambda: _encoded(large, "jpeg", quality=90),
        "progressive JPEG, 64 megapixels.jpg": lambda: _encoded(large, "jpeg", progressive=True, subsampling=0),
        "PNG, 64 megapixels.png": lambda: _encoded(large, "png", compress_level=1),
        "WebP with transparency, 31 megapixels.webp": lambda: _encoded(sheer, "webp", method=0),
        "AVIF, 31 megapixels.avif": lambda: _encoded(half, "avif", speed=10),
        "TIFF of floating point, 64 megapixels.tif": lambda: _encoded(
            Image.fromarray(np.asarray(large.convert("L")).astype(np.float32)), "tiff"
        ),
        "JPEG of 8,000 scans.jpg": many_scans,
        "TIFF of 60,000 pages.tif": many_pages,
        "256 faces, 16 megapixels.jpg": lambda: _encoded(crowd, "jpeg", quality=90),
    }
    made = {}
    for name, make in contents.items():
        if only not in name:
            continue
        made[name] = folder / name
        made[name].write_bytes(make())
    clips = {
        "clip from 320x240 to 12000x12000.mkv": ((320, 240), (12_000, 12_000)),
        "clip of 3840x2160.mkv": ((3840, 2160), (3840, 2160)),
    }
    for name, sizes in clips.items():
        if only not in name:
            continue
        made[name] = folder / name
        growing_clip(made[name], *sizes)
    return made


class Camera(threading.Thread):
    """A visitor at the camera; `longest_s` is the longest wait for an answer."""

    def __init__(self, app: App) -> None:
        """Opens the page."""
        super().__init__(daemon=True)
        self._url = app.url
        self._page = requests.Session()
        self._page.get(app.url, timeout=60)
        config = self._page.get(f"{app.url}/config", timeout=60).json()
        self._id = next(c["id"] for c in config["components"] if "live_frame" in c["props"].get("server_fns", ()))
        self._session = secrets.token_hex(8)
        # As the page does: it listens for as long as it is open.
        self._heart = self._page.get(f"{app.url}/gradio_api/heartbeat/{self._session}", stream=True, timeout=60)
        self._picture = base64.b64encode(_encoded(group().resize((640, 480)), "jpeg")).decode()
        self._left = threading.Event()
        self.longest_s = 0.0
        self.waits: list[float] = []

    def send(self) -> dict[str, Any]:
        """Sends a frame and returns the answer."""
        settings = ["", 0.5, 0, ["Number", "Age", "Gender", "Emotion"], False, 50]
        data = {"picture": self._picture, "time": time.monotonic(), "settings": settings, "record": 0}
        body = {"session_hash": self._session, "component_id": self._id, "fn_name": "live_frame", "data": data}
        answer: dict[str, Any] = self._page.post(
            f"{self._url}/gradio_api/component_server/", json=body, timeout=120
        ).json()
        return answer

    def run(self) -> None:
        """Sends frames until it leaves."""
        while not self._left.is_set():
            began = time.perf_counter()
            answer = self.send()
            if "faces" not in answer:
                raise RuntimeError(f"the camera was refused: {answer}")
            took = time.perf_counter() - began
            self.waits.append(took)
            self.longest_s = max(self.longest_s, took)
            time.sleep(max(EVERY_S - took, 0))

    def stop(self) -> None:
        """Leaves."""
        self._left.set()
        self.join()
        self._heart.close()


def memory_mb(pid: int) -> float:
    """Returns the megabytes of a process and of those that it started."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total = int(line.split()[1]) // 1024
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        children += [c for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    except OSError:
        return total
    return total + sum(memory_mb(int(child)) for child in set(children))


@contextmanager
def peak_of(pid: int) -> Iterator[list[float]]:
    """Gives a list whose only value becomes the most megabytes within the block."""
    peak, done = [0.0], threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            peak[0] = max(peak[0], memory_mb(pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def send(app: App, path: Path) -> str:
    """Has a file analysed; returns what came of it."""
    # No client library: what it does in this process would be counted as a wait of the camera.
    api = f"{app.url}/gradio_api"
    what = "video" if path.suffix == ".mkv" else "image"
    rest = [0, 0, 0, 0.5, 0, ""] if what == "video" else [0.5, 0, ""]
    with path.open("rb") as file:
        uploaded = requests.post(f"{api}/upload", files={"files": (path.name, file)}, timeout=300)
    if not uploaded.ok:
        return f"not taken: {uploaded.text[:100]}"
    (place,) = uploaded.json()
    source = {"path": place, "meta": {"_type": "gradio.FileData"}}
    data = {"data": [source, *rest]}
    event = requests.post(f"{api}/call/analyze_{what}", json=data, timeout=300).json()["event_id"]
    text = requests.get(f"{api}/call/analyze_{what}/{event}", timeout=600).text
    kind, _, content = text.strip().split("\n\n")[-1].partition("\n")
    answer = json.loads(content.removeprefix("data: "))
    if kind != "event: complete":
        return str(answer.get("error") if isinstance(answer, dict) else answer)[:100]
    return f"{len(answer[0]['faces'])} faces" if what == "image" else f"{answer[0]['frames']} frames"


def measure(app: App, name: str, paths: list[Path]) -> dict[str, Any]:
    """Sends files at once beside a visitor's camera."""
    camera = Camera(app)
    camera.send()
    camera.start()
    time.sleep(1)
    calm = max(camera.waits)
    camera.longest_s = 0.0
    began = time.perf_counter()
    with peak_of(app.process.pid) as peak, ThreadPoolExecutor(len(paths)) as pool:
        answers = list(pool.map(lambda path: send(app, path), paths))
    took = time.perf_counter() - began
    camera.stop()
    return {
        "file": name,
        "peak_mb": round(peak[0]),
        "longest_wait_s": round(camera.longest_s, 2),
        "calm_wait_s": round(calm, 2),
        "took_s": round(took, 1),
        "answers": sorted(set(answers)),
    }


def main() -> None:
    """Prints a line a file, and one for eight at once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="files whose name holds this")
    parser.add_argument("--out", type=Path, help="write the figures to this file as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        made = files(Path(name), args.only)
        (Path(name) / "app").mkdir()
        # Room enough that the files are worked on, not refused.
        with served(Path(name) / "app", FACEINSIGHT_VISITOR_MB="8000") as app:
            rows = [{"file": "nothing yet", "peak_mb": round(memory_mb(app.process.pid))}]
            print(rows[0], flush=True)
            jobs = [(Path(k).stem, [path]) for k, path in made.items()]
            jobs += [(f"{Path(k).stem}, {AT_ONCE} at once", [path] * AT_ONCE) for k, path in made.items()]
            jobs += [("all of them at once", list(made.values()))]
            for job, paths in jobs:
                rows.append(measure(app, job, paths))
                print(rows[-1], flush=True)
    if args.out:
        args.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
