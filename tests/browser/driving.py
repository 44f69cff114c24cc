"""Opens the page in a real Chromium with a camera that plays pictures of ours."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, Playwright, expect

from faceinsight.ui.scripts import scripts_folder

ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
# The face before the camera of the Webcam tab's tests moves by so many pixels, there and back in three seconds.
MOVES = 200
TABS = ("Webcam", "Image", "Video", "Models & about")

# How much of a canvas is painted, in [0, 1].
COLOURED = """canvas => {
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let n = 3; n < data.length; n += 4) count += data[n] > 200;
    return count / (data.length / 4);
}"""


def write_camera(path: Path, frames: list[np.ndarray]) -> Path:
    """Writes frames, (480, 640, 3) uint8 RGB, as the motion JPEG that Chromium's camera plays."""
    buffer = io.BytesIO()
    for frame in frames:
        Image.fromarray(frame).save(buffer, "jpeg", quality=92, subsampling="4:2:0")
    path.write_bytes(buffer.getvalue())
    return path


@contextmanager
def chromium(playwright: Playwright, executable: str, camera: Path | None = None) -> Iterator[Browser]:
    """Starts a headless Chromium, with a camera where `camera` gives its pictures."""
    fake = (
        ()
        if camera is None
        else (
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={camera}",
        )
    )
    browser = playwright.chromium.launch(executable_path=executable, args=[*ARGS, *fake])
    try:
        yield browser
    finally:
        browser.close()


class Visit:
    """A visitor's page, and what went wrong or left the machine while it was open."""

    def __init__(self, browser: Browser, url: str, size: dict[str, int], dark: bool = False):
        self.context = browser.new_context(viewport=size, accept_downloads=True)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.elsewhere: list[str] = []
        self.errors: list[str] = []
        self.url = url
        host = url.split("//")[1]
        self.page.on("request", lambda request: self._note_request(request.url, host))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console",
            lambda message: self.errors.append(message.text) if message.type == "error" else None,
        )
        self.page.goto(f"{url}/?__theme={'dark' if dark else 'light'}")
        self.page.wait_for_selector("#image-input")

    def _note_request(self, url: str, host: str) -> None:
        if host not in url and not url.startswith(("data:", "blob:")):
            self.elsewhere.append(url)

    def module(self, name: str) -> str:
        """Returns the address of a module of assets/js/, to be imported in the page."""
        return f"{self.url}/gradio_api/file={scripts_folder() / name}"

    def tab(self, name: str) -> None:
        """Opens a tab, also where a narrow page hides it behind a menu."""
        tab = self.page.get_by_role("tab", name=name)
        if not tab.first.is_visible():
            self.page.locator(".overflow-menu > button").first.click()
            self.page.locator(".overflow-dropdown button", has_text=name).click()
            return
        tab.first.click()

    def settings(self) -> None:
        """Opens the drawer with the settings, or closes it."""
        self.page.locator("#settings-button").click()

    def cells(self, table: str) -> list[list[str]]:
        """Returns the cells that a table shows, without its header."""
        rows = self.page.locator(f"{table} .virtual-body [role=row]").all()
        return [[cell.inner_text().strip() for cell in row.get_by_role("gridcell").all()] for row in rows]

    def rows(self, table: str) -> list[list[str]]:
        """Returns the cells of a table that the page's own code fills, without its header."""
        rows = self.page.locator(f"{table} tbody tr").all()
        return [[cell.text_content() or "" for cell in row.locator("td").all()] for row in rows]

    def upload(self, where: str, path: Path | str) -> None:
        """Gives a file to an upload component."""
        self.page.set_input_files(f"{where} input[type=file]", str(path))

    def show(self, photo: Path, words: str = "2 faces") -> None:
        """Chooses a photo, and waits until the page says so much of it."""
        self.upload("#image-input", photo)
        expect(self.page.locator("#image-notice")).to_contain_text(words)

    def saved(self, button: str) -> tuple[str, bytes]:
        """Returns the name and the content of the file that a button saves."""
        with self.page.expect_download() as caught:
            self.page.locator(button).click()
        return caught.value.suggested_filename, Path(caught.value.path()).read_bytes()

    def start_camera(self) -> None:
        """Turns the camera on."""
        self.page.get_by_role("button", name="Start camera").click()

    def stop_camera(self) -> None:
        """Turns it off."""
        self.page.get_by_role("button", name="Stop camera").click()

    def updates(self, seconds: float) -> int:
        """Counts how often the page paints labels of another frame in a while."""
        count = self.page.evaluate(
            """async (seconds) => {
                let count = 0;
                const add = () => (count += 1);
                document.addEventListener('labels', add, true);
                await new Promise(done => setTimeout(done, seconds * 1000));
                document.removeEventListener('labels', add, true);
                return count;
            }""",
            seconds,
        )
        return int(count)

    def painted(self) -> list[int]:
        """Returns where the first person's colour is drawn over the live picture.

        Returns:
            [pixels, left, right], counted in pixels of a picture 640 wide; zeros where there is none.
        """
        script = """
            const canvas = document.getElementById('webcam-overlay');
            const small = Object.assign(document.createElement('canvas'), {width: 640, height: 480});
            const pen = small.getContext('2d', {willReadFrequently: true});
            pen.drawImage(canvas, 0, 0, 640, 480);
            const data = pen.getImageData(0, 0, 640, 480).data;
            let [count, left, right] = [0, 640, 0];
            for (let n = 0; n < data.length; n += 4) {
                if (data[n + 3] < 200 || data[n] > 110 || data[n + 1] < 160 || data[n + 2] < 210) continue;
                const x = (n / 4) % 640;
                [count, left, right] = [count + 1, Math.min(left, x), Math.max(right, x)];
            }
            return count ? [count, left, right] : [0, 0, 0];
        """
        return list(self.page.evaluate(f"() => {{ {script} }}"))

    def overflow(self) -> int:
        """Returns by how many pixels the page is wider than the screen."""
        script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(script))

    def screenshot(self, path: Path) -> None:
        """Takes a picture of the whole page."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.wait_for_timeout(400)  # lets animations come to rest
        self.page.screenshot(path=str(path), full_page=True)

    def close(self) -> None:
        """Leaves, as a visitor does who closes the tab."""
        self.context.close()
