"""The page, used as a visitor uses it, with toy models that answer predictably."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.driving import DESKTOP, PHONE, TABS, Visit, chromium
from tests.serving import served
from tests.toy_media import toy_frames, write_clip
from tests.toy_models import EMOTIONS_8, toy_picture

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture
def photo(tmp_path, two_faces):
    path = tmp_path / "photo.png"
    Image.fromarray(two_faces).save(path)
    return path


def test_the_page_is_whole_and_asks_nobody_else(visit):
    assert visit.page.title() == "FaceInsight"
    expect(visit.page.locator("#status")).to_contain_text("Pack toy · CPU")
    for name in TABS:
        visit.tab(name)
        expect(visit.page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
    assert visit.elsewhere == []
    assert visit.errors == []


def test_a_picture_becomes_faces_table_bars_and_files(visit, photo):
    visit.upload("#image-input", photo)
    expect(visit.page.locator("#image-notice")).to_contain_text("2 faces")
    expect(visit.page.locator("#image-output img")).to_be_visible()
    expect(visit.page.locator("#image-gallery .grid-container button")).to_have_count(2)
    first, second = visit.cells("#image-table")
    assert first[0] == "1"
    assert 90 <= int(first[1]) <= 95
    assert first[3].startswith("female")
    assert second[3].startswith("male")
    assert first[4].split()[0] in EMOTIONS_8
    expect(visit.page.locator("#status")).to_contain_text("ms per frame")
    # Both toy faces are of one size: the first one is chosen.
    bars = visit.page.locator("#image-bars")
    expect(bars).to_contain_text("Emotion of face #1")
    assert sum(name in bars.inner_text() for name in EMOTIONS_8) == 8
    visit.page.locator("#image-table").get_by_role("gridcell", name="320, 256").click()
    expect(bars).to_contain_text("Emotion of face #2")
    visit.page.locator("#image-gallery .grid-container button").first.click()
    expect(bars).to_contain_text("Emotion of face #1")

    files = {}
    for kind in ("CSV", "JSON", "picture"):
        with visit.page.expect_download() as caught:
            visit.page.get_by_role("button", name=f"Download {kind}").first.click()
        files[kind] = caught.value.suggested_filename, Path(caught.value.path()).read_bytes()
    assert [name for name, _ in files.values()] == ["photo.csv", "photo.json", "photo-faces.jpg"]
    rows = list(csv.DictReader(io.StringIO(files["CSV"][1].decode("utf-8-sig"))))
    assert [row["gender"] for row in rows] == ["female", "male"]
    assert len(json.loads(files["JSON"][1])["faces"]) == 2
    assert Image.open(io.BytesIO(files["picture"][1])).size == (640, 480)


def test_the_side_panel_changes_the_picture_at_once(visit, photo):
    visit.upload("#image-input", photo)
    expect(visit.page.locator("#image-notice")).to_contain_text("2 faces")
    shown = visit.page.locator("#image-output img")
    before = shown.get_attribute("src")
    visit.settings()
    visit.page.get_by_label("Number", exact=True).uncheck()
    expect(shown).not_to_have_attribute("src", before)
    smallest = visit.page.get_by_label(re.compile("number input for Smallest face"))
    smallest.fill("100")
    smallest.press("Enter")
    expect(visit.page.locator("#image-notice")).to_contain_text("No face found")
    assert visit.errors == []


def test_the_drawer_opens_and_closes_by_mouse_and_keyboard(visit):
    drawer, button = visit.page.locator("#settings"), visit.page.locator("#settings-button")
    expect(drawer).to_be_hidden()
    expect(button).to_be_enabled()
    button.press("Enter")
    expect(drawer).to_be_visible()
    assert visit.page.evaluate("document.querySelector('#settings').contains(document.activeElement)")
    visit.page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(button).to_be_focused()
    visit.settings()
    visit.page.locator("#header h1").click()
    expect(drawer).to_be_hidden()


def test_a_value_out_of_range_is_corrected(visit, app, photo):
    visit.upload("#image-input", photo)
    expect(visit.page.locator("#image-notice")).to_contain_text("2 faces")
    visit.settings()
    threshold = visit.page.get_by_label("number input for Detection threshold")
    for typed in ("5", "-3"):
        threshold.fill(typed)
        threshold.press("Enter")
    expect(visit.page.locator("#image-notice")).to_contain_text("2 faces")
    assert "Traceback" not in app.output
    assert visit.page.get_by_test_id("toast-body").count() == 0


def test_bad_pictures_are_told_of_and_lose_nothing(visit, photo, tmp_path):
    visit.upload("#image-input", photo)
    expect(visit.page.locator("#image-notice")).to_contain_text("2 faces")
    notes = tmp_path / "notes.jpg"
    notes.write_text("only text")
    visit.page.locator("#image-input").get_by_role("button", name="Remove Image").click()
    expect(visit.page.locator("#image-notice")).to_contain_text("Drop, paste or snap")
    visit.upload("#image-input", notes)
    notice = visit.page.locator("#image-notice")
    expect(notice).to_contain_text("notes.jpg is not an image that can be read")
    visit.page.locator("#image-input").get_by_role("button", name="Remove Image").click()
    visit.upload("#image-input", photo)
    expect(notice).to_contain_text("2 faces")


def test_examples_are_one_click_away(visit):
    visit.page.locator("#image-examples button, .gallery-item").first.click()
    # Toy models see no face in a real photo, and the page says so.
    expect(visit.page.locator("#image-notice")).to_contain_text("face")
    expect(visit.page.locator("#image-output img")).to_be_visible()


def test_without_a_camera_the_page_says_what_to_do(playwright, executable, app, photo):
    with chromium(playwright, executable) as browser:
        visit = Visit(browser, app.url, DESKTOP)
        visit.tab("Webcam")
        visit.page.get_by_role("button", name="Click to Access Webcam").click()
        problem = visit.page.locator("#camera-problem")
        expect(problem).to_have_text("No camera was found: plug one in and try again.")
        expect(problem).to_be_visible()
        visit.tab("Image")
        visit.upload("#image-input", photo)
        expect(visit.page.locator("#image-notice")).to_contain_text("2 faces")
        visit.close()


def test_a_clip_is_analysed_and_plays(visit, tmp_path):
    visit.tab("Video")
    clip = write_clip(tmp_path / "clip.mp4", toy_frames(1) * 25, sound=True)
    visit.upload("#video-input", clip)
    notice = visit.page.locator("#video-notice")
    expect(notice).to_contain_text("2.5 seconds, 640 x 480 pixels, 10 frames a second")
    visit.page.locator("#video-run").click()
    expect(notice).to_contain_text("25 frames analysed, 25 with faces", timeout=60_000)
    video = visit.page.locator("#video-output video")
    expect(video).to_be_visible()
    video.evaluate("v => { v.muted = true; return v.play(); }")
    visit.page.wait_for_function("document.querySelector('#video-output video').currentTime > 0.5", timeout=20_000)
    assert video.evaluate("v => [v.videoWidth, v.videoHeight, v.error]") == [640, 480, None]
    assert video.evaluate("v => v.duration") == pytest.approx(2.5, abs=0.15)
    assert visit.cells("#video-table")[0][:2] == ["0", "1"]
    expect(notice).to_contain_text("1 person followed")
    assert visit.cells("#video-people")[0][:2] == ["1", "2.5 s"]
    assert visit.page.locator("#video-charts svg path").count() > 2
    with visit.page.expect_download() as caught:
        visit.page.locator("button:visible", has_text="Download CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(caught.value.path()).read_text("utf-8-sig"))))
    assert len(rows) == 25
    assert visit.errors == []


def test_cancel_cancels_and_leaves_nothing(visit, app, tmp_path):
    visit.tab("Video")
    visit.upload("#video-input", write_clip(tmp_path / "long.mp4", toy_frames(900)))
    notice = visit.page.locator("#video-notice")
    expect(notice).to_contain_text("90.0 seconds")
    visit.page.locator("#video-run").click()
    expect(visit.page.locator("#video-progress")).to_contain_text("left", timeout=20_000)
    expect(visit.page.locator("#video-preview img")).to_be_visible()
    shown = visit.page.locator("#video-preview img").get_attribute("src")
    assert shown.startswith("data:image/jpeg;base64,")
    assert list(app.temporary.rglob("making-*"))
    visit.page.locator("#video-cancel").click()
    expect(notice).to_contain_text("Cancelled; nothing was kept")
    expect(visit.page.locator("#video-run")).to_be_enabled()
    for _ in range(50):
        if not list(app.temporary.rglob("making-*")):
            break
        visit.page.wait_for_timeout(100)
    assert list(app.temporary.rglob("making-*")) == []
    assert list(app.temporary.rglob("long-faces.mp4")) == []


def test_bad_clips_are_told_of(visit, tmp_path):
    visit.tab("Video")
    visit.page.locator("#video-run").click()
    notice = visit.page.locator("#video-notice")
    expect(notice).to_contain_text("There is no clip yet: upload one first.")
    (tmp_path / "text.mp4").write_text("only text" * 99)
    visit.upload("#video-input", tmp_path / "text.mp4")
    expect(notice).to_contain_text("text.mp4 is not a video that can be read")
    visit.page.locator("#video-run").click()
    expect(notice).to_contain_text("text.mp4 is not a video that can be read")
    expect(visit.page.locator("#video-run")).to_be_enabled()


def test_models_are_listed_and_fetched_only_with_consent(visit):
    visit.tab("Models & about")
    rows = visit.cells("#packs-table")
    assert {row[0] for row in rows} >= {"buffalo_s", "buffalo_l", "compact"}
    visit.page.locator("#fetch").click()
    expect(visit.page.locator("#fetch-notice")).to_contain_text("tick the box first")
    expect(visit.page.locator("#about")).to_contain_text("Do not use them")


def test_a_download_that_fails_is_told_of(browser, toy_pack, tmp_path):
    # An unreachable proxy stands for a machine without internet.
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1,localhost"}
    with served(tmp_path, "--pack", toy_pack, **nowhere) as app:
        visit = Visit(browser, app.url, DESKTOP)
        visit.tab("Models & about")
        visit.page.get_by_label("I have read the licences").check()
        visit.page.locator("#fetch").click()
        notice = visit.page.locator("#fetch-notice")
        expect(notice).to_contain_text("det_500m.onnx could not be downloaded", timeout=20_000)
        expect(notice).to_contain_text("check the internet connection")
        assert "Traceback" not in app.output
        visit.close()


@pytest.mark.parametrize("name", TABS)
def test_a_phone_shows_every_tab_without_sideways_scrolling(browser, app, photo, name):
    visit = Visit(browser, app.url, PHONE)
    visit.upload("#image-input", photo)
    expect(visit.page.locator("#image-notice")).to_contain_text("2 faces")
    visit.tab(name)
    visit.page.wait_for_timeout(300)
    assert visit.overflow() <= 0
    visit.close()


def test_a_hundred_faces(visit, tmp_path):
    cells = {(c, r): (255, 230, 200) for r in range(0, 20, 2) for c in range(0, 20, 2)}
    Image.fromarray(toy_picture(cells, size=(640, 640))).save(tmp_path / "crowd.png")
    visit.upload("#image-input", tmp_path / "crowd.png")
    expect(visit.page.locator("#image-notice")).to_contain_text("100 faces")
