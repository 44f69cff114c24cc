"""Takes the README's pictures of every tab and of the report: python -m tests.browser.screenshots [--pack PACK].

They show scikit-image's astronaut (Eileen Collins, photographed by NASA) and Matplotlib's Grace Hopper (photographed by
the U.S. Navy), both in the public domain.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import skimage
from PIL import Image, ImageEnhance
from playwright.sync_api import Browser, expect, sync_playwright

from faceinsight.cli import main as run
from tests.browser.driving import DESKTOP, TABS, Visit, chromium, write_camera
from tests.browser.find_chromium import find_chromium
from tests.conftest import ROOT
from tests.material import PHOTOS
from tests.serving import served
from tests.toy_media import write_clip

OUT = ROOT / "assets" / "screenshots"


def moving_views(photo: Image.Image, count: int) -> list[np.ndarray]:
    """Returns 640x480 views of a square photo that drift sideways, as a hand-held camera does."""
    wide = photo.resize((720, 720))
    drift = [round(30 + 25 * np.sin(2 * np.pi * n / count)) for n in range(count)]
    return [np.asarray(wide.crop((x, 0, x + 640, 480))) for x in drift]


def archive(folder: Path, clip: Path) -> Path:
    """Makes a folder of photos, each showing one person, both or nobody, and a clip."""
    folder.mkdir()
    left, right = (Image.open(PHOTOS[name]).convert("RGB") for name in ("astronaut.png", "grace_hopper.jpg"))
    lot = np.random.default_rng(3)
    for number in range(30):
        views = [photo.crop((*lot.integers(0, 30, 2).tolist(), photo.width, 450)) for photo in (left, right)]
        shown = views[: number % 3] if number % 2 else views[2 - number % 3 :]
        canvas = Image.new("RGB", (1040, 480), "#8a94a6")
        for place, view in enumerate(shown):
            canvas.paste(
                view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if lot.random() < 0.5 else view, (520 * place, 0)
            )
        brightness = ImageEnhance.Brightness(canvas).enhance(lot.uniform(0.4, 1.5))
        ImageEnhance.Color(brightness).enhance(lot.uniform(0, 1.6)).save(folder / f"{number:02}.jpg")
    (folder / "cut.jpg").write_bytes((folder / "00.jpg").read_bytes()[:4000])
    return Path(shutil.copy(clip, folder)).parent


def photograph_report(browser: Browser, folder: Path, pack: str, out: Path) -> None:
    """Analyses a folder and takes a picture of its report."""
    table = folder.with_name("results.parquet")
    run(["analyze", str(folder), "--pack", pack, "--rate", "5", "--table", str(table)])
    run(["report", str(table)])
    page = browser.new_page(viewport=DESKTOP)
    page.goto(table.with_suffix(".html").as_uri())
    page.screenshot(path=str(out), full_page=True)
    page.close()


def main() -> None:
    """Starts the app and photographs its tabs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", default="auto", help="model pack to show")
    args = parser.parse_args()
    executable = find_chromium()
    if executable is None:
        raise SystemExit("No Chromium is installed: run `make tools` first.")
    astronaut = Path(skimage.__file__).parent / "data" / "astronaut.png"
    with (
        tempfile.TemporaryDirectory() as name,
        sync_playwright() as playwright,
    ):
        folder = Path(name)
        views = moving_views(Image.open(astronaut).convert("RGB"), 30)
        camera = write_camera(folder / "camera.mjpeg", views)
        clip = write_clip(folder / "astronaut.mp4", views, fps=15, sound=True)
        with (
            served(folder, "--pack", args.pack) as app,
            chromium(playwright, executable, camera) as browser,
        ):
            visit = Visit(browser, app.url, DESKTOP)
            visit.tab("Webcam")
            visit.start_camera()
            notice = visit.page.locator("#webcam-notice")
            expect(notice).to_have_text("1 face", timeout=20_000)
            visit.page.wait_for_timeout(4000)
            visit.screenshot(OUT / "webcam.png")
            visit.stop_camera()
            visit.tab("Image")
            visit.upload("#image-input", astronaut)
            expect(visit.page.locator("#image-notice")).to_contain_text("1 face")
            visit.screenshot(OUT / "image.png")
            visit.tab("Video")
            visit.upload("#video-input", clip)
            expect(visit.page.locator("#video-notice")).to_contain_text("2.0 seconds")
            visit.page.locator("#video-run").click()
            expect(visit.page.locator("#video-files")).to_be_visible(timeout=60_000)
            visit.page.wait_for_timeout(1000)
            visit.screenshot(OUT / "video.png")
            visit.tab(TABS[3])
            visit.screenshot(OUT / "models.png")
            visit.close()
            photograph_report(browser, archive(folder / "photos", clip), args.pack, OUT / "report.png")
    for path in OUT.iterdir():
        # A palette is a third of the size and looks the same.
        Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


if __name__ == "__main__":
    main()
