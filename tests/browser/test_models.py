"""The packs in Models & about, and the choice of one, in a real Chromium."""

from __future__ import annotations

import io
import random
import shutil
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.driving import DESKTOP, Visit
from tests.packs.host import hosting
from tests.serving import served

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(scope="module")
def with_a_download(toy_pack, tmp_path_factory):
    """An app, and a host for what is to be downloaded there: another pack, in one archive."""
    folder = tmp_path_factory.mktemp("download")
    own = folder / "home" / "other"
    shutil.copytree(toy_pack, own)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        # What cannot be packed, so that there is something to see.
        archive.writestr("filler", random.Random(1).randbytes(200_000))
        archive.write(own / "detector.onnx", "detector.onnx")
    (own / "detector.onnx").unlink()
    with hosting() as host:
        host.files["/pack.zip"] = packed.getvalue()
        source = f'url = "{host.url("/pack.zip")}"\nmember = "detector.onnx"'
        text = (own / "pack.toml").read_text().replace('licence = "none"', 'licence = "for tests only"')
        (own / "pack.toml").write_text(text.replace("[detector]", f"[detector]\n{source}"))
        with served(folder, "--pack", toy_pack, FACEINSIGHT_HOME=str(own.parent)) as app:
            yield app, host


def test_a_pack_is_downloaded_with_consent_chosen_and_removed(browser, with_a_download):
    app, host = with_a_download
    visit = Visit(browser, app.url, DESKTOP)
    page = visit.page
    visit.tab("Models & about")
    pack, notice = page.locator("article[data-pack=other]"), page.locator("#models-notice")
    expect(page.locator("article")).to_have_count(4)
    expect(pack.locator(".fi-state")).to_have_text("incomplete")
    pack.get_by_role("button", name="Download…").click()
    expect(pack.get_by_role("listitem").first).to_have_text("for tests only")
    start = pack.get_by_role("button", name="Download", exact=True)
    expect(start).to_be_disabled()
    host.always = "500"
    pack.get_by_label("I have read and accept").check()
    start.click()
    # It is waited for, and said so; then nobody wants it any more.
    expect(pack.locator("[data-part=download]")).to_contain_text("another try in")
    pack.get_by_role("button", name="Cancel").click()
    expect(notice).to_contain_text("was cancelled")
    for fault, words in (("403", "the server answered 403"), ("", "1 file of other downloaded and verified")):
        host.always = fault
        pack.get_by_role("button", name="Download…").click()
        pack.get_by_label("I have read and accept").check()
        start.click()
        expect(notice).to_contain_text(words)
    expect(pack.locator(".fi-state")).to_have_text("Here")
    pack.get_by_role("button", name="Verify").click()
    expect(notice).to_contain_text("files of other are right")
    visit.settings()
    page.locator("#pack input").click()
    page.get_by_role("option", name="other").click()
    expect(page.locator("#status")).to_contain_text("Pack other")
    page.keyboard.press("Escape")
    pack.get_by_role("button", name="Remove").click()
    expect(notice).to_contain_text("1 file of other removed")
    expect(pack.locator(".fi-state")).to_have_text("incomplete")
    assert not visit.errors
    assert not visit.elsewhere
    visit.close()


def test_a_pack_that_cannot_be_loaded_leaves_the_choice_as_it_was(browser, with_a_download):
    app, _ = with_a_download
    visit = Visit(browser, app.url, DESKTOP)
    page = visit.page
    spoilt = Path(app.temporary.parent / "home" / "spoilt")
    shutil.copytree(app.temporary.parent / "home" / "other", spoilt)
    (spoilt / "pack.toml").write_text('[detector]\nfile = "genderage.onnx"\n')
    page.reload()
    visit.settings()
    page.locator("#pack input").click()
    page.get_by_role("option", name="spoilt").click()
    expect(page.locator("#status")).to_contain_text("⚠️")
    expect(page.locator("#status")).to_contain_text("Pack toy")
    expect(page.locator("#pack input")).to_have_value("toy")
    visit.close()


def test_strangers_are_told_who_downloads(browser, with_a_download):
    app, _ = with_a_download
    visit = Visit(browser, app.url, DESKTOP)
    # As through a server before this one.
    visit.page.set_extra_http_headers({"X-Forwarded-For": "192.0.2.1"})
    visit.page.reload()
    visit.page.wait_for_selector("#image-input")
    visit.tab("Models & about")
    expect(visit.page.locator("#models-why")).to_contain_text("Whoever runs this page decides")
    expect(visit.page.locator("article[data-pack=buffalo_s] .fi-state")).to_have_text("not here")
    assert visit.page.locator("#models button:visible").count() == 0
    expect(visit.page.locator("#about")).to_contain_text("Do not use them")
    visit.close()
