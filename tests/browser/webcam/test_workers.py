"""The camera's page where several processes serve it."""

from __future__ import annotations

import os
import re
import signal

import pytest
from playwright.sync_api import expect

from tests.browser.driving import DESKTOP, Visit
from tests.serving import served
from tests.ui.test_workers import workers_of

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def test_a_camera_goes_on_at_another_worker_where_its_own_dies(browser, tmp_path):
    with served(tmp_path, "--pack", "compact", "--workers", 2) as app:
        visit = Visit(browser, app.url, DESKTOP)
        visit.tab("Webcam")
        visit.page.get_by_label("Record").check()
        visit.start_camera()
        expect(visit.page.locator("#webcam-rows")).to_have_text(re.compile(r"\d\d rows, not saved yet"), timeout=40_000)
        assert visit.errors == []
        (before,) = [int(one["value"]) for one in visit.context.cookies() if "worker" in one["name"]]
        os.kill(workers_of(app)[before], signal.SIGKILL)
        note = visit.page.locator("#webcam-note")
        expect(note).to_contain_text(
            re.compile(r"The server was away for 0:.*recorded before is still here"), timeout=40_000
        )
        expect(visit.page.locator("#webcam-notice")).to_have_text("1 face")
        (after,) = [int(one["value"]) for one in visit.context.cookies() if "worker" in one["name"]]
        assert {before, after} == {1, 2}
        visit.close()
