"""The Webcam tab while the camera is on, in a real browser."""

from __future__ import annotations

import re
import shutil
from itertools import accumulate

import pytest
from playwright.sync_api import expect

from faceinsight.packs.locate import bundled_models
from tests.browser.driving import ARGS, COLOURED, DESKTOP, MOVES, PHONE, Visit
from tests.conftest import ROOT
from tests.serving import served

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]
PICTURES = ROOT / "test-results"


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
    overlay = visit.page.locator("#webcam-overlay")
    with_label = overlay.evaluate(COLOURED)
    visit.settings()
    for label in ("Number", "Age", "Gender", "Emotion"):
        visit.page.get_by_label(label, exact=True).uncheck()
    visit.page.wait_for_timeout(500)
    assert 0 < overlay.evaluate(COLOURED) < with_label / 1.5
    smallest = visit.page.get_by_label(re.compile("number input for Smallest face"))
    smallest.fill("400")
    smallest.press("Enter")
    expect(visit.page.locator("#webcam-notice")).to_have_text("0 faces")
    expect(visit.page.locator("#webcam-table td")).to_have_count(0)


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


def test_the_camera_goes_off_where_nobody_looks_for_a_minute(visit):
    visit.page.evaluate(HOLD)
    visit.page.evaluate(
        """() => {
            const [set, clear] = [window.setTimeout, window.clearTimeout];
            window.setTimeout = (act, ms, ...rest) => {
                if (ms === 60000) window.minute = act;
                return ms === 60000 ? -1 : set(act, ms, ...rest);
            };
            window.clearTimeout = (id) => (id === -1 ? delete window.minute : clear(id));
            window.look = (hidden) => {
                Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
                document.dispatchEvent(new Event('visibilitychange'));
            };
        }"""
    )
    visit.page.evaluate("look(true)")
    assert visit.page.evaluate("typeof minute") == "function"
    # Who is back sooner finds it on.
    visit.page.evaluate("look(false)")
    assert visit.page.evaluate("[typeof minute, track.readyState]") == ["undefined", "live"]
    visit.page.evaluate("look(true); minute()")
    assert visit.page.evaluate("track.readyState") == "ended"
    expect(visit.page.locator("#webcam-headline")).to_have_text("The camera is off")


def test_a_page_without_https_says_why_there_is_no_camera(playwright, executable, app):
    # A name that is not this machine's, which the browser finds here all the same.
    args = [*ARGS, "--host-resolver-rules=MAP faces.test 127.0.0.1"]
    browser = playwright.chromium.launch(executable_path=executable, args=args)
    visit = Visit(browser, app.url.replace("127.0.0.1", "faces.test"), DESKTOP)
    visit.tab("Webcam")
    visit.start_camera()
    sentence = "The browser gives no camera to this page: open it on https or on localhost."
    expect(visit.page.locator("#camera-problem")).to_have_text(sentence)
    expect(visit.page.get_by_role("button", name="Start camera")).to_be_visible()
    browser.close()


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
            # A busy machine may need more than the first second.
            shown = accumulate(visit.updates(1) for _ in range(30))
            assert any(updates >= 2 for updates in shown)
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
