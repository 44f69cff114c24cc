"""The Video tab, used as a visitor uses it, with toy models that answer predictably."""

from __future__ import annotations

import csv
import io
import json
import re

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from faceinsight import __version__
from faceinsight.drawing import color_of
from faceinsight.media.video import read_frames
from tests.toy_media import HELD, as_stored, toy_frames, turn_clip, write_clip
from tests.toy_models import toy_picture

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def test_an_example_clip_is_one_click_away(visit):
    visit.tab("Video")
    visit.page.locator("#video-empty button").click()
    expect(visit.page.locator("#video-notice")).to_contain_text("4.0 seconds, 640 x 480 pixels")
    visit.page.wait_for_function("document.querySelector('#video-player').videoWidth === 640")


def analyse(visit, clip, words="2.5 seconds, 640 x 480 pixels, 10 frames a second"):
    visit.tab("Video")
    visit.upload("#video-input", clip)
    expect(visit.page.locator("#video-notice")).to_contain_text(words)
    visit.page.locator("#video-run").click()
    expect(visit.page.locator("#video-files")).to_be_visible(timeout=60_000)


def playing(visit):
    return visit.page.locator("#video-player")


def test_a_clip_is_analysed_and_plays(visit, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", toy_frames(1) * 25, sound=True)
    analyse(visit, clip)
    expect(visit.page.locator("#video-notice")).to_have_text("1 person, at most 1 face at once, in 25 frames.")
    playing(visit).evaluate("v => { v.muted = true; return v.play(); }")
    visit.page.wait_for_function("document.querySelector('#video-player').currentTime > 0.5", timeout=20_000)
    assert playing(visit).evaluate("v => [v.videoWidth, v.videoHeight, v.error]") == [640, 480, None]
    assert playing(visit).evaluate("v => v.duration") == pytest.approx(2.5, abs=0.15)
    assert visit.rows("#video-table")[0][:2] == ["0", "1"]
    assert "2.5 s on screen" in visit.page.locator("#video-cards .fi-card").inner_text()
    assert visit.page.locator("#video-charts svg path").count() > 2
    name, content = visit.saved("#video-csv")
    assert name == "clip.csv"
    assert len(list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))) == 25
    people = list(csv.DictReader(io.StringIO(visit.saved("#video-people")[1].decode("utf-8-sig"))))
    assert [person["track_id"] for person in people] == ["1"]
    record = json.loads(visit.saved("#video-json")[1])
    assert (record["file"], record["version"], record["min_face"]) == ("clip.mp4", __version__, 0)
    assert visit.errors == []


