"""The page with real models, photos and clips; every tab is photographed, to be looked at."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.driving import DESKTOP, PHONE, TABS, Visit, chromium, write_camera
from tests.conftest import ROOT
from tests.serving import served

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]
PICTURES = ROOT / "test-results"


@pytest.fixture(scope="module")
def real_app(real_pack, tmp_path_factory):
    with served(tmp_path_factory.mktemp("app"), "--pack", real_pack()) as running:
        yield running


@pytest.fixture(scope="module")
def real_browser(shared, playwright, executable, tmp_path_factory):
    photo = Image.open(shared / "photos" / "group_selfie.jpg").convert("RGB").resize((720, 480))
    frames = [np.asarray(photo.crop((n, 0, n + 640, 480))) for n in (*range(20), *range(20, 0, -1))]
    camera = write_camera(tmp_path_factory.mktemp("camera") / "camera.mjpeg", frames)
    with chromium(playwright, executable, camera) as running:
        yield running


@pytest.mark.parametrize(
    ("look", "size", "dark"),
    [("desktop", DESKTOP, False), ("phone", PHONE, False), ("dark", DESKTOP, True)],
)
def test_every_tab(real_browser, real_app, shared, look, size, dark):
    visit = Visit(real_browser, real_app.url, size, dark)
    visit.upload("#image-input", shared / "photos" / "meeting.jpg")
    expect(visit.page.locator("#image-notice")).to_contain_text("5 faces")
    assert len(visit.rows("#image-table")) == 5
    visit.screenshot(PICTURES / f"{look}-image.png")

    visit.tab("Webcam")
    visit.start_camera()
    expect(visit.page.locator("#webcam-notice")).to_contain_text("5 faces", timeout=20_000)
    assert visit.updates(4) >= 4
    visit.screenshot(PICTURES / f"{look}-webcam.png")
    visit.stop_camera()

    visit.tab("Video")
    visit.upload("#video-input", shared / "clips" / "intel_head_pose_face_detection_female_and_male.mp4")
    expect(visit.page.locator("#video-notice")).to_contain_text("4.7 seconds")
    visit.page.locator("#video-run").click()
    expect(visit.page.locator("#video-notice")).to_contain_text("56 frames", timeout=90_000)
    expect(visit.page.locator("#video-files")).to_be_visible()
    visit.screenshot(PICTURES / f"{look}-video.png")

    visit.tab(TABS[3])
    visit.screenshot(PICTURES / f"{look}-about.png")
    assert visit.overflow() <= 0
    assert visit.elsewhere == []
    assert visit.errors == []
    visit.close()
