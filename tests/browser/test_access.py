"""Everybody can use the page: axe looks at every tab, in both themes, empty and with results."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

from tests.browser.driving import DESKTOP, PHONE, TABS, Visit
from tests.toy_media import toy_frames, write_clip

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


def failures(visit: Visit) -> list[str]:
    """What is wrong with the page as it stands, of what axe calls serious or critical."""
    visit.page.wait_for_timeout(400)  # lets colours come to rest
    found = Axe().run(visit.page, options=RULES).response["violations"]
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def show(visit: Visit, tab: str, folder, two_faces) -> None:
    """Has a tab show what it shows when it is used."""
    if tab == "Image":
        Image.fromarray(two_faces).save(folder / "photo.png")
        visit.upload("#image-input", folder / "photo.png")
        visit.page.locator(".fi-card").first.click()
    if tab == "Video":
        visit.upload("#video-input", write_clip(folder / "clip.mp4", toy_frames(1) * 8))
        expect(visit.page.locator("#video-run")).to_be_enabled()
        visit.page.locator("#video-run").click()
        visit.page.locator("#video-table summary").click()
        visit.page.locator("#video-cards .fi-card").first.click()
    if tab == "Webcam":
        visit.settings()
        smallest = visit.page.get_by_label("number input for Smallest face")
        smallest.fill("16")  # toy faces have 32 pixels
        smallest.press("Enter")
        visit.settings()
        visit.start_camera()
        expect(visit.page.locator(".fi-card:visible").first).to_be_visible()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_serious_stands_in_the_way(browser, app, two_faces, tmp_path, tab, dark, size):
    visit = Visit(browser, app.url, size, dark)
    visit.tab(tab)
    assert failures(visit) == []
    if size is DESKTOP:
        show(visit, tab, tmp_path, two_faces)
        assert failures(visit) == []
        visit.settings()
        assert failures(visit) == []
    visit.close()
