"""The Image tab, used as a visitor uses it, with toy models that answer predictably."""

from __future__ import annotations

import base64
import csv
import io
import json
import re

import pytest
from PIL import Image
from playwright.sync_api import expect

from faceinsight import __version__
from tests.browser.driving import PHONE, Visit
from tests.toy_models import EMOTIONS_8, toy_picture

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def test_a_picture_becomes_labels_cards_a_table_and_files(visit, photo):
    visit.show(photo)
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

    files = dict(visit.saved(f"#image-{kind}") for kind in ("csv", "json", "save"))
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
    visit.show(photo)
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


PIXELS = """() => {
        const canvas = document.getElementById('image-overlay');
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let count = 0;
        for (let n = 3; n < data.length; n += 4) count += data[n] > 0;
        return count / (canvas.width * canvas.height);
    }"""


def pixels(visit):
    """What the overlay has drawn: how many pixels are not clear."""
    return visit.page.evaluate(PIXELS)


def test_labels_go_while_a_button_is_held_and_blur_covers_the_only_picture(visit, photo):
    visit.show(photo)
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
    visit.show(photo)
    broken = tmp_path / "broken.jpg"
    broken.write_text("only text")
    visit.upload("#image-input", broken)
    expect(visit.page.locator(".fi-card")).to_have_count(0)
    expect(visit.page.locator("#image-table")).to_be_hidden()
    expect(visit.page.locator("#image-problem")).to_contain_text("broken.jpg is not an image that can be read")
    expect(visit.page.locator("#image-save")).to_be_disabled()
    visit.show(photo)
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
    name, content = visit.saved("#image-csv")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert name == "faces.csv"
    assert [row["file"] for row in rows] == ["photo.png"] * 2 + ["crowd.png"] * 5 + ["broken.png"]
    records = json.loads(visit.saved("#image-json")[1])
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
    visit.show(photo)
    for part in ("#image-picture", ".fi-card"):
        box = visit.page.locator(part).first.bounding_box()
        assert box["y"] + box["height"] <= size["height"] * screens, part
    visit.close()


def test_the_settings_change_the_picture_at_once(visit, photo):
    visit.show(photo)
    before = pixels(visit)
    visit.settings()
    for label in ("Number", "Age", "Gender", "Emotion"):
        visit.page.get_by_label(label, exact=True).uncheck()
    visit.page.wait_for_function("window.faceInsightSettings[3].length === 1")
    visit.page.wait_for_function(f"({PIXELS})() < {before}")
    smallest = visit.page.get_by_label(re.compile("number input for Smallest face"))
    smallest.fill("100")
    smallest.press("Enter")
    expect(visit.page.locator("#image-notice")).to_contain_text("No face found")
    assert visit.errors == []


def test_of_settings_that_change_one_after_another_the_last_ones_count(visit, photo):
    visit.show(photo)
    visit.settings()
    smallest = visit.page.get_by_label(re.compile("number input for Smallest face"))
    for n in range(24):
        visit.page.get_by_label("Age", exact=True).click()
        visit.page.wait_for_timeout(10 * n)
        smallest.fill("4" if n % 2 else "100")
        smallest.press("Enter")
        expect(visit.page.locator("#image-notice")).to_contain_text("2 faces" if n % 2 else "No face found")


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


def test_a_hundred_faces(visit, tmp_path):
    cells = {(c, r): (255, 230, 200) for r in range(0, 20, 2) for c in range(0, 20, 2)}
    Image.fromarray(toy_picture(cells, size=(640, 640))).save(tmp_path / "crowd.png")
    visit.upload("#image-input", tmp_path / "crowd.png")
    expect(visit.page.locator("#image-notice")).to_contain_text("100 faces")
