"""The page as a whole, used as a visitor uses it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.driving import DESKTOP, PHONE, TABS, Visit, chromium

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def test_the_page_is_whole_and_asks_nobody_else(visit):
    assert visit.page.title() == "FaceInsight"
    expect(visit.page.locator("#status")).to_contain_text("Pack toy · CPU")
    for name in TABS:
        visit.tab(name)
        expect(visit.page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
    assert visit.elsewhere == []
    assert visit.errors == []


def test_nothing_moves_sideways_from_tab_to_tab_nor_when_a_result_comes(visit, photo):
    def edges() -> set[float]:
        """Returns where the name, the tabs and the stage begin, and where the drawer's button and the tabs end."""
        left = [visit.page.locator(part).bounding_box()["x"] for part in ("#header h1", ".tabs")]
        left += [box["x"] for part in visit.page.locator(".fi-stage").all() if (box := part.bounding_box())]
        right = [visit.page.locator(part).bounding_box() for part in ("#settings-button", ".tabs")]
        return {*map(round, left), *(round(box["x"] + box["width"]) for box in right)}

    seen = []
    for name in TABS:
        visit.tab(name)
        visit.page.wait_for_timeout(300)
        seen.append(edges())
    visit.tab("Image")
    visit.upload("#image-input", photo)
    expect(visit.page.locator("#image-notice")).to_contain_text("2 faces")
    seen.append(edges())
    assert seen == [{32, 1248}] * len(seen)


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


@pytest.mark.parametrize("name", TABS)
def test_a_phone_shows_every_tab_without_sideways_scrolling(browser, app, photo, name):
    visit = Visit(browser, app.url, PHONE)
    visit.upload("#image-input", photo)
    expect(visit.page.locator("#image-notice")).to_contain_text("2 faces")
    visit.tab(name)
    visit.page.wait_for_timeout(300)
    assert visit.overflow() <= 0
    visit.close()
