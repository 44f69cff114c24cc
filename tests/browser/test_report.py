"""The report, opened as a file: whole, readable in both themes, and asking nobody for anything."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from faceinsight.cli import main
from tests.browser.driving import DESKTOP, PHONE
from tests.browser.test_access import RULES
from tests.toy_media import toy_frames, write_clip
from tests.toy_models import toy_picture

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(scope="module")
def report(toy_pack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    files = folder / "files"
    files.mkdir()
    for n in range(6):
        faces = {(3 * n % 17, 2): (255, 240, 200), (10, 8): (200, 40 * n, 255)}
        Image.fromarray(toy_picture(faces if n else {})).resize((1280, 960)).save(files / f"{n}.png")
    (files / "<img src=x onerror=document.title=1>.jpg").write_text("no picture")
    write_clip(files / "clip.mp4", toy_frames(1) * 8)
    table = folder / "results.parquet"
    assert main(["analyze", str(files), "--pack", str(toy_pack), "--table", str(table)]) == 1
    assert main(["report", str(table)]) == 0
    return table.with_suffix(".html")


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_the_report_opens_by_itself(browser, report, size, scheme):
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    requests, problems = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(report.as_uri())
    assert page.title() == "Faces in results.parquet"
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert page.locator(".tiles dd").all_inner_texts()[2] == "6"
    assert page.locator("section img").count() >= 2
    assert page.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth > 20)")
    assert page.locator(".chart path").first.evaluate("(path) => path.getBoundingClientRect().height") > 50
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.querySelector('section')).backgroundColor]"
    )
    assert (ink == "rgb(23, 26, 33)") == (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    found = Axe().run(page, options=RULES).response["violations"]
    assert [rule["id"] for rule in found] == []
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert problems == []
    context.close()
