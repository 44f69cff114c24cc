"""Measures the Webcam tab in Chromium, beside an app that only sends every frame back.

    python -m benchmarks.webcam
    python -m benchmarks.webcam --minutes 10

The fake camera shows a drifting face and a barcode that counts its frames. Read off the pages: how many camera
frames a second are on show with labels (or come back), how many answers a second arrive, and how long after
its capture a frame's labels are painted (or the frame itself is back). With --minutes, the memory of the server is read
instead, while one visitor's camera runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.machine import keep, machine
from tests.browser.driving import ARGS, write_camera
from tests.browser.find_chromium import find_chromium
from tests.browser.screenshots import moving_views
from tests.serving import served

BITS = 10
FRAMES = 300
WARM_UP_S = 3

ECHO = """
import sys
import gradio as gr
with gr.Blocks() as demo:
    camera = gr.Image(sources=["webcam"], streaming=True, type="numpy", elem_id="webcam-input",
                      webcam_options=gr.WebcamOptions(constraints={"video": {"width": 640, "height": 480}}))
    back = gr.Image(format="jpeg", elem_id="echo")
    camera.stream(lambda frame: frame, camera, back, stream_every=0.03, concurrency_limit=8, show_progress="hidden")
demo.launch(server_port=int(sys.argv[2]), quiet=True, prevent_thread_lock=True)
print("Press Ctrl+C", flush=True)
demo.block_thread()
"""

# Notes when each frame of the camera was taken, and when its labels, or it itself, came on show.
WATCH = """
(bits) => {
    const log = window.measured = {shown: [], delays: []};
    const video = document.querySelector("#webcam-input video");
    const strip = Object.assign(document.createElement("canvas"), {width: bits, height: 1});
    const pen = strip.getContext("2d", {willReadFrequently: true});
    const count = (picture, width, height, mirrored) => {
        pen.drawImage(picture, 0, height - 8, width, 1, 0, 0, bits, 1);
        const grey = pen.getImageData(0, 0, bits, 1).data;
        let value = 0;
        for (let n = 0; n < bits; n++) value = 2 * value + (grey[4 * (mirrored ? bits - 1 - n : n)] > 127);
        return value;
    };
    const taken = new Map();
    const byMedia = new Map();
    let labelledAt = -Infinity;
    const onFrame = (now, frame) => {
        video.requestVideoFrameCallback(onFrame);
        const counter = count(video, video.videoWidth, video.videoHeight, false);
        taken.set(counter, frame.captureTime ?? now);
        byMedia.set(frame.mediaTime, counter);
        if (byMedia.size > 200) byMedia.delete(byMedia.keys().next().value);
        if (now - labelledAt < 2000) log.shown.push(now);
    };
    video.requestVideoFrameCallback(onFrame);
    document.addEventListener("labels", ({detail: {at, mediaTime}}) => {
        labelledAt = at;
        if (byMedia.has(mediaTime)) log.delays.push(at - taken.get(byMedia.get(mediaTime)));
    }, true);
    let last = null;
    const onEcho = (now) => {
        requestAnimationFrame(onEcho);
        const picture = document.querySelector("#echo img");
        if (!picture || !picture.complete || !picture.naturalWidth || picture.src === last) return;
        last = picture.src;
        const since = taken.get(count(picture, picture.naturalWidth, picture.naturalHeight, true));
        if (since === undefined) return;
        log.shown.push(now);
        log.delays.push(now - since);
    };
    requestAnimationFrame(onEcho);
}
"""


def camera_frames() -> list[np.ndarray]:
    """Returns 640x480 views of a face, with their number in black and white blocks along the lower edge."""
    photo = Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB")
    frames = []
    for number, view in enumerate(moving_views(photo, FRAMES)):
        bits = [(number >> n) & 1 for n in reversed(range(BITS))]
        frame = view.copy()
        frame[-16:] = np.repeat(np.array(bits, np.uint8) * 255, 640 // BITS)[None, :, None]
        frames.append(frame)
    return frames


@contextmanager
def camera_browser(folder: Path) -> Iterator[Browser]:
    """Starts a Chromium whose camera shows `camera_frames`."""
    executable = find_chromium()
    if executable is None:
        raise SystemExit("No Chromium is installed: run `make tools` first.")
    camera = write_camera(folder / "camera.mjpeg", camera_frames())
    fake = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    file = f"--use-file-for-fake-video-capture={camera}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*ARGS, *fake, file])
        yield browser
        browser.close()


def start_camera(page: Page, url: str) -> None:
    """Opens an app and turns its camera on."""
    page.goto(url)
    access = page.get_by_role("button", name="Click to Access Webcam")
    tab = page.get_by_role("tab", name="Webcam")
    access.or_(tab).first.wait_for()
    if access.is_visible():
        access.click()
        page.locator("#webcam-input").get_by_text("Record").click()
        return
    tab.first.click()
    page.get_by_role("button", name="Start camera").click()


def measure(browser: Browser, url: str, visitors: int, seconds: float) -> dict[str, Any]:
    """Opens an app for some visitors at once and returns what their pages measured."""
    contexts = [browser.new_context(viewport={"width": 1280, "height": 900}) for _ in range(visitors)]
    pages = [context.new_page() for context in contexts]
    for page in pages:
        start_camera(page, url)
    time.sleep(WARM_UP_S)
    for page in pages:
        page.evaluate(WATCH, BITS)
    time.sleep(1)
    read = "() => ({at: performance.now(), shown: measured.shown.length, delays: measured.delays.length})"
    starts = [page.evaluate(read) for page in pages]
    time.sleep(seconds)
    ends = [page.evaluate(read) for page in pages]
    delays = [
        page.evaluate("([from, to]) => measured.delays.slice(from, to)", [start["delays"], end["delays"]])
        for page, start, end in zip(pages, starts, ends, strict=True)
    ]
    for context in contexts:
        context.close()

    def rates(what: str) -> list[float]:
        pairs = zip(starts, ends, strict=True)
        return [round(1000 * (end[what] - start[what]) / (end["at"] - start["at"]), 1) for start, end in pairs]

    together = [delay for visitor in delays for delay in visitor]
    # An app that answers nobody has no delay to tell.
    cuts = [round(cut) for cut in statistics.quantiles(together, n=20)] if len(together) > 1 else [None] * 19
    return {
        "visitors": visitors,
        "shown_per_s": rates("shown"),
        "updates_per_s": rates("delays"),
        "delay_ms_p50": cuts[9],
        "delay_ms_p95": cuts[18],
    }


def compare(browser: Browser, folder: Path, pack: str, visitors: list[int], seconds: float) -> dict[str, Any]:
    """Measures FaceInsight and the app that echoes, and prints a row for each number of visitors."""
    results: dict[str, Any] = {}
    print(f"{'':12}{'visitors':>9}{'shown/s each':>24}{'updates/s each':>24}{'p50 ms':>8}{'p95 ms':>8}")
    for app, options in (("FaceInsight", {}), ("echo", {"code": ECHO})):
        arguments = () if options else ("--pack", pack)
        with served(folder, *arguments, **options) as running:
            results[app] = [measure(browser, running.url, count, seconds) for count in visitors]
        for row in results[app]:
            shown, updates = (" ".join(map(str, row[key])) for key in ("shown_per_s", "updates_per_s"))
            delays = f"{row['delay_ms_p50']!s:>8}{row['delay_ms_p95']!s:>8}"
            print(f"{app:12}{row['visitors']:>9}{shown:>24}{updates:>24}{delays}", flush=True)
    return results


def watch_memory(browser: Browser, folder: Path, pack: str, minutes: float) -> dict[str, Any]:
    """Runs one visitor's camera, and reads the server's resident memory (Linux) every half minute."""
    readings: list[tuple[float, float]] = []
    with served(folder, "--pack", pack) as running:
        page = browser.new_page()
        start_camera(page, running.url)
        time.sleep(WARM_UP_S)
        page.evaluate(WATCH, BITS)
        began = time.monotonic()
        while (passed := time.monotonic() - began) <= 60 * minutes:
            status = Path(f"/proc/{running.process.pid}/status").read_text()
            kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
            readings.append((round(passed / 60, 1), round(int(kilobytes) / 1024, 1)))
            print(f"{readings[-1][0]:5.1f} min {readings[-1][1]:8.1f} MB", flush=True)
            time.sleep(30)
        frames = page.evaluate("measured.delays.length")
    print(f"{frames} frames analysed")
    return {"frames": frames, "minutes_and_mb": readings}


def main() -> None:
    """Prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", default="compact", help="model pack to measure")
    parser.add_argument("--seconds", type=float, default=10, help="how long to measure each")
    parser.add_argument("--visitors", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--minutes", type=float, help="read the server's memory for so long instead")
    parser.add_argument("--out", type=Path, default=Path("test-results/webcam.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, camera_browser(Path(name)) as browser:
        about = f"{machine()}, Chromium {browser.version}"
        print(about)
        if args.minutes:
            results = watch_memory(browser, Path(name), args.pack, args.minutes)
        else:
            results = compare(browser, Path(name), args.pack, args.visitors, args.seconds) | {"seconds": args.seconds}
    text = json.dumps({"machine": about, "pack": args.pack} | results, indent=1)
    keep(args.out, f"{text}\n")
    print(f"written: {args.out}")


if __name__ == "__main__":
    main()
