"""The Webcam tab in a real browser: the compact pack, and a face that moves from side to side."""

from __future__ import annotations

import csv
import io
import itertools
import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image
from playwright.sync_api import expect

from faceinsight import FaceAnalyzer
from faceinsight.export import rows_of
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
    # The largest face's card tells all.
    assert visit.page.locator("#webcam-cards .fi-bars > div").count() >= 7
    expect(visit.page.locator("#status")).to_contain_text("ms per frame")
    # Not a single frame was written to disk: there are the page's examples only.
    files = {path.name for path in app.temporary.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png", ".webp")}
    assert files <= {"t1.jpg", "astronaut.png"}


def test_who_is_chosen_anywhere_is_marked_everywhere(visit):
    who, card = visit.page.locator("#webcam-who"), visit.page.locator("#webcam-cards .fi-card")
    row = visit.page.locator("#webcam-table tbody tr")
    overlay = visit.page.locator("#webcam-overlay")

    def on_the_picture():
        frame = overlay.bounding_box()
        for _ in range(20):
            _, left, right = visit.painted()
            x = frame["x"] + frame["width"] * (left + right) / 2 / 640
            visit.page.mouse.click(x, frame["y"] + frame["height"] * 0.45)
            visit.page.wait_for_timeout(300)
            if "chosen" in who.inner_text():
                break

    ways = on_the_picture, card.click, row.click, lambda: overlay.press("ArrowRight"), lambda: card.press("ArrowDown")
    for choose in ways:
        choose()
        expect(who).to_have_text("Emotion of #1 (chosen)")
        expect(card).to_have_attribute("aria-selected", "true")
        expect(row).to_have_class("fi-chosen")
        overlay.press("Escape")
        expect(who).to_have_text("Emotion of #1 (largest face)")
        expect(card).to_have_attribute("aria-selected", "false")


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


# How much of a canvas is painted, in [0, 1].
COLOURED = """canvas => {
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let n = 3; n < data.length; n += 4) count += data[n] > 200;
    return count / (data.length / 4);
}"""


def snapshot(visit):
    taken = visit.page.locator("#webcam-strip button")
    count = taken.count()
    visit.page.locator("#webcam-snapshot").click()
    expect(taken).to_have_count(count + 1)
    with visit.page.expect_download() as caught:
        taken.first.click()
    assert re.fullmatch(r"webcam-faces-\d{6}\.jpg", caught.value.suggested_filename)
    return Image.open(caught.value.path()).convert("RGB")


def sharpness(picture, left, right):
    """How much neighbouring pixels differ where the eyes and mouth are."""
    face = np.asarray(picture.convert("L").crop((left + 15, 150, right - 15, 260)), np.float32)
    return np.abs(np.diff(face, axis=1)).mean()


def test_a_snapshot_has_labels_and_blur_hides_the_face(visit):
    clear = snapshot(visit)
    assert clear.size == (640, 480)
    colour = np.abs(np.asarray(clear, int) - (86, 180, 233)).sum(axis=2) < 90
    assert colour.sum() > 200
    box = np.flatnonzero(colour.any(axis=0))
    visit.settings()
    visit.page.get_by_label("Blur faces").check()
    visit.settings()
    visit.page.wait_for_timeout(500)
    blurred = snapshot(visit)
    box_then = np.flatnonzero((np.abs(np.asarray(blurred, int) - (86, 180, 233)).sum(axis=2) < 90).any(axis=0))
    assert sharpness(blurred, box_then[0], box_then[-1]) < 0.5 * sharpness(clear, box[0], box[-1])
    visit.screenshot(PICTURES / "desktop-webcam-blurred.png")


def save_csv(visit):
    with visit.page.expect_download() as caught:
        visit.page.get_by_role("button", name="Save CSV").click()
    assert caught.value.suggested_filename == "webcam-faces.csv"
    return list(csv.DictReader(io.StringIO(Path(caught.value.path()).read_text("utf-8-sig"))))


def count_of(words):
    return int(re.match(r"(\d+) row", words.inner_text())[1])


def test_a_recording_is_a_csv_with_ids_and_clock_times(visit, app):
    box, words = visit.page.get_by_label("Record"), visit.page.locator("#webcam-rows")
    began = datetime.now().astimezone()
    box.check()
    expect(words).to_have_text(re.compile(r"[2-9]\d rows, not saved yet"), timeout=40_000)
    # The tick shows: the browser draws it.
    assert box.evaluate("box => getComputedStyle(box).appearance") == "auto"
    box.uncheck()
    rows = save_csv(visit)
    expect(words).to_have_text(f"{len(rows)} rows saved")
    assert len(rows) >= 20
    assert {row["track_id"] for row in rows} == {"1"}
    face, *columns = rows_of(FaceAnalyzer("compact").analyze(skimage.data.astronaut()))[0]
    assert list(rows[0]) == ["time", "clock", face, "track_id", *columns]
    times = [float(row["time"]) for row in rows]
    assert times[0] == pytest.approx(0, abs=2)
    assert times == sorted(times)
    clocks = [datetime.fromisoformat(row["clock"]) for row in rows]
    # With a zone, else these could not be compared.
    assert began - timedelta(seconds=2) < clocks[0] < clocks[-1] < datetime.now().astimezone() + timedelta(seconds=2)
    passed = (clocks[-1] - clocks[0]).total_seconds()
    assert passed == pytest.approx(times[-1] - times[0], abs=0.01)
    assert not list(app.temporary.rglob("*.csv"))


def test_the_page_is_not_left_with_unsaved_rows(visit):
    asked = []

    def refuse(dialog):
        asked.append(dialog.type)
        dialog.dismiss()

    visit.page.on("dialog", refuse)
    visit.page.get_by_label("Record").check()
    expect(visit.page.locator("#webcam-rows")).to_have_text(re.compile(r"\d+ rows?, not saved yet"), timeout=40_000)
    visit.page.close(run_before_unload=True)
    visit.page.wait_for_timeout(1000)
    assert asked == ["beforeunload"]
    visit.page.get_by_label("Record").uncheck()
    save_csv(visit)
    with visit.page.expect_event("close"):
        visit.page.close(run_before_unload=True)
    assert asked == ["beforeunload"]


def test_a_server_that_is_started_anew_costs_no_row_and_nobody_the_tab(browser, tmp_path):
    with served(tmp_path, "--pack", "compact") as app:
        visit = Visit(browser, app.url, DESKTOP)
        visit.tab("Webcam")
        visit.page.evaluate("window.here = true")
        notice, words = visit.page.locator("#webcam-notice"), visit.page.locator("#webcam-rows")
        visit.page.get_by_label("Record").check()
        expect(words).to_have_text("Recording begins when the camera is on.")
        visit.start_camera()
        expect(words).to_have_text(re.compile(r"\d\d rows, not saved yet"), timeout=40_000)
        app.process.kill()
        expect(notice).to_contain_text("The server does not answer", timeout=40_000)
        before = count_of(words)
        visit.page.wait_for_timeout(3000)
        assert count_of(words) == before
        app.start_anew()
        expect(notice).to_have_text("1 face", timeout=40_000)
        expect(visit.page.locator("#webcam-note")).to_contain_text("The server was away for 0:")
        visit.page.wait_for_timeout(3000)
        assert visit.page.evaluate("window.here")
        visit.stop_camera()
        rows = save_csv(visit)
        assert len(rows) > before
        times = [float(row["time"]) for row in rows]
        assert times == sorted(times)
        assert max(after - time for time, after in itertools.pairwise(times)) > 3
        # Settings are heard of again, and frames of this visitor are answered: the page got another token.
        visit.start_camera()
        expect(notice).to_have_text("1 face", timeout=40_000)
        visit.close()


def on_calls(visit, name, do):
    """Has `do` handle the route of every call of a server function."""

    def handle(route):
        call = route.request.post_data_json
        return do(route) if call["fn_name"] == name else route.fallback()

    visit.page.route(re.compile("component_server"), handle)


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
        visit.stop_camera()
        expect(visit.page.locator("#webcam-cards .fi-card")).to_have_count(1)
        expect(visit.page.locator("#webcam-mood")).to_be_hidden()
        assert visit.errors == []
        visit.close()


def test_a_session_stays_to_be_looked_at_until_the_next_start(visit):
    part = lambda name: visit.page.locator(f"#webcam-{name}")  # noqa: E731
    visit.page.get_by_label("Record").check()
    part("snapshot").click()
    expect(part("rows")).to_have_text(re.compile(r"\d+ rows?, not saved yet"), timeout=40_000)
    visit.page.wait_for_timeout(1500)
    visit.stop_camera()
    expect(part("notice")).to_have_text(re.compile(r"The last session: 1 person in \d:\d\d"))
    expect(part("headline")).to_have_text("The camera is off")
    expect(part("cards").locator(".fi-card")).to_contain_text("seen 0:")
    assert part("cards").locator(".fi-bars output").count() >= 7
    expect(part("who")).to_have_text("Emotion of #1 over the whole time")
    assert part("timeline").evaluate(COLOURED) > 0.8
    assert part("cards").locator("canvas").evaluate(COLOURED) > 0.8
    expect(part("strip").locator("button")).to_have_count(1)
    expect(visit.page.get_by_label("Record")).not_to_be_checked()
    # Another tab, and back.
    visit.tab("Image")
    visit.tab("Webcam")
    assert part("timeline").evaluate(COLOURED) > 0.8
    # With blur, no face of before is shown.
    clear = part("cards").locator("canvas").evaluate("canvas => canvas.toDataURL()")
    visit.settings()
    visit.page.get_by_label("Blur faces").check()
    visit.settings()
    visit.page.wait_for_timeout(300)
    assert part("cards").locator("canvas").evaluate("canvas => canvas.toDataURL()") != clear
    visit.screenshot(PICTURES / "desktop-webcam-session.png")
    kept = count_of(part("rows"))
    visit.start_camera()
    expect(part("strip").locator("button")).to_have_count(0)
    expect(visit.page.locator("#webcam-notice")).to_have_text("1 face", timeout=40_000)
    # Rows that were not saved are never dropped.
    assert len(save_csv(visit)) == kept


def test_a_server_that_does_not_answer_is_said_and_waited_for(visit):
    held = []
    on_calls(visit, "live_frame", held.append)
    notice = visit.page.locator("#webcam-notice")
    expect(notice).to_contain_text("The server does not answer", timeout=20_000)
    visit.page.unroute_all(behavior="ignoreErrors")
    expect(notice).to_have_text("1 face", timeout=20_000)
    assert held


def test_after_a_stop_and_a_start_there_is_one_loop(browser, app):
    visit = Visit(browser, app.url, DESKTOP)
    visit.page.evaluate("() => { delete HTMLVideoElement.prototype.requestVideoFrameCallback }")
    visit.tab("Webcam")
    for _ in range(3):
        visit.start_camera()
        expect(visit.page.locator("#webcam-notice")).to_have_text("1 face", timeout=40_000)
        visit.stop_camera()
    visit.start_camera()
    expect(visit.page.locator("#webcam-notice")).to_have_text("1 face", timeout=40_000)
    paintings = """async () => {
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


HOLD = "window.track = document.querySelector('#webcam-video').srcObject.getVideoTracks()[0]"


def test_the_camera_goes_off_at_stop_when_the_tab_is_left_and_when_the_page_is(visit):
    sent = []
    visit.page.on("request", lambda request: sent.append(request.url) if "component_server" in request.url else None)
    leave = "window.dispatchEvent(new PageTransitionEvent('pagehide'))"
    for go in (visit.stop_camera, lambda: visit.tab("Image"), lambda: visit.page.evaluate(leave)):
        visit.page.evaluate(HOLD)
        assert visit.page.evaluate("track.readyState") == "live"
        assert visit.page.locator("#webcam-overlay").evaluate(COLOURED) > 0
        go()
        visit.page.wait_for_function("track.readyState === 'ended'")
        visit.page.wait_for_timeout(600)
        sent.clear()
        visit.page.wait_for_timeout(600)
        assert sent == []
        visit.tab("Webcam")
        assert visit.page.evaluate("document.querySelector('#webcam-video').srcObject") is None
        expect(visit.page.locator("#webcam-snapshot")).to_be_disabled()
        expect(visit.page.locator("#webcam-table")).to_be_hidden()
        visit.start_camera()
        expect(visit.page.locator("#webcam-notice")).to_have_text("1 face", timeout=40_000)
        visit.page.wait_for_timeout(500)


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
