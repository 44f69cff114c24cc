from __future__ import annotations

import os
from typing import NoReturn

import pytest
from PIL import Image
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import expect, sync_playwright

from tests.browser.driving import DESKTOP, Visit, chromium, write_camera
from tests.browser.find_chromium import find_chromium
from tests.serving import served
from tests.toy_models import toy_picture

# The machine may be busy with other things; what is right comes late then.
expect.set_options(timeout=30_000)


def without_browser(problem: str) -> NoReturn:
    """Skips, unless a green run has to mean that the page was looked at."""
    assert not os.environ.get("CI"), problem
    pytest.skip(problem)


@pytest.fixture(scope="package")
def playwright():
    try:
        running = sync_playwright().start()
    except Exception as error:  # it knows no narrower one for a driver that ends
        without_browser(f"Playwright does not start: {error}")
    yield running
    running.stop()


@pytest.fixture(scope="package")
def executable(playwright):
    path = find_chromium(playwright)
    if path is None:
        without_browser("no Chromium is installed: `make test` tries to get one")
    try:
        with chromium(playwright, path):
            return path
    except PlaywrightError as error:
        without_browser(f"{path} does not start: {error}")


@pytest.fixture(scope="package")
def app(toy_pack, tmp_path_factory):
    # Many more browsers than an address may have, as every test comes with a new one.
    many = {"FACEINSIGHT_ADDRESS_VISITORS": "1000", "FACEINSIGHT_MAX_VISITORS": "1000"}
    with served(tmp_path_factory.mktemp("app"), "--pack", toy_pack, **many) as running:
        yield running


@pytest.fixture(scope="package")
def browser(playwright, executable, tmp_path_factory):
    frames = [toy_picture({(3, 2): (255, 240 - n, 200), (10, 8): (200, 100, 255)}) for n in range(30)]
    camera = write_camera(tmp_path_factory.mktemp("camera") / "camera.mjpeg", frames)
    with chromium(playwright, executable, camera) as running:
        yield running


@pytest.fixture
def visit(browser, app):
    visitor = Visit(browser, app.url, DESKTOP)
    yield visitor
    visitor.close()


@pytest.fixture
def photo(tmp_path, two_faces):
    path = tmp_path / "photo.png"
    Image.fromarray(two_faces).save(path)
    return path
