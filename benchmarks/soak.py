"""A class of visitors at webcam, image and video together, over HTTP, for as long as is wanted.

    python -m benchmarks.soak                                # 30 visitors for 20 minutes: what `make soak` runs
    python -m benchmarks.soak --visitors 8 --seconds 40 --no-jobs --workers 2    # by several processes

Each visitor does what the page does: opens it, takes its cookie, keeps its heartbeat open, and sends frames of a
camera, one when the answer to the last one has come and at most 30 a second. Beside that, each gives the Image tab a
photo every minute and a half, and every third one the Video tab a clip every three. Everybody has a place at the camera
(FACEINSIGHT_PLACES).

Read off the server's processes every five seconds: memory (PSS), threads, open files and sockets. It fails where there
was an error, where somebody had no turn, where anything grew, or where a visitor had less than a frame a second.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import io
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import skimage
from PIL import Image

from benchmarks.machine import keep, machine
from tests.browser.screenshots import moving_views
from tests.serving import App, served
from tests.toy_media import write_clip
from tests.visits import FILE, META, Browser, events_with, sent

FRAMES = 60
CAMERA_FPS = 30
EVERY_S = 5.0
PHOTO_EVERY_S, CLIP_EVERY_S, CLIPS_OF = 90.0, 180.0, 3
CLIP_S, CLIP_FPS = 3, 15
# Nobody waits longer than this for an answer to a frame.
PATIENCE_S = 30.0
# A turn is had by whoever is never longer than this without an answer.
LONGEST_S = 10.0
LEAST_FPS = 1.0


@dataclass
class Tally:
    """What became of one visitor's requests."""

    answers: list[tuple[float, float]] = field(default_factory=list)
    photos: list[float] = field(default_factory=list)
    clips: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    faces: int = 0


@dataclass(frozen=True)
class Material:
    """What visitors send."""

    frames: list[str]
    photo: Path
    clip: Path

    @classmethod
    def make(cls, folder: Path) -> Material:
        """Makes views of a face that drift, as a photo, a clip and a camera's frames."""
        picture = Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB")
        views = moving_views(picture, FRAMES)
        frames = []
        for view in views:
            packed = io.BytesIO()
            Image.fromarray(view).save(packed, "JPEG", quality=80)
            frames.append(base64.b64encode(packed.getvalue()).decode())
        photo = folder / "photo.jpg"
        Image.fromarray(views[0]).save(photo, quality=90)
        clip = write_clip(folder / "clip.mp4", views[: CLIP_S * CLIP_FPS], fps=CLIP_FPS, sound=True)
        return cls(frames, photo, clip)


