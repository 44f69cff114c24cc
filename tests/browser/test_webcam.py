"""The Webcam tab in a real browser: the compact pack, and a face that moves from side to side."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image
from playwright.sync_api import expect

from faceinsight.packs.locate import bundled_models
from tests.browser.driving import DESKTOP, PHONE, Visit, chromium, write_camera
from tests.conftest import ROOT
from tests.serving import served

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]
PICTURES = ROOT / "test-results"
# The face moves by so many pixels, there and back in three seconds.
MOVES = 200


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with served(tmp_path_factory.mktemp("app"), "--pack", "compact") as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright, executable, tmp_path_factory):
    path = Path(skimage.__file__).parent / "data" / "astronaut.png"
    photo = Image.open(path).convert("RGB").resize((900, 900))
    lefts = [round(MOVES * (0.5 - 0.5 * np.cos(2 * np.pi * n / 90))) for n in range(90)]
    frames = [np.asarray(photo.crop((left, 0, left + 640, 480))) for left in lefts]
    camera = write_camera(tmp_path_factory.mktemp("camera") / "camera.mjpeg", frames)
    with chromium(playwright, executable, camera) as running:
        yield running


@pytest.fixture
def visit(browser, app):
    visitor = Visit(browser, app.url, DESKTOP)
    visitor.tab("Webcam")
    visitor.start_camera()
    expect(visitor.page.locator("#webcam-table td").first).to_have_text("1", timeout=20_000)
    yield visitor
    assert visitor.errors == []
    visitor.close()


def test_labels_follow_the_face_over_the_live_picture(visit, app):
    assert visit.updates(3) >= 15
    places = []
    for _ in range(40):
        places.append(visit.painted())
        visit.page.wait_for_timeout(90)
    lefts = [left for count, left, _ in places if count]
    assert len(lefts) >= 38
    assert max(lefts) - min(lefts) == pytest.approx(MOVES, rel=0.2)
    assert len(set(lefts)) >= 10
    expect(visit.page.locator("#webcam-notice")).to_have_text("1 face")
    for figure in ("fps", "updates", "latency"):
        expect(visit.page.locator(f"#webcam-{figure}")).to_have_text(re.compile(r"^\d+$"))
    assert int(visit.page.locator("#webcam-fps").inner_text()) >= 8
    expect(visit.page.locator("#webcam-who")).to_have_text("Emotion of #1 (largest face)")
    assert visit.page.locator("#webcam-bars > div").count() == 7
    expect(visit.page.locator("#status")).to_contain_text("ms per frame")
    # Not a single frame was written to disk: there are the page's examples only.
    files = {path.name for path in app.temporary.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png", ".webp")}
    assert files <= {"t1.jpg", "astronaut.png"}


def test_a_person_is_chosen_by_a_click(visit):
    frame = visit.page.locator("#webcam-overlay").bounding_box()
    for _ in range(20):
        _, left, right = visit.painted()
        x = frame["x"] + frame["width"] * (left + right) / 2 / 640
        visit.page.mouse.click(x, frame["y"] + frame["height"] * 0.45)
        visit.page.wait_for_timeout(300)
        if "chosen" in visit.page.locator("#webcam-who").inner_text():
            break
    expect(visit.page.locator("#webcam-who")).to_have_text("Emotion of #1 (chosen)")


def test_controls_apply_at_once(visit):
    with_label, *_ = visit.painted()
    visit.settings()
    for label in ("Number", "Age", "Gender", "Emotion"):
        visit.page.get_by_label(label, exact=True).uncheck()
    visit.page.wait_for_timeout(500)
    without, *_ = visit.painted()
    assert 0 < without < with_label / 1.5
    smallest = visit.page.get_by_label(re.compile("number input for Smallest face"))
    smallest.fill("400")
    smallest.press("Enter")
    expect(visit.page.locator("#webcam-notice")).to_have_text("0 faces")
    expect(visit.page.locator("#webcam-table td")).to_have_count(0)


def snapshot(visit):
    with visit.page.expect_download() as caught:
        visit.page.locator("#webcam-snapshot").click()
    assert caught.value.suggested_filename == "webcam-faces.jpg"
    return Image.open(caught.value.path()).convert("RGB")


def sharpness(picture, left, right):
    """How much neighbouring pixels differ where the eyes and mouth are."""
    face = np.asarray(picture.convert("L").crop((left + 15, 150, right - 15, 260)), np.float32)
    return np.abs(np.diff(face, axis=1)).mean()


def test_a_snapshot_has_labels_and_blur_hides_the_face(visit):
    clear = snapshot(visit)
    assert clear.size == (640, 480)
    colour = np.abs(np.asarray(clear, int) - (86, 180, 233)).sum(axis=2) < 30
    assert colour.sum() > 200
    box = np.flatnonzero(colour.any(axis=0))
    visit.settings()
    visit.page.get_by_label("Blur faces").check()
    visit.settings()
    visit.page.wait_for_timeout(500)
    blurred = snapshot(visit)
    box_then = np.flatnonzero((np.abs(np.asarray(blurred, int) - (86, 180, 233)).sum(axis=2) < 30).any(axis=0))
    assert sharpness(blurred, box_then[0], box_then[-1]) < 0.5 * sharpness(clear, box[0], box[-1])
    visit.screenshot(PICTURES / "desktop-webcam-blurred.png")


def test_a_recording_is_a_csv_with_ids(visit, app):
    visit.page.get_by_label("Record to CSV").check()
    expect(visit.page.locator("#webcam-rows")).to_have_text(re.compile(r"· [2-9]\d rows"), timeout=20_000)
    # The tick shows: the browser draws it.
    assert visit.page.locator("#webcam-record").evaluate("box => getComputedStyle(box).appearance") == "auto"
    with visit.page.expect_download() as caught:
        visit.page.get_by_label("Record to CSV").uncheck()
    assert caught.value.suggested_filename == "webcam-faces.csv"
    rows = list(csv.DictReader(io.StringIO(Path(caught.value.path()).read_text("utf-8-sig"))))
    assert len(rows) >= 20
    assert {row["track_id"] for row in rows} == {"1"}
    times = [float(row["time"]) for row in rows]
    assert times[0] == 0
    assert times == sorted(times)
    assert not list(app.temporary.rglob("*.csv"))


def on_calls(visit, name, do):
    """Has `do` handle the route of every call of a server function."""

    def handle(route):
        call = route.request.post_data_json
        return do(route) if call["fn_name"] == name else route.fallback()

    visit.page.route(re.compile("component_server"), handle)


def test_a_recording_whose_answer_was_lost_can_be_had_again(visit):
    box, words = visit.page.get_by_label("Record to CSV"), visit.page.locator("#webcam-rows")
    box.check()
    expect(words).to_have_text(re.compile(r"· [1-9]\d* rows"), timeout=20_000)
    on_calls(visit, "live_record", lambda route: route.abort())
    box.click()
    expect(words).to_have_text("· the server does not answer: untick again")
    expect(box).to_be_checked()
    visit.page.unroute_all()
    before = len(visit.errors)
    # That the browser could not reach the server is said on its console.
    assert all("ERR_FAILED" in error for error in visit.errors)
    with visit.page.expect_download() as caught:
        box.click()
    first = Path(caught.value.path()).read_text("utf-8-sig").splitlines()
    assert len(first) >= 2
    expect(words).to_have_text("")
    expect(box).not_to_be_checked()
    # What was had is gone: the next one begins at nothing.
    box.check()
    expect(words).to_have_text(re.compile(r"· [1-9]\d* rows"), timeout=20_000)
    with visit.page.expect_download() as caught:
        box.click()
    rows = list(csv.DictReader(io.StringIO(Path(caught.value.path()).read_text("utf-8-sig"))))
    assert float(rows[0]["time"]) < 0.5
    assert len(visit.errors) == before
    visit.errors.clear()


def test_rows_that_a_server_forgot_are_told(visit):
    box, words = visit.page.get_by_label("Record to CSV"), visit.page.locator("#webcam-rows")
    box.check()
    expect(words).to_have_text(re.compile(r"· [1-9]\d* rows"), timeout=20_000)

    # A server that restarted knows nothing of the recording, nor one that hears of it under another number.
    def forget(route):
        call = route.request.post_data_json
        call["data"]["record"] += 1000
        route.continue_(post_data=json.dumps(call))

    on_calls(visit, "live_frame", forget)
    expect(words).to_have_text(re.compile(r"· \d+ rows; the server forgot the [1-9]\d* before"), timeout=20_000)


def test_a_pack_without_emotions_says_so(browser, tmp_path):
    pack = shutil.copytree(bundled_models() / "compact", tmp_path / "quiet")
    declared = (pack / "pack.toml").read_text()
    (pack / "pack.toml").write_text(declared[: declared.index("[emotion]")])
    with served(tmp_path, "--pack", pack) as running:
        visit = Visit(browser, running.url, DESKTOP)
        visit.tab("Webcam")
        visit.start_camera()
        expect(visit.page.locator("#webcam-table td").first).to_have_text("1", timeout=20_000)
        expect(visit.page.locator("#webcam-without")).to_contain_text("says nothing about emotions")
        expect(visit.page.locator("#webcam-mood")).to_be_hidden()
        visit.page.locator("#webcam-input").get_by_text("Stop").click()
        expect(visit.page.locator("#webcam-without")).to_have_text("")
        expect(visit.page.locator("#webcam-mood")).to_be_visible()
        assert visit.errors == []
        visit.close()


def test_a_recording_may_begin_before_the_camera(browser, app):
    visit = Visit(browser, app.url, DESKTOP)
    visit.tab("Webcam")
    box, words = visit.page.get_by_label("Record to CSV"), visit.page.locator("#webcam-rows")
    box.check()
    box.click()
    expect(words).to_have_text("· nothing was recorded")
    box.check()
    visit.page.wait_for_timeout(500)
    visit.start_camera()
    expect(words).to_have_text(re.compile(r"· [1-9]\d* rows"), timeout=20_000)
    visit.stop_camera()
    with visit.page.expect_download():
        box.click()
    assert visit.errors == []
    visit.close()


def test_a_server_that_does_not_answer_is_said_and_waited_for(visit):
    held = []
    on_calls(visit, "live_frame", held.append)
    notice = visit.page.locator("#webcam-notice")
    expect(notice).to_contain_text("The server does not answer", timeout=20_000)
    visit.page.unroute_all(behavior="ignoreErrors")
    expect(notice).to_have_text("1 face", timeout=20_000)
    assert held


def test_another_video_element_ends_the_loop_of_the_one_before(browser, app):
    visit = Visit(browser, app.url, DESKTOP)
    visit.page.evaluate("() => { delete HTMLVideoElement.prototype.requestVideoFrameCallback }")
    visit.tab("Webcam")
    visit.start_camera()
    expect(visit.page.locator("#webcam-table td").first).to_have_text("1", timeout=20_000)
    paintings = """async () => {
        const old = document.querySelector('#webcam-input video');
        const video = old.cloneNode();
        video.srcObject = old.srcObject;
        old.replaceWith(video);
        await video.play();
        await new Promise(done => setTimeout(done, 1000));
        let [frames, paintings] = [0, 0];
        const clear = CanvasRenderingContext2D.prototype.clearRect;
        CanvasRenderingContext2D.prototype.clearRect = function (...area) {
            paintings += this.canvas.id === 'webcam-overlay';
            return clear.apply(this, area);
        };
        let more = true;
        const count = () => { frames += 1; if (more) requestAnimationFrame(count); };
        count();
        const labels = () => (paintings -= 1);
        document.addEventListener('labels', labels, true);
        await new Promise(done => setTimeout(done, 2000));
        more = false;
        document.removeEventListener('labels', labels, true);
        CanvasRenderingContext2D.prototype.clearRect = clear;
        return [frames, paintings];
    }"""
    frames, painted = visit.page.evaluate(paintings)
    assert 0.5 * frames < painted < 1.3 * frames
    visit.close()


def test_nothing_is_drawn_or_sent_when_the_camera_stops_or_the_tab_is_left(visit):
    sent = []
    visit.page.on("request", lambda request: sent.append(request.url) if "component_server" in request.url else None)
    visit.tab("Image")
    visit.page.wait_for_timeout(600)
    sent.clear()
    visit.page.wait_for_timeout(600)
    assert sent == []
    visit.tab("Webcam")
    expect(visit.page.locator("#webcam-table td").first).to_have_text("1")
    assert visit.painted()[0] > 0
    visit.stop_camera()
    expect(visit.page.locator("#webcam-notice")).to_contain_text("Click to Access Webcam")
    assert visit.painted()[0] == 0
    expect(visit.page.locator("#webcam-snapshot")).to_be_disabled()
    expect(visit.page.locator("#webcam-bars > div")).to_have_count(0)


def test_several_visitors_stream_at_once_and_a_full_house_says_so(browser, tmp_path):
    few = (
        "import sys; import faceinsight.ui.places as places; places.AWAY_S = 1e6; "  # only closing a page frees one
        "from faceinsight.cli import main; sys.exit(main(['app', *sys.argv[1:]]))"
    )
    with served(tmp_path, "--pack", "compact", code=few, FACEINSIGHT_PLACES="3") as app:
        *served_ones, last = [Visit(browser, app.url, DESKTOP) for _ in range(4)]
        for visit in served_ones:
            visit.tab("Webcam")
            visit.start_camera()
            expect(visit.page.locator("#webcam-table td").first).to_have_text("1", timeout=30_000)
        last.tab("Webcam")
        last.start_camera()
        expect(last.page.locator("#webcam-notice")).to_contain_text(
            "You are number 1 in line for the camera", timeout=20_000
        )
        for visit in served_ones:
            assert visit.updates(5) >= 2
        served_ones[0].close()
        expect(last.page.locator("#webcam-notice")).to_have_text("1 face", timeout=20_000)
        for visit in (*served_ones[1:], last):
            visit.close()


def test_on_a_phone_in_the_dark(browser, app):
    visit = Visit(browser, app.url, PHONE, dark=True)
    visit.tab("Webcam")
    visit.start_camera()
    expect(visit.page.locator("#webcam-table td").first).to_have_text("1", timeout=20_000)
    visit.page.wait_for_timeout(3000)
    visit.screenshot(PICTURES / "phone-dark-webcam.png")
    assert visit.overflow() <= 0
    visit.close()
