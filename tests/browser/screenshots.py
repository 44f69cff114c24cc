"""Takes the README's pictures of every tab and of the report: python -m tests.browser.screenshots [--pack PACK].

They show scikit-image's astronaut (Eileen Collins, photographed by NASA) and Matplotlib's Grace Hopper (photographed by
the U.S. Navy), both in the public domain.
"""

from __future__ import annotations

import argparse
import base64
import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from PIL import Image, ImageEnhance
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from faceinsight.cli import main as run
from tests.browser.driving import DESKTOP, TABS, Visit, chromium, write_camera
from tests.browser.find_chromium import find_chromium
from tests.conftest import ROOT
from tests.material import PHOTOS
from tests.serving import served
from tests.toy_media import write_clip

OUT = ROOT / "assets" / "screenshots"
FILM_S, FILM_RATE, FILM_WIDTH = 8, 11, 800


def moving_views(photo: Image.Image, count: int) -> list[np.ndarray]:
    """Returns 640x480 views of a square photo that drift sideways, as a hand-held camera does."""
    wide = photo.resize((720, 720))
    drift = [round(30 + 25 * np.sin(2 * np.pi * n / count)) for n in range(count)]
    return [np.asarray(wide.crop((x, 0, x + 640, 480))) for x in drift]


def two_people(seconds: float) -> list[np.ndarray]:
    """Returns 640x480 views, 30 a second, of two people who sway; one of them comes in and leaves again."""
    first, second = (Image.open(PHOTOS[name]).convert("RGB") for name in ("astronaut.png", "grace_hopper.jpg"))
    first, second = first.resize((860, 860)), second.crop((40, 0, 512, 606)).resize((374, 480))
    count = round(seconds * 30)
    views = []
    for n in range(count):
        turn = 2 * np.pi * n / count
        near = first.rotate(3 * np.sin(2 * turn), Image.Resampling.BICUBIC)
        canvas = near.crop((200, 40, 840, 520))
        there = np.clip(1.3 - 1.9 * np.cos(turn), 0, 1)
        place = (round(640 - 330 * there + 14 * np.sin(3 * turn)), round(6 + 6 * np.sin(2 * turn)))
        canvas.paste((90, 96, 110), (place[0] - 4, 0, 640, 480))
        canvas.paste(second, place)
        views.append(np.asarray(canvas))
    return views


def film(page: Page, path: Path, seconds: float) -> None:
    """Takes a moving picture of a page."""
    shots: list[tuple[float, bytes]] = []
    page.evaluate("window.scrollTo(0, 0)")
    session = page.context.new_cdp_session(page)

    def keep(shot: dict[str, Any]) -> None:
        shots.append((shot["metadata"]["timestamp"], base64.b64decode(shot["data"])))
        session.send("Page.screencastFrameAck", {"sessionId": shot["sessionId"]})

    session.on("Page.screencastFrame", keep)
    # Not every frame, so that the page is shown at its own pace.
    session.send("Page.startScreencast", {"format": "jpeg", "quality": 92, "everyNthFrame": 3})
    page.wait_for_timeout(1000 * seconds + 1000)
    session.send("Page.stopScreencast")
    began = shots[0][0]
    times = [began + n / FILM_RATE for n in range(round(seconds * FILM_RATE))]
    wanted = [max((shot for shot in shots if shot[0] <= time), key=lambda shot: shot[0]) for time in times]
    frames = [Image.open(io.BytesIO(content)) for _, content in wanted]
    size = (FILM_WIDTH, round(frames[0].height * FILM_WIDTH / frames[0].width))
    small = [frame.resize(size, Image.Resampling.LANCZOS) for frame in frames]
    options = {"duration": round(1000 / FILM_RATE), "loop": 0, "quality": 60, "method": 4}
    small[0].save(path, save_all=True, append_images=small[1:], **options)
    print(
        f"{path.name}: {len({time for time, _ in wanted})} of {len(times)} frames differ, {path.stat().st_size} bytes"
    )


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


def notice_of(visit: Visit) -> Locator:
    """Returns where the Webcam tab says how many faces there are."""
    return visit.page.locator("#webcam-notice")


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
            expect(notice_of(visit)).to_have_text("1 face", timeout=20_000)
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
            visit.page.wait_for_selector("article")
            visit.screenshot(OUT / "models.png")
            visit.close()
            camera = write_camera(folder / "two.mjpeg", two_people(FILM_S))
            with chromium(playwright, executable, camera) as moving:
                visit = Visit(moving, app.url, {"width": 1100, "height": 760})
                visit.tab("Webcam")
                visit.start_camera()
                expect(notice_of(visit)).to_have_text("2 faces", timeout=20_000)
                film(visit.page, OUT / "webcam.webp", FILM_S)
                visit.close()
            photograph_report(browser, archive(folder / "photos", clip), args.pack, OUT / "report.png")
    for path in OUT.glob("*.png"):
        # A palette is a third of the size and looks the same.
        Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


if __name__ == "__main__":
    main()
