"""The compact pack, and a camera with a face that moves from side to side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image
from playwright.sync_api import expect

from tests.browser.driving import DESKTOP, MOVES, Visit, chromium, write_camera
from tests.serving import served


@pytest.fixture(scope="package")
def app(tmp_path_factory):
    with served(tmp_path_factory.mktemp("app"), "--pack", "compact") as running:
        yield running


@pytest.fixture(scope="package")
def browser(playwright, executable, tmp_path_factory):
    path = Path(skimage.__file__).parent / "data" / "astronaut.png"
    photo = Image.open(path).convert("RGB").resize((900, 900))
    lefts = [round(MOVES * (0.5 - 0.5 * np.cos(2 * np.pi * n / 90))) for n in range(90)]
    frames = [np.asarray(photo.crop((left, 0, left + 640, 480))) for left in lefts]
    camera = write_camera(tmp_path_factory.mktemp("camera") / "camera.mjpeg", frames)
    with chromium(playwright, executable, camera) as running:
        yield running


@pytest.fixture
def visit(browser, app):
    visitor = Visit(browser, app.url, DESKTOP)
    visitor.tab("Webcam")
    visitor.start_camera()
    expect(visitor.page.locator("#webcam-table td").first).to_have_text("1", timeout=20_000)
    yield visitor
    assert visitor.errors == []
    visitor.close()
