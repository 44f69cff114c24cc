"""The page with real models, photos and clips; every tab is photographed, to be looked at."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.browser.driving import DESKTOP, PHONE, TABS, Visit, chromium, write_camera
from tests.conftest import ROOT
from tests.material import both, photo
from tests.serving import App, served

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]
PICTURES = ROOT / "test-results"


@dataclass(frozen=True)
class Seen:
    """What a visitor shows the page, and what it should say of it."""

    photo: str
    in_photo: int
    before_camera: tuple[str, tuple[int, int, int, int] | None]  # a photo, and the part that the camera sees
    in_camera: int
    clip: str
    length: str
    frames: str


OWN = Seen("t1.jpg", 6, ("t1.jpg", (0, 100, 660, 540)), 3, "two.mp4", "5.0 seconds", "60 frames")
SHARED = Seen(
    "meeting.jpg",
    5,
    ("group_selfie.jpg", None),
    5,
    "intel_head_pose_face_detection_female_and_male.mp4",
    "4.7 seconds",
    "56 frames",
)


LOOKS = (("desktop", DESKTOP, False), ("phone", PHONE, False), ("dark", DESKTOP, True))


@pytest.fixture(scope="module")
def opened(playwright, executable, request, tmp_path_factory):
    """Gives a browser with a camera, and an app with real models, that serve every look at the same."""
    with ExitStack() as stack:

        @cache
        def of(seen: Seen) -> tuple[Browser, App]:
            name, part = seen.before_camera
            picture = Image.open(photo(name)).convert("RGB").resize((720, 480), box=part)
            frames = [np.asarray(picture.crop((n, 0, n + 640, 480))) for n in (*range(20), *range(20, 0, -1))]
            camera = write_camera(tmp_path_factory.mktemp("camera") / "camera.mjpeg", frames)
            pack = "compact" if seen is OWN else request.getfixturevalue("real_pack")()
            app = stack.enter_context(served(tmp_path_factory.mktemp("app"), "--pack", pack))
            return stack.enter_context(chromium(playwright, executable, camera)), app

        yield of


# The second one is there for its models: once is enough.
@pytest.mark.parametrize(
    ("seen", "look", "size", "dark"),
    both([(OWN, *look) for look in LOOKS], [(SHARED, *LOOKS[0])]),
)
def test_every_tab(opened, clips, seen, look, size, dark):
    browser, app = opened(seen)
    visit = Visit(browser, app.url, size, dark)
    visit.upload("#image-input", photo(seen.photo))
    expect(visit.page.locator("#image-notice")).to_contain_text(f"{seen.in_photo} faces", timeout=20_000)
    assert len(visit.rows("#image-table")) == seen.in_photo
    visit.screenshot(PICTURES / Path(seen.photo).stem / f"{look}-image.png")

    visit.tab("Webcam")
    visit.start_camera()
    expect(visit.page.locator("#webcam-notice")).to_contain_text(f"{seen.in_camera} faces", timeout=20_000)
    # A busy machine may need more than the first second.
    shown = accumulate(visit.updates(1) for _ in range(20))
    assert any(updates >= 4 for updates in shown)
    visit.screenshot(PICTURES / Path(seen.photo).stem / f"{look}-webcam.png")
    visit.stop_camera()

    visit.tab("Video")
    visit.upload("#video-input", clips(seen.clip))
    expect(visit.page.locator("#video-notice")).to_contain_text(seen.length)
    visit.page.locator("#video-rate").select_option("every frame")
    visit.page.locator("#video-run").click()
    expect(visit.page.locator("#video-notice")).to_contain_text(seen.frames, timeout=90_000)
    expect(visit.page.locator("#video-files")).to_be_visible()
    visit.screenshot(PICTURES / Path(seen.photo).stem / f"{look}-video.png")

    visit.tab(TABS[3])
    visit.screenshot(PICTURES / Path(seen.photo).stem / f"{look}-about.png")
    assert visit.overflow() <= 0
    assert visit.elsewhere == []
    assert visit.errors == []
    visit.close()
