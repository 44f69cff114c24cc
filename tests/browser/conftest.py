from __future__ import annotations

import os

import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import sync_playwright

from tests.browser.driving import DESKTOP, Visit, chromium, write_camera
from tests.browser.find_chromium import find_chromium
from tests.serving import served
from tests.toy_models import toy_picture


@pytest.fixture(scope="session")
def playwright():
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def executable(playwright):
    path = find_chromium(playwright)
    problem = "no Chromium is installed: `make test` tries to get one"
    if path is not None:
        try:
            with chromium(playwright, path):
                return path
        except PlaywrightError as error:
            problem = f"{path} does not start: {error}"
    # A green run of CI has to mean that the page was looked at.
    assert not os.environ.get("CI"), problem
    pytest.skip(problem)


@pytest.fixture(scope="module")
def app(toy_pack, tmp_path_factory):
    with served(tmp_path_factory.mktemp("app"), "--pack", toy_pack) as running:
        yield running


@pytest.fixture(scope="module")
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