class Visit:
    """One visitor, in threads of their own."""

    def __init__(self, app: App, material: Material, number: int, jobs: bool) -> None:
        """Opens the page.

        Args:
            app: The server.
            material: What to send.
            number: Which visitor it is, from 0.
            jobs: Whether photos and clips are sent too.
        """
        self.tally = Tally()
        self._material, self._number, self._until = material, number, 0.0
        self._browser = Browser(app)
        self._browser.session = f"soak{number}"
        self._browser.open()
        self._host = app.url.removeprefix("http://")
        config = self._browser.config()
        parts = config["components"]
        self._camera = next(part["id"] for part in parts if "live_frame" in str(part["props"].get("server_fns", "")))
        self._events = (
            {name: events_with(self._browser, f"{name}-input") for name in ("image", "video")} if jobs else {}
        )
        self._heart = http.client.HTTPConnection(self._host, timeout=PATIENCE_S)
        self._heart.request("GET", f"/gradio_api/heartbeat/{self._browser.session}", headers=self._headers())
        work = [self._film, *([self._send_photos] if jobs else [])]
        if jobs and number % CLIPS_OF == 0:
            work.append(self._send_clips)
        self._threads = [threading.Thread(target=self._careful, args=(each,)) for each in work]

    def start(self, until: float) -> None:
        """Turns the camera on, until a time on time.monotonic."""
        self._until = until
        for thread in self._threads:
            thread.start()

    def leave(self) -> None:
        """Waits for the last answers and closes the page."""
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)
            if thread.is_alive():
                self.tally.errors["an answer never came"] += 1
        self._heart.close()

    def _headers(self) -> dict[str, str]:
        return {"Cookie": self._browser.cookie, "Content-Type": "application/json"}

    def _careful(self, work: Any) -> None:
        try:
            work()
        except Exception as error:
            self.tally.errors[f"{work.__name__}: {type(error).__name__}: {error}"[:200]] += 1

    def _film(self) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=PATIENCE_S)
        began, number = time.monotonic(), 0
        # As the page's drawer stands at first.
        settings = json.dumps(["", 0.5, 0, ["number", "age", "gender", "emotion"], False, 50])
        head = f'{{"component_id": {self._camera}, "fn_name": "live_frame", "session_hash": "{self._browser.session}", '
        while (now := time.monotonic()) < self._until:
            picture = self._material.frames[number % FRAMES]
            data = f'"data": {{"picture": "{picture}", "time": {now - began:.3f}, "settings": {settings}}}}}'
            connection.request("POST", "/gradio_api/component_server/", head + data, self._headers())
            answer = connection.getresponse()
            said = answer.read()
            took = time.monotonic() - now
            number += 1
            result = (
                json.loads(said) if answer.status == 200 else {"problem": f"status {answer.status}: {said[:100]!r}"}
            )
            if "problem" in result or "late" in result:
                self.tally.errors[f"frame: {result.get('problem', 'late')}"] += 1
                time.sleep(1)
                continue
            self.tally.answers.append((now, took))
            self.tally.faces += len(result["faces"])
            time.sleep(max(0.0, 1 / CAMERA_FPS - took))
        connection.close()

    def _send_photos(self) -> None:
        self._send("image", self._material.photo, PHOTO_EVERY_S, self.tally.photos)

    def _send_clips(self) -> None:
        self._send("video", self._material.clip, CLIP_EVERY_S, self.tally.clips)

    def _send(self, kind: str, path: Path, every: float, took: list[float]) -> None:
        """Does what the page does with a file that was chosen, at times of one's own."""
        event, values = max(self._events[kind], key=lambda found: len(found[1]))
        # A session of its own for each tab, as its stream of answers is one's alone.
        browser = Browser(self._browser.app)
        browser.session, browser.cookie = f"{self._browser.session}{kind}", self._browser.cookie
        # The first one soon, so that a short run has some; all at different times.
        due = time.monotonic() + 2 + (self._number * 7) % 30
        while due < self._until - 10:
            time.sleep(max(0.0, due - time.monotonic()))
            began = time.monotonic()
            file = sent(f"{kind}-input", {"path": browser.upload(path)} | META)
            said = browser.join(event, [file if value is FILE else value for value in values])
            if '"success":true' not in said.replace(" ", ""):
                self.tally.errors[f"{kind}: {said[-200:]}"] += 1
            took.append(time.monotonic() - began)
            due = max(due + every, time.monotonic())


@dataclass(frozen=True, slots=True)
class Reading:
    """What a server takes at a moment: seconds since the start; megabytes, and numbers of its own process."""

    at: float
    mb: float
    threads: int
    files: int
    sockets: int


def read(app: App, began: float, workers: int = 1) -> Reading:
    """Reads off /proc what a server takes, with its workers; memory with all their children."""
    pids = [app.process.pid, *(_children(app.process.pid, 1) if workers > 1 else ())]
    mb = sum(_pss(each) for each in (app.process.pid, *_children(app.process.pid)))
    links = []
    for link in (link for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir()):
        with contextlib.suppress(OSError):
            links.append(str(link.readlink()))
    sockets = sum(link.startswith("socket:") for link in links)
    threads = sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids)
    return Reading(round(time.monotonic() - began, 1), round(mb, 1), threads, len(links), sockets)


