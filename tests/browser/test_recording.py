"""The webcam's recording by itself: what it keeps, says and saves."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from faceinsight import rows_of, to_csv
from tests.test_export import BARE, FULL, analysis

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]

# A recording of at most five rows; what is saved is kept.
MAKE = """async (url) => {
    const { Recording } = await import(url);
    const box = Object.assign(document.createElement("input"), { type: "checkbox", id: "tick", disabled: true });
    const button = Object.assign(document.createElement("button"), { id: "save" });
    const words = Object.assign(document.createElement("p"), { id: "words" });
    document.body.replaceChildren(box, button, words);
    window.saved = [];
    const make = URL.createObjectURL;
    URL.createObjectURL = (content) => { saved.push(content); return make(content); };
    HTMLAnchorElement.prototype.click = function () { window.name = this.download; };
    window.recording = new Recording({ box, button, words }, 5);
}"""
ROW = {"face": 1, "age": 30.5, "gender": "female", "emotion": None}


@pytest.fixture
def page(visit):
    visit.page.evaluate(MAKE, visit.module("recording.js"))
    return visit.page


def tick(page):
    page.evaluate("document.getElementById('tick').click()")
    return page.locator("#words").inner_text()


def camera(page, on=True):
    page.evaluate("(on) => on ? recording.begin() : recording.end()", on)
    return page.locator("#words").inner_text()


def add(page, rows, taken_at=1000):
    page.evaluate("([rows, at]) => recording.add(rows, at)", [rows, taken_at])
    return page.locator("#words").inner_text()


def saved(page):
    page.evaluate("document.getElementById('save').click()")
    # The byte-order mark is gone by then.
    text = page.evaluate("saved.at(-1).text()")
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def test_it_can_be_ticked_as_soon_as_it_listens(page):
    assert page.evaluate("document.getElementById('tick').disabled") is False


def test_ticked_while_the_camera_is_off_it_says_so(page):
    assert tick(page) == "Recording begins when the camera is on."
    assert add(page, [ROW]) == "Recording begins when the camera is on."
    assert camera(page) == "Recording: no face so far."
    assert add(page, [ROW]) == "1 row, not saved yet"
    assert camera(page, on=False) == "1 row, not saved yet"
    assert page.evaluate("document.getElementById('tick').checked") is False


def test_rows_are_saved_with_their_times(page):
    camera(page)
    tick(page)
    add(page, [], 500)
    add(page, [ROW, ROW | {"face": 2}], 1500)
    rows = saved(page)
    assert page.evaluate("window.name") == "webcam-faces.csv"
    assert [(row["time"], row["face"], row["age"], row["emotion"]) for row in rows] == [
        ("1", "1", "30.5", ""),
        ("1", "2", "30.5", ""),
    ]
    there = page.evaluate("performance.timeOrigin + 1500")
    assert page.evaluate("(clock) => Date.parse(clock)", rows[0]["clock"]) == pytest.approx(there, abs=1)
    assert page.locator("#words").inner_text() == "2 rows saved"


def test_the_zone_is_the_visitors(page):
    camera(page)
    tick(page)
    for minutes, ending in ((-330, "+05:30"), (210, "-03:30"), (0, "+00:00")):
        page.evaluate("(minutes) => { Date.prototype.getTimezoneOffset = () => minutes; }", minutes)
        add(page, [ROW])
        assert saved(page)[-1]["clock"].endswith(ending)


def test_it_is_bounded_and_has_no_gaps(page):
    camera(page)
    tick(page)
    for _ in range(2):
        add(page, [ROW, ROW])
    assert add(page, [ROW, ROW]) == "Full at 4 rows: save them, then record anew."
    add(page, [ROW])
    assert len(saved(page)) == 4


def test_what_was_not_saved_stays_and_what_was_gives_way(page):
    camera(page)
    tick(page)
    add(page, [ROW])
    tick(page)
    tick(page)
    assert add(page, [ROW]) == "2 rows, not saved yet"
    camera(page, on=False)
    camera(page)
    assert page.evaluate("recording.unsaved") == 2
    assert len(saved(page)) == 2
    assert tick(page) == "Recording: no face so far."
    assert add(page, [ROW], 9000) == "1 row, not saved yet"
    assert saved(page)[0]["time"] == "0"


def test_text_is_safe_for_spreadsheets_and_columns_may_differ(page):
    camera(page)
    tick(page)
    add(page, [ROW | {"gender": "=1+1"}, ROW | {"mood": 'so, "so"', "valence": -0.5}])
    first, second = saved(page)
    assert first["gender"] == "'=1+1"
    assert (first["mood"], second["mood"], second["valence"]) == ("", 'so, "so"', "-0.5")


def test_it_has_the_columns_and_values_of_the_other_tables(page):
    camera(page)
    tick(page)
    rows = rows_of(analysis(*(replace(face, raw=face, track_id=number) for number, face in ((7, FULL), (None, BARE)))))
    add(page, rows)
    recorded = saved(page)
    assert all(row.pop("clock") for row in recorded)
    expected = list(csv.DictReader(io.StringIO(to_csv([{"time": 0} | row for row in rows]))))
    assert list(recorded[0]) == list(expected[0])
    assert [list(map(plain, row.values())) for row in recorded] == [list(map(plain, row.values())) for row in expected]


def plain(cell):
    """Returns a cell's number, or its text."""
    try:
        return float(cell)
    except ValueError:
        return cell
