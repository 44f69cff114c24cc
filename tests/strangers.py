"""Strangers to a running app, as far as HTTP goes: what they send, and what they hear."""

from __future__ import annotations

import base64
import http.client
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.serving import App


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def sentence(self) -> str:
        return json.loads(self.body)["detail"]


class Stranger:
    """Somebody who sends what they like; `page` makes a browser of them."""

    def __init__(self, app: App, **headers: str) -> None:
        self.host, self.headers = app.url.removeprefix("http://"), headers

    def page(self) -> Stranger:
        self.headers["Cookie"] = self.get("/").headers["Set-Cookie"].split(";")[0]
        return self

    def send(self, method: str, path: str, body: Any = None, wait_s: float = 30, **headers: str) -> Answer:
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        about = {} if isinstance(body, bytes) or body is None else {"Content-Type": "application/json"}
        connection = http.client.HTTPConnection(self.host, timeout=wait_s)
        try:
            connection.request(method, path, content, about | self.headers | headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.send("POST", path, body, **headers)

    @contextmanager
    def open(self, path: str) -> Iterator[http.client.HTTPResponse]:
        """Opens an answer that goes on."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        connection.request("GET", path, headers=self.headers)
        response = connection.getresponse()
        try:
            yield response
        finally:
            response.close()
            connection.close()

    def upload(self, path: Path) -> str:
        body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n' % path.name.encode()
        body += path.read_bytes() + b"\r\n--x--\r\n"
        answer = self.post("/gradio_api/upload", body, **{"Content-Type": "multipart/form-data; boundary=x"})
        return json.loads(answer.body)[0]

    def call(self, name: str, path: str, **more: Any) -> Answer:
        data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, 0.5, 0, ""]
        return self.post(f"/gradio_api/call/{name}", {"data": data, **more})

    def frame(self, camera: int, session: str, data: Any) -> Any:
        call = {"component_id": camera, "fn_name": "live_frame", "session_hash": session, "data": data}
        return json.loads(self.post("/gradio_api/component_server", call).body)


def indices_of(app: App) -> dict[str, int]:
    """The page's functions by the event that starts them, as its configuration lists them."""
    config = json.loads(Stranger(app).get("/config").body)
    server = next(c["id"] for c in config["components"] if "live_frame" in str(c["props"].get("server_fns", "")))
    loads = [d["id"] for d in config["dependencies"] if any(t[1] == "load" for t in d["targets"]) and d["backend_fn"]]
    leaves = [d["id"] for d in config["dependencies"] if any(t[1] == "unload" for t in d["targets"])]
    return {"camera": server, "load": loads[0], "unload": leaves[0]}


def session_requests(session: str, indices: dict[str, int]) -> list[tuple[str, str, Any]]:
    """Every request that names a session."""
    api = "/gradio_api"
    frame = {"component_id": indices["camera"], "session_hash": session}
    return [
        ("GET", f"{api}/heartbeat/{session}", None),
        ("GET", f"{api}/queue/data?session_hash={session}", None),
        ("GET", f"{api}/queue/data?session_hash={session}&session_hash=another", None),
        ("GET", f"{api}/queue/data?session_hash=another&session_hash={session}", None),
        # Gradio takes an event that it does not know for a session.
        ("GET", f"{api}/call/analyze_image/{session}", None),
        ("GET", f"{api}/call/v2/analyze_image/{session}", None),
        ("POST", f"{api}/queue/join", {"data": [], "fn_index": indices["load"], "session_hash": session}),
        ("POST", f"{api}/queue/join", {"data": [], "fn_index": indices["unload"], "session_hash": session}),
        ("POST", f"{api}/call/analyze_image", {"data": [None, 0.5, 0, ""], "session_hash": session}),
        ("POST", f"{api}/component_server", {**frame, "fn_name": "live_frame", "data": {}}),
        ("POST", f"{api}/component_server/", {**frame, "fn_name": "live_frame", "data": {}}),
        ("POST", f"{api}/stream/anything", {"data": [], "session_hash": session}),
        ("POST", f"{api}/cancel", {"session_hash": session, "fn_index": 0, "event_id": "x"}),
    ]


def frame_of(picture: str, time_s: float, pack: object) -> dict[str, Any]:
    return {"picture": picture, "time": time_s, "settings": [str(pack), 0.5, 4, [], False, 50]}


def jpeg(picture: np.ndarray) -> str:
    """Returns a picture, (H, W, 3) uint8 RGB, as the page sends a camera's frame."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "jpeg")
    return base64.b64encode(buffer.getvalue()).decode()
