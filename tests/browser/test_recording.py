"""The webcam's recording by itself: what it asks of a server, says and saves, whatever the server does."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]

# A recording with a server that answers as it is told to; what is asked and saved is kept.
MAKE = """async (url) => {
    const { Recording } = await import(url);
    const box = Object.assign(document.createElement("input"), { type: "checkbox", id: "tick", disabled: true });
    const words = Object.assign(document.createElement("p"), { id: "words" });
    document.body.replaceChildren(box, words);
    Object.assign(window, { asked: [], saved: [], answers: [] });
    HTMLAnchorElement.prototype.click = function () { saved.push(this.download); };
    window.recording = new Recording(box, words, async (number) => {
        asked.push(number);
        const answer = answers.shift();
        if (!answer) throw new Error("the server is away");
        return answer;
    });
}"""


@pytest.fixture
def page(visit):
    visit.page.evaluate(MAKE, visit.module("recording.js"))
    return visit.page


def tick(page, answer=None):
    """Ticks or unticks the box, where the server answers with `answer`; returns what is said then."""
    page.evaluate(
        """async (answer) => {
            if (answer) answers.push(answer);
            document.getElementById("tick").click();
            await new Promise((done) => setTimeout(done, 20));
        }""",
        answer,
    )
    return page.locator("#words").inner_text()


def rows(page, number, rows, full=False):
    """Takes in the answer to a frame; returns what is said."""
    page.evaluate(
        "([number, answer]) => { recording.take(answer, number); recording.show(answer); }",
        [number, {"rows": rows, "full": full}],
    )
    return page.locator("#words").inner_text()


def state(page):
    return page.evaluate(
        "[recording.number, document.getElementById('tick').checked, document.getElementById('tick').disabled]"
    )


def test_it_can_be_ticked_as_soon_as_it_listens(page):
    assert state(page) == [0, False, False]


def test_a_recording_counts_and_is_saved(page):
    assert tick(page) == ""
    assert state(page) == [1, True, False]
    assert rows(page, 1, 12) == "· 12 rows"
    assert rows(page, 1, 20000, full=True) == "· full at 20000 rows: untick to download"
    assert tick(page, {"rows": 3, "csv": "time\n"}) == ""
    assert page.evaluate("[asked, saved]") == [[1], ["webcam-faces.csv"]]
    # The next one is another one.
    tick(page)
    assert state(page) == [2, True, False]


def test_nothing_recorded_is_said_and_nothing_saved(page):
    tick(page)
    assert tick(page, {"rows": 0}) == "· nothing was recorded"
    assert page.evaluate("saved") == []
    assert state(page) == [0, False, False]


def test_after_a_lost_answer_the_same_recording_goes_on(page):
    tick(page)
    rows(page, 1, 5)
    assert tick(page) == "· the server does not answer: untick again"
    assert state(page) == [1, True, False]
    assert rows(page, 1, 7) == "· the server does not answer: untick again"
    assert tick(page, {"rows": 7, "csv": "time\n"}) == ""
    assert page.evaluate("[asked, saved.length]") == [[1, 1], 1]


def test_rows_that_the_server_forgot_are_told(page):
    tick(page)
    rows(page, 1, 40)
    assert rows(page, 1, 2) == "· 2 rows; the server forgot the 40 before"
    # An answer to a frame of an earlier recording counts for nothing.
    assert rows(page, 9, 1) == "· 1 rows; the server forgot the 40 before"