def _pss(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _children(pid: int, depth: int = 9) -> list[int]:
    found: list[int] = []
    if not depth:
        return found
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found += [int(stat.parent.name), *_children(int(stat.parent.name), depth - 1)]
    return found


def soak(
    folder: Path,
    pack: str | Path,
    visitors: int,
    seconds: float,
    jobs: bool = True,
    workers: int = 1,
    longest_s: float = LONGEST_S,
) -> dict[str, Any]:
    """Serves a class, and returns what came of it.

    Args:
        folder: A folder for files.
        pack: The model pack.
        visitors: How many there are.
        seconds: How long.
        jobs: Whether photos and clips are sent too.
        workers: How many processes serve; each visitor stays at one.
        longest_s: Whoever is longer without an answer has had no turn.
    """
    material = Material.make(folder)
    options = {"FACEINSIGHT_PLACES": str(visitors), "FACEINSIGHT_QUEUE": "200"}
    with served(folder, "--pack", pack, "--workers", workers, **options) as app:
        visits = [Visit(app, material, n, jobs) for n in range(visitors)]
        began = time.monotonic()
        for visit in visits:
            visit.start(began + seconds)
        readings = []
        while (passed := time.monotonic() - began) < seconds:
            readings.append(read(app, began, workers))
            if len(readings) % 12 == 1:
                frames = sum(len(visit.tally.answers) for visit in visits)
                print(f"{passed / 60:5.1f} min {frames:8} frames  {readings[-1]}", flush=True)
            time.sleep(EVERY_S)
        for visit in visits:
            visit.leave()
        said = app.output
    return {"workers": workers} | summed([visit.tally for visit in visits], readings, began, seconds, said, longest_s)


def summed(
    tallies: list[Tally],
    readings: list[Reading],
    began: float,
    seconds: float,
    said: str,
    longest_s: float = LONGEST_S,
) -> dict[str, Any]:
    """Sums up a run, and says what was not as it should be (`failures`)."""
    rates = sorted(len(tally.answers) / seconds for tally in tallies)
    waits = sorted(took for tally in tallies for _, took in tally.answers)
    gaps = [_longest_gap(tally, began, seconds) for tally in tallies]
    errors = sum((tally.errors for tally in tallies), Counter())
    for line in said.splitlines():
        if "Error" in line or "Traceback" in line or line.startswith("ERROR"):
            errors[f"the server says: {line[:200]}"] += 1
    grown = growth(readings, seconds)
    failures = [f"{count} x {text}" for text, count in errors.most_common(10)]
    failures += [f"visitor {n} waited {gap:.0f} s for a turn" for n, gap in enumerate(gaps) if gap > longest_s]
    failures += [f"{name} grew from {one} to {two}" for name, (one, two, ok) in grown.items() if not ok]
    if rates[0] < LEAST_FPS:
        failures.append(f"a visitor had {rates[0]:.2f} frames a second")
    return {
        "visitors": len(tallies),
        "minutes": round(seconds / 60, 1),
        "frames": len(waits),
        "frames_per_s": round(len(waits) / seconds, 1),
        "frames_per_s_each": {
            "least": round(rates[0], 2),
            "median": round(statistics.median(rates), 2),
            "most": round(rates[-1], 2),
        },
        "frame_ms": _cuts(waits),
        "photo_ms": _cuts([took for tally in tallies for took in tally.photos]),
        "clip_ms": _cuts([took for tally in tallies for took in tally.clips]),
        "longest_without_an_answer_s": round(max(gaps), 1),
        "faces_per_frame": round(sum(tally.faces for tally in tallies) / max(1, len(waits)), 3),
        "growth": {name: {"from": one, "to": two} for name, (one, two, _) in grown.items()},
        "errors": sum(errors.values()),
        "failures": failures,
        "readings": [asdict(reading) for reading in readings],
    }


def growth(readings: list[Reading], seconds: float) -> dict[str, tuple[float, float, bool]]:
    """Compares the end with what there was after the warm-up: at minute 5, or after a third of a shorter run.

    Memory may be 5 % more (15 % in runs under ten minutes, which are all warm-up); numbers may be a few more, as
    those of what is being answered come and go.
    """
    window = min(60.0, seconds / 4)
    start = min(300.0, seconds / 3)
    early = [one for one in readings if start <= one.at <= start + window]
    late = [one for one in readings if one.at >= seconds - window]
    found: dict[str, tuple[float, float, bool]] = {}
    for name in ("mb", "threads", "files", "sockets"):
        one, two = (round(statistics.mean(getattr(each, name) for each in some), 1) for some in (early, late))
        slack = one * (0.05 if seconds >= 600 else 0.15) if name == "mb" else max(5.0, one * 0.1)
        found[name] = (one, two, two <= one + slack)
    return found


def _longest_gap(tally: Tally, began: float, seconds: float) -> float:
    times = [began, *(at + took for at, took in tally.answers), began + seconds]
    return max(later - earlier for earlier, later in pairwise(times))


def _cuts(seconds: list[float]) -> dict[str, float] | None:
    if len(seconds) < 2:
        return None
    cuts = statistics.quantiles(seconds, n=100)
    return {
        "count": len(seconds),
        "p50": round(cuts[49] * 1000),
        "p95": round(cuts[94] * 1000),
        "p99": round(cuts[98] * 1000),
    }


def main() -> int:
    """Prints what came of it and writes JSON; returns 1 where something was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", default="compact", help="model pack to serve")
    parser.add_argument("--visitors", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=1200)
    parser.add_argument("--no-jobs", action="store_true", help="the camera alone")
    parser.add_argument("--workers", type=int, default=1, help="how many processes serve")
    parser.add_argument("--out", type=Path, default=Path("test-results/soak.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        result = soak(Path(name), args.pack, args.visitors, args.seconds, not args.no_jobs, args.workers)
    print(json.dumps({key: value for key, value in result.items() if key != "readings"}, indent=1))
    keep(args.out, f"{json.dumps({'machine': machine(), 'pack': args.pack} | result, indent=1)}\n")
    print(f"written: {args.out}")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
