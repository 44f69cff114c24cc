"""Visitors of a running app, as far as HTTP goes: browsers with cookies and sessions, and programs."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.serving import App

# What marks a file in a request, and stands for a file among the inputs of an event.
META = {"meta": {"_type": "gradio.FileData"}}
FILE = object()


class Browser:
    """Somebody with a session and, where they take cookies, a token of their own."""

    count = 0

    def __init__(self, app: App) -> None:
        Browser.count += 1
        self.app, self.session, self.cookie = app, f"session{Browser.count}", ""

    def open(self) -> Browser:
        """Opens the page, as browsers do."""
        with closing(http.client.HTTPConnection(self.app.url.removeprefix("http://"), timeout=60)) as connection:
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            cookies = [value.split(";")[0] for name, value in answer.getheaders() if name.lower() == "set-cookie"]
            self.cookie = "; ".join(cookies)
        return self

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        if body is not None and not isinstance(body, bytes):
            body, headers = json.dumps(body).encode(), {"Content-Type": "application/json"} | headers
        if self.cookie:
            headers["Cookie"] = self.cookie
        with closing(http.client.HTTPConnection(self.app.url.removeprefix("http://"), timeout=60)) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def upload(self, path: Path) -> str:
        content = form(path.read_bytes(), path.name)
        status, answer = self.ask("POST", "/gradio_api/upload", content, **{"Content-Type": FORM})
        assert status == 200, answer
        return json.loads(answer)[0]

    def stream(self, path: str) -> str:
        """Returns what a stream of answers says, until the event is done."""
        said = b""
        headers = {"Cookie": self.cookie} if self.cookie else {}
        with closing(http.client.HTTPConnection(self.app.url.removeprefix("http://"), timeout=60)) as connection:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            while line := answer.readline():
                said += line
                if b"process_completed" in line:
                    break
        return said.decode()

    def join(self, event: dict[str, Any], data: list[Any]) -> str:
        """Does an event of the page as the page does; returns its answers."""
        body = {"fn_index": event["id"], "data": data, "session_hash": self.session}
        status, answer = self.ask("POST", "/gradio_api/queue/join", body)
        assert status == 200, answer
        return self.stream(f"/gradio_api/queue/data?session_hash={self.session}")

    def config(self) -> dict[str, Any]:
        return json.loads(self.ask("GET", "/config")[1])


BOUNDARY = "a-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form(content: bytes, name: str = "photo.png", field: str = "files") -> bytes:
    """Returns a file as a browser's form sends it."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def sent(elem_id: str, file: Any) -> Any:
    """Returns what the page sends as a component's value for a file."""
    if elem_id == "video-input":
        return {"request": 1, "name": "clip.mp4", "file": file, "start": 0, "end": 0, "rate": 0, "anew": False}
    return {"request": 1, "photos": [{"name": "photo.png", "file": file, "problem": "", "preview": False}]}


def events_with(browser: Browser, elem_id: str) -> list[tuple[dict[str, Any], list[Any]]]:
    """Returns the page's events that take a component, each with values for its inputs, FILE for its own."""
    config = browser.config()
    parts = {part["id"]: part for part in config["components"]}
    (wanted,) = [part["id"] for part in parts.values() if part["props"].get("elem_id") == elem_id]
    found = []
    for event in config["dependencies"]:
        if wanted in event["inputs"]:
            values = [FILE if n == wanted else parts[n]["props"].get("value") for n in event["inputs"]]
            found.append((event, values))
    assert found
    return found
