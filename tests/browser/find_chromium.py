"""Finds a Chromium to test with."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import Playwright, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium(playwright: Playwright | None = None) -> str | None:
    """Returns an installed Chromium or Chrome, else Playwright's own, else None.

    Args:
        playwright: A running Playwright, as no second one can be started beside it; one is started where None.
    """
    for name in NAMES:
        if path := shutil.which(name):
            return path
    if playwright is None:
        with sync_playwright() as started:
            return find_chromium(started)
    path = playwright.chromium.executable_path
    return path if Path(path).exists() else None
