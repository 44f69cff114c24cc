"""What a session at the camera leaves: snapshots, rows, people; nothing of it is lost unasked."""

from __future__ import annotations

import csv
import io
import itertools
import re
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image
from playwright.sync_api import expect

from faceinsight import FaceAnalyzer
from faceinsight.export import rows_of
from tests.browser.driving import COLOURED, DESKTOP, Visit
from tests.conftest import ROOT
from tests.serving import served

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]
PICTURES = ROOT / "test-results"
PICTURE = "canvas => canvas.toDataURL()"


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


def test_nor_with_unsaved_snapshots(visit):
    asked = []
    visit.page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    kept = visit.page.locator("#webcam-kept")
    visit.page.locator("#webcam-snapshot").click()
    expect(kept).to_have_text("1 snapshot not saved yet: a click saves one.")
    visit.page.close(run_before_unload=True)
    visit.page.wait_for_timeout(1000)
    assert asked == ["beforeunload"]
    visit.saved("#webcam-strip button")
    expect(kept).to_be_empty()
    with visit.page.expect_event("close"):
        visit.page.close(run_before_unload=True)
    assert asked == ["beforeunload"]


MANY = """async (url) => {
    const { Session, Snapshots } = await import(url);
    const [strip, words] = [document.createElement("div"), document.createElement("p")];
    const snapshots = new Snapshots(strip, words);
    const picture = Object.assign(document.createElement("canvas"), { width: 64, height: 48 });
    for (let n = 0; n < 26; n += 1) snapshots.add(picture, false);
    await new Promise((done) => setTimeout(done, 1500));
    const session = new Session();
    const face = { color: "red", age: 30, range: null, gender: null, emotion: null };
    for (let n = 1; n <= 104; n += 1) for (const at of [0, 400]) session.add([{ ...face, id: n }], 1000 * n + at);
    return [strip.children.length, words.textContent, session.people.length, session.left];
}"""


def test_what_is_not_kept_any_more_is_said(visit):
    shown, words, people, left = visit.page.evaluate(MANY, visit.module("session.js"))
    assert (shown, people) == (24, 100)
    assert words == (
        "24 snapshots not saved yet: a click saves one. Only the last 24 are kept: 2 snapshots went unsaved."
    )
    assert left == "More than 100 people: those seen for the shortest time were left out (4)."


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
        # Whoever is new to the server has a number that nobody had.
        ids = [int(row["track_id"]) for row in rows]
        assert ids == sorted(ids)
        assert 1 == ids[0] < ids[-1]
        # Settings are heard of again, and frames of this visitor are answered: the page got another token.
        visit.start_camera()
        expect(notice).to_have_text("1 face", timeout=40_000)
        visit.close()


def test_a_session_stays_to_be_looked_at_until_the_next_start(visit):
    def part(name):
        return visit.page.locator(f"#webcam-{name}")

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
    clear, taken = (part(name).locator("canvas").evaluate(PICTURE) for name in ("cards", "strip"))
    visit.settings()
    visit.page.get_by_label("Blur faces").check()
    visit.settings()
    visit.page.wait_for_timeout(300)
    assert part("cards").locator("canvas").evaluate(PICTURE) != clear
    assert part("strip").locator("canvas").evaluate(PICTURE) != taken
    expect(part("kept")).to_contain_text("Those taken without blur are saved as they were taken.")
    visit.screenshot(PICTURES / "desktop-webcam-session.png")
    kept = count_of(part("rows"))
    visit.start_camera()
    expect(part("strip").locator("button")).to_have_count(0)
    expect(visit.page.locator("#webcam-notice")).to_have_text("1 face", timeout=40_000)
    # Rows that were not saved are never dropped.
    assert len(save_csv(visit)) == kept
