"""Measures in Chromium how long a photo of 12 megapixels takes from being chosen to its labels on screen.

    python -m benchmarks.photo

The photo, 4000x3000, shows the six people of insightface's t1.jpg, with the grain of a camera. Each run is another
visit. The parts: until the file is on the server; reading and analysing it there; the rest of the way to the answer
and back; and drawing, until the frame with the labels is painted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import insightface
import numpy as np
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from benchmarks.machine import keep, machine
from tests.browser.driving import DESKTOP, Visit, chromium
from tests.browser.find_chromium import find_chromium
from tests.serving import App, served

SIZE = (4000, 3000)
GRAIN = 5.0
PARTS = ("upload", "read", "analyse", "answer", "draw", "all")

# The app, which says how long it took to read a picture and to analyse it.
TIMED = """
import sys, time
from faceinsight.analyzer import FaceAnalyzer
from faceinsight.media.guard import Guard
def timed(owner, name):
    work = getattr(owner, name)
    def told(*args, **options):
        began = time.perf_counter()
        try:
            return work(*args, **options)
        finally:
            print("TOOK", name, round((time.perf_counter() - began) * 1000, 1), flush=True)
    setattr(owner, name, told)
timed(Guard, "image")
timed(FaceAnalyzer, "analyze_many")
from faceinsight.cli import main
sys.exit(main(["app", *sys.argv[1:]]))
"""

# Notes when the file was chosen, was on the server, was answered about, and when its labels were painted.
WATCH = """
() => {
    const log = window.measured = {};
    document.querySelector("#image-file").addEventListener("change", () => (log.chosen = performance.now()), true);
    const notice = document.querySelector("#image-notice");
    const text = Object.getOwnPropertyDescriptor(Node.prototype, "textContent");
    Object.defineProperty(notice, "textContent", {
        get: () => text.get.call(notice),
        set: (words) => {
            log.answered = performance.now();
            text.set.call(notice, words);
        },
    });
    document.addEventListener("labels", () => requestAnimationFrame(() => {
        // The task after the next frame's: it is painted then.
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => {
            const [sent] = performance.getEntriesByType("resource").filter(({ name }) => /[/]upload([?]|$)/.test(name));
            Object.assign(log, { uploaded: sent.responseEnd, painted: performance.now() });
        };
        port2.postMessage(null);
    }), { capture: true, once: true });
}
"""


def photo() -> Image.Image:
    """Returns the picture."""
    people = Image.open(Path(insightface.__file__).parent / "data" / "images" / "t1.jpg").convert("RGB")
    width, height = SIZE
    people = people.resize((width, round(people.height * width / people.width)), Image.Resampling.LANCZOS)
    pixels = np.pad(np.asarray(people), ((0, height - people.height), (0, 0), (0, 0)), "reflect")
    grain = np.random.default_rng(0).normal(0, GRAIN, (height, width, 1))
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def milliseconds(browser: Browser, app: App, file: Path) -> dict[str, float]:
    """Opens the page, chooses a photo, and returns how long each part took."""
    visit = Visit(browser, app.url, DESKTOP)
    page = visit.page
    page.wait_for_selector("#image-choose:enabled")
    page.wait_for_timeout(1500)  # the page has come to rest
    page.evaluate(WATCH)
    said = app.output.count("TOOK")
    visit.upload("#image-input", file)
    page.wait_for_function("measured.painted")
    log = page.evaluate("measured")
    faces = page.locator("#image-notice").inner_text()
    visit.close()
    assert faces.startswith("6 faces"), faces
    took = dict(line.split()[1:] for line in app.output.splitlines() if line.startswith("TOOK"))
    assert app.output.count("TOOK") == said + 2
    read, analyse = (float(took[name]) for name in ("image", "analyze_many"))
    return {
        "upload": log["uploaded"] - log["chosen"],
        "read": read,
        "analyse": analyse,
        "answer": log["answered"] - log["uploaded"] - read - analyse,
        "draw": log["painted"] - log["answered"],
        "all": log["painted"] - log["chosen"],
    }


def main() -> None:
    """Prints a table of medians, and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", default="compact", help="model pack to measure")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--out", type=Path, help="write the table to this file too")
    args = parser.parse_args()
    executable = find_chromium()
    if executable is None:
        raise SystemExit("No Chromium is installed: run `make tools` first.")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        file = Path(name) / "photo.jpg"
        photo().save(file, quality=93, subsampling="4:2:0")
        size = file.stat().st_size / 1e6
        with served(Path(name), "--pack", args.pack, code=TIMED) as app, chromium(playwright, executable) as browser:
            about = f"{machine()}, Chromium {browser.version}"
            milliseconds(browser, app, file)  # the first one warms up
            runs = [milliseconds(browser, app, file) for _ in range(args.runs)]
    lines = [
        f"{about}; pack {args.pack}, {args.runs} visits",
        "",
        f"| a JPEG of {SIZE[0]} x {SIZE[1]} pixels, {size:.1f} MB, 6 faces | p50 ms | least | most |",
        "| --- | --- | --- | --- |",
    ]
    for part in PARTS:
        times = [run[part] for run in runs]
        lines.append(f"| {part} | {statistics.median(times):.0f} | {min(times):.0f} | {max(times):.0f} |")
    text = "\n".join(lines)
    print(text)
    if args.out:
        keep(args.out, f"{text}\n")


if __name__ == "__main__":
    main()
