"""The page, used as a visitor uses it, with toy models that answer predictably."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from pathlib import Path

import av
import pytest
from PIL import Image
from playwright.sync_api import expect

from faceinsight import __version__
from tests.browser.driving import DESKTOP, PHONE, TABS, Visit, chromium
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


def test_a_page_says_that_it_is_open_after_a_lost_connection(visit):
    sent = []
    visit.page.on("request", lambda request: sent.append(request) if request.url.endswith("/app_id") else None)
    for told in ("window.dispatchEvent(new Event('online'))", "clock"):
        visit.page.wait_for_timeout(300)
        sent.clear()
        if told == "clock":
            # The script finds the clock that ticks when it is loaded.
            visit.page.clock.install()
            visit.page.reload()
            visit.page.wait_for_selector("#image-choose:enabled")
            visit.page.clock.fast_forward(31_000)
        else:
            visit.page.wait_for_selector("#image-choose:enabled")
            visit.page.evaluate(told)
        visit.page.wait_for_timeout(1000)
        assert [request.response().status for request in sent] == [200]


def saved(visit, button):
    with visit.page.expect_download() as caught:
        visit.page.locator(button).click()
    return caught.value.suggested_filename, Path(caught.value.path()).read_bytes()


def show(visit, photo, words="2 faces"):
    visit.upload("#image-input", photo)
    expect(visit.page.locator("#image-notice")).to_contain_text(words)


def test_a_picture_becomes_labels_cards_a_table_and_files(visit, photo):
    show(visit, photo)
    expect(visit.page.locator("#image-picture")).to_be_visible()
    first, second = visit.page.locator(".fi-card").all()
    years = re.search(r"#1\s*(\d+) years", first.inner_text())
    assert 90 <= int(years[1]) <= 95
    assert "female" in first.inner_text()
    assert "male" in second.inner_text()
    rows = visit.rows("#image-table")
    assert [row[0] for row in rows] == ["1", "2"]
    assert rows[0][4].split()[0] in EMOTIONS_8
    expect(visit.page.locator("#status")).to_contain_text("ms per frame")

    files = dict(saved(visit, f"#image-{kind}") for kind in ("csv", "json", "save"))
    assert list(files) == ["photo.csv", "photo.json", "photo-faces.jpg"]
    rows = list(csv.DictReader(io.StringIO(files["photo.csv"].decode("utf-8-sig"))))
    assert [row["gender"] for row in rows] == ["female", "male"]
    record = json.loads(files["photo.json"])
    assert len(record["faces"]) == 2
    assert (record["version"], record["pack"], record["det_threshold"]) == (__version__, "toy", 0.5)
    assert Image.open(io.BytesIO(files["photo-faces.jpg"])).size == (640, 480)


def chosen(visit):
    """Who is chosen on the cards and in the table."""
    card = visit.page.locator(".fi-card[aria-selected=true] b").first
    row = visit.page.locator("#image-table .fi-chosen td").first
    return card.inner_text(), row.inner_text()


def test_who_is_chosen_anywhere_is_chosen_everywhere(visit, photo):
    show(visit, photo)
    assert visit.page.locator(".fi-card[aria-selected=true]").count() == 0
    visit.page.locator("#image-table tbody tr").nth(1).click()
    assert chosen(visit) == ("#2", "2")
    bars = visit.page.locator(".fi-card[aria-selected=true] .fi-bars")
    assert sum(name in bars.inner_text() for name in EMOTIONS_8) == 8
    # The first toy face lies around (112, 80) of 640 x 480.
    frame = visit.page.locator("#image-frame").bounding_box()
    scale = min(frame["width"] / 640, frame["height"] / 480)
    left, top = (frame["width"] - 640 * scale) / 2, (frame["height"] - 480 * scale) / 2
    visit.page.mouse.click(frame["x"] + left + 112 * scale, frame["y"] + top + 80 * scale)
    assert chosen(visit) == ("#1", "1")
    visit.page.locator("#image-frame").press("ArrowRight")
    assert chosen(visit) == ("#2", "2")
    visit.page.locator(".fi-card[aria-selected=true]").press("ArrowUp")
    assert chosen(visit) == ("#1", "1")
    assert visit.errors == []


def pixels(visit):
    """What the overlay has drawn: how many pixels are not clear."""
    script = """() => {
        const canvas = document.getElementById('image-overlay');
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let count = 0;
        for (let n = 3; n < data.length; n += 4) count += data[n] > 0;
        return count / (canvas.width * canvas.height);
    }"""
    return visit.page.evaluate(script)


def test_labels_go_while_a_button_is_held_and_blur_covers_the_only_picture(visit, photo):
    show(visit, photo)
    labelled = pixels(visit)
    assert 0 < labelled < 0.5
    button = visit.page.locator("#image-bare")
    button.hover()
    visit.page.mouse.down()
    assert pixels(visit) == 0
    visit.page.mouse.up()
    assert pixels(visit) == labelled
    visit.settings()
    visit.page.get_by_label("Blur faces").check()
    visit.settings()
    visit.page.wait_for_timeout(300)
    assert pixels(visit) > 0.6
    button.hover()
    visit.page.mouse.down()
    assert pixels(visit) > 0.6
    visit.page.mouse.up()


def test_an_old_result_goes_the_moment_another_picture_is_chosen(visit, photo, tmp_path):
    show(visit, photo)
    broken = tmp_path / "broken.jpg"
    broken.write_text("only text")
    visit.upload("#image-input", broken)
    expect(visit.page.locator(".fi-card")).to_have_count(0)
    expect(visit.page.locator("#image-table")).to_be_hidden()
    expect(visit.page.locator("#image-problem")).to_contain_text("broken.jpg is not an image that can be read")
    expect(visit.page.locator("#image-save")).to_be_disabled()
    show(visit, photo)
    expect(visit.page.locator("#image-problem")).to_be_empty()
    visit.page.locator("#image-clear").click()
    expect(visit.page.locator("#image-empty")).to_be_visible()
    expect(visit.page.locator(".fi-card")).to_have_count(0)


def test_several_photos_make_a_strip_one_table_and_one_file(visit, photo, tmp_path):
    crowd = tmp_path / "crowd.png"
    Image.fromarray(toy_picture({(c, 4): (255, 230, 200) for c in range(0, 18, 4)})).save(crowd)
    broken = tmp_path / "broken.png"
    broken.write_bytes(photo.read_bytes()[:200])
    visit.page.set_input_files("#image-input input[type=file]", [str(photo), str(crowd), str(broken)])
    expect(visit.page.locator("#image-notice")).to_have_text("3 photos, 7 faces")
    strip = visit.page.locator("#image-strip button")
    assert [button.inner_text() for button in strip.all()] == ["2", "5", "!"]
    strip.nth(1).click()
    expect(visit.page.locator(".fi-card")).to_have_count(5)
    strip.nth(2).click()
    expect(visit.page.locator("#image-problem")).to_contain_text("broken.png is damaged or cut short")
    name, content = saved(visit, "#image-csv")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert name == "faces.csv"
    assert [row["file"] for row in rows] == ["photo.png"] * 2 + ["crowd.png"] * 5 + ["broken.png"]
    records = json.loads(saved(visit, "#image-json")[1])
    assert [len(record.get("faces", [])) for record in records] == [2, 5, 0]
    assert "damaged" in records[2]["error"]
    assert visit.errors == []


def test_a_picture_is_pasted_and_one_that_browsers_cannot_show_gets_a_preview(visit, two_faces, tmp_path):
    tiff = tmp_path / "scan.tif"
    Image.fromarray(two_faces).save(tiff)
    script = """async (data) => {
        const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
        const clipboardData = new DataTransfer();
        clipboardData.items.add(new File([bytes], 'scan.tif', {type: 'image/tiff'}));
        document.dispatchEvent(new ClipboardEvent('paste', {clipboardData, bubbles: true}));
    }"""
    expect(visit.page.locator("#image-choose")).to_be_enabled()
    visit.page.evaluate(script, base64.b64encode(tiff.read_bytes()).decode())
    expect(visit.page.locator("#image-notice")).to_contain_text("2 faces")
    expect(visit.page.locator("#image-picture")).to_be_visible()
    shown = visit.page.locator("#image-picture")
    assert shown.get_attribute("src").startswith("data:image/jpeg;base64,")
    assert shown.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [640, 480]


def test_a_photo_is_taken_and_the_camera_goes_off(visit):
    visit.page.evaluate(
        """() => {
            const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            navigator.mediaDevices.getUserMedia = async (wanted) => (window.opened = await open(wanted));
        }"""
    )
    visit.page.locator("#image-snap").click()
    visit.page.locator("#image-take").click()
    expect(visit.page.locator("#image-notice")).to_contain_text("2 faces")
    assert visit.page.evaluate("window.opened.getTracks().map(track => track.readyState)") == ["ended"]
    expect(visit.page.locator("#image-snapping")).to_be_hidden()


@pytest.mark.parametrize(("size", "screens"), [({"width": 1280, "height": 720}, 1.0), (PHONE, 1.5)])
def test_the_result_is_seen_without_much_scrolling(browser, app, photo, size, screens):
    visit = Visit(browser, app.url, size)
    show(visit, photo)
    for part in ("#image-picture", ".fi-card"):
        box = visit.page.locator(part).first.bounding_box()
        assert box["y"] + box["height"] <= size["height"] * screens, part
    visit.close()


def test_the_settings_change_the_picture_at_once(visit, photo):
    show(visit, photo)
    before = pixels(visit)
    visit.settings()
    for label in ("Number", "Age", "Gender", "Emotion"):
        visit.page.get_by_label(label, exact=True).uncheck()
    visit.page.wait_for_function("window.faceInsightSettings[3].length === 1")
    visit.page.wait_for_timeout(1500)
    assert pixels(visit) < before
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


def test_examples_are_one_click_away(visit):
    visit.page.locator("#image-empty button").first.click()
    # Toy models see no face in a real photo, and the page says so.
    expect(visit.page.locator("#image-notice")).to_contain_text("face")
    expect(visit.page.locator("#image-picture")).to_be_visible()


def test_an_example_clip_is_one_click_away(visit):
    visit.tab("Video")
    visit.page.locator("#video-empty button").click()
    expect(visit.page.locator("#video-notice")).to_contain_text("4.0 seconds, 640 x 480 pixels")
    visit.page.wait_for_function("document.querySelector('#video-player').videoWidth === 640")


def test_without_a_camera_the_page_says_what_to_do(playwright, executable, app, photo):
    with chromium(playwright, executable) as browser:
        visit = Visit(browser, app.url, DESKTOP)
        visit.tab("Webcam")
        visit.start_camera()
        problem = visit.page.locator("#camera-problem")
        expect(problem).to_have_text("No camera was found: plug one in and try again.")
        expect(problem).to_be_visible()
        visit.tab("Image")
        visit.upload("#image-input", photo)
        expect(visit.page.locator("#image-notice")).to_contain_text("2 faces")
        visit.close()


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
    name, content = saved(visit, "#video-csv")
    assert name == "clip.csv"
    assert len(list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))) == 25
    people = list(csv.DictReader(io.StringIO(saved(visit, "#video-people")[1].decode("utf-8-sig"))))
    assert [person["track_id"] for person in people] == ["1"]
    record = json.loads(saved(visit, "#video-json")[1])
    assert (record["file"], record["version"], record["min_face"]) == ("clip.mp4", __version__, 0)
    assert visit.errors == []


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