def test_a_clip_that_does_not_play_yet_shows_its_labels(visit, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", toy_frames(1) * 10)

    def shown(color):
        picture = Image.open(io.BytesIO(playing(visit).screenshot())).convert("RGB")
        return (np.abs(np.asarray(picture, int) - color).max(axis=2) < 40).sum()

    visit.tab("Video")
    visit.upload("#video-input", clip)
    expect(visit.page.locator("#video-run")).to_be_enabled()
    before = shown(color_of(1))
    visit.page.locator("#video-run").click()
    expect(visit.page.locator("#video-files")).to_be_visible(timeout=60_000)
    visit.page.wait_for_function("document.querySelector('#video-player').readyState > 1")
    assert playing(visit).evaluate("v => [v.paused, v.currentTime]") == [True, 0]
    assert shown(color_of(1)) > before + 100


def two_people(tmp_path):
    """A clip of four seconds with one person in its first half and another, elsewhere, in its second."""
    first, second = toy_picture({(3, 3): (255, 240, 200)}), toy_picture({(14, 9): (200, 100, 255)})
    return write_clip(tmp_path / "two.mp4", [first] * 20 + [second] * 20)


def test_cards_chart_and_rows_seek_the_player(visit, tmp_path):
    analyse(visit, two_people(tmp_path), "4.0 seconds")
    cards = visit.page.locator("#video-cards .fi-card")
    expect(cards).to_have_count(2)

    def time():
        return playing(visit).evaluate("v => v.currentTime")

    cards.nth(1).click()
    expect(cards.nth(1)).to_have_attribute("aria-selected", "true")
    assert time() == pytest.approx(2.0, abs=0.4)
    assert visit.page.locator("#video-charts .fi-chosen b").inner_text() == "#2"
    chart = visit.page.locator("#video-charts [data-id='1'] svg")
    chart.click(position={"x": chart.bounding_box()["width"] / 4, "y": 5})
    assert time() == pytest.approx(1.0, abs=0.3)
    expect(cards.nth(0)).to_have_attribute("aria-selected", "true")
    visit.page.locator("#video-table summary").click()
    visit.page.locator("#video-table tbody tr").nth(30).click()
    assert time() == pytest.approx(3.0, abs=0.2)
    assert visit.errors == []


def test_blur_chosen_afterwards_draws_the_clip_anew_without_analysing_it(visit, app, tmp_path):
    analyse(visit, two_people(tmp_path), "4.0 seconds")
    before = playing(visit).get_attribute("src")
    rows = visit.rows("#video-table")
    anew = visit.page.locator("#video-anew")
    expect(anew).to_be_hidden()
    visit.settings()
    visit.page.get_by_label("Blur faces").check()
    visit.page.get_by_label("Number", exact=True).uncheck()
    # Another threshold would change what is found, were it looked for again.
    threshold = visit.page.get_by_label("number input for Detection threshold")
    threshold.fill("0.95")
    threshold.press("Enter")
    visit.settings()
    expect(anew).to_be_visible()
    anew.click()
    expect(playing(visit)).not_to_have_attribute("src", before, timeout=60_000)
    expect(anew).to_be_hidden()
    assert visit.rows("#video-table") == rows
    assert visit.errors == []


def test_clearing_the_clip_clears_its_results(visit, tmp_path):
    analyse(visit, two_people(tmp_path), "4.0 seconds")
    visit.page.locator("#video-clear").click()
    expect(visit.page.locator("#video-empty")).to_be_visible()
    expect(visit.page.locator("#video-cards .fi-card")).to_have_count(0)
    assert visit.page.locator("#video-charts").inner_html() == ""
    expect(visit.page.locator("#video-files")).to_be_hidden()


def test_a_clip_that_the_browser_cannot_play_shows_its_first_frame(visit, tmp_path):
    path = tmp_path / "old.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for picture in toy_frames(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    visit.tab("Video")
    visit.upload("#video-input", path)
    expect(visit.page.locator("#video-notice")).to_contain_text("0.5 seconds, 640 x 480 pixels")
    expect(playing(visit)).to_have_attribute("poster", re.compile("^data:image/jpeg;base64,"))
    assert playing(visit).get_attribute("src") is None
    visit.page.locator("#video-run").click()
    expect(visit.page.locator("#video-files")).to_be_visible(timeout=60_000)
    visit.page.wait_for_function("document.querySelector('#video-player').videoWidth === 640")


def test_cancel_cancels_and_leaves_nothing(visit, app, tmp_path):
    visit.tab("Video")
    visit.upload("#video-input", write_clip(tmp_path / "long.mp4", toy_frames(900)))
    notice = visit.page.locator("#video-notice")
    expect(notice).to_contain_text("90.0 seconds")
    visit.page.locator("#video-run").click()
    expect(notice).to_contain_text("left", timeout=20_000)
    expect(visit.page.locator("#video-preview")).to_be_visible()
    assert visit.page.locator("#video-preview").get_attribute("src").startswith("data:image/jpeg;base64,")
    assert list(app.temporary.rglob("making-*"))
    visit.page.locator("#video-cancel").click()
    expect(notice).to_contain_text("Cancelled; nothing was kept")
    expect(visit.page.locator("#video-run")).to_be_enabled()
    for _ in range(100):
        if not list(app.temporary.rglob("making-*")):
            break
        visit.page.wait_for_timeout(100)
    assert list(app.temporary.rglob("making-*")) == []
    assert list(app.temporary.rglob("long-faces.mp4")) == []


def test_bad_clips_are_told_of(visit, tmp_path):
    visit.tab("Video")
    (tmp_path / "text.mp4").write_text("only text" * 99)
    visit.upload("#video-input", tmp_path / "text.mp4")
    notice = visit.page.locator("#video-notice")
    expect(notice).to_contain_text("text.mp4 is not a video that can be read")
    visit.page.locator("#video-run").click()
    expect(visit.page.locator("#video-problem")).to_contain_text("text.mp4 is not a video that can be read")
    expect(visit.page.locator("#video-run")).to_be_enabled()


def test_clips_are_turned_and_mirrored_as_the_browser_does_it(visit, tmp_path):
    corners = """video => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 2, height: 2 });
        const pen = canvas.getContext("2d");
        pen.drawImage(video, 0, 0, 2, 2);
        return [video.videoWidth, video.videoHeight, ...pen.getImageData(0, 0, 2, 2).data];
    }"""
    colors = np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [250, 250, 250]]], np.uint8)
    visit.tab("Video")
    for held in HELD:
        clip = write_clip(tmp_path / f"{held}.mp4", [colors.repeat(120, 0).repeat(160, 1)] * 5)
        visit.upload("#video-input", turn_clip(clip, held))
        first = next(read_frames(clip)).image
        expect(visit.page.locator("#video-notice")).to_contain_text(f"{first.width} x {first.height} pixels")
        visit.page.wait_for_function("document.querySelector('#video-player').readyState > 1")
        width, height, *shown = playing(visit).evaluate(corners)
        assert (width, height) == (first.width, first.height)
        ours = cv2.resize(first.rgb(), (2, 2), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(np.reshape(shown, (2, 2, 4))[..., :3] > 125, ours > 125, f"{held}")


def test_a_mirrored_clip_is_shown_and_written_as_it_is_played(visit, tmp_path):
    clip = turn_clip(write_clip(tmp_path / "selfie.mp4", [as_stored(toy_frames(1)[0], 7)] * 25), 7)
    analyse(visit, clip)
    visit.page.wait_for_function("document.querySelector('#video-player').readyState > 1")
    content = visit.saved("#video-csv")[1].decode("utf-8-sig")
    row = next(csv.DictReader(io.StringIO(content)))
    assert [round(float(row[side]) / 32) for side in ("x1", "y1")] == [1, 5]
    bright = """video => {
        const pen = document.createElement("canvas").getContext("2d");
        pen.drawImage(video, -48, -176);
        return pen.getImageData(0, 0, 1, 1).data[0];
    }"""
    assert playing(visit).evaluate(bright) > 170
