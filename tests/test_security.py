"""What strangers may not have from a running app."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.serving import App, served


@pytest.fixture(scope="module")
def app(toy_pack, tmp_path_factory):
    with served(tmp_path_factory.mktemp("app"), "--pack", toy_pack) as running:
        yield running


def get(app: App, path: str) -> tuple[int, bytes]:
    """Asks for a path as it is written, as no well-behaved client would."""
    with closing(http.client.HTTPConnection(app.url.removeprefix("http://"), timeout=20)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def call(app: App, endpoint: str, file: object) -> str:
    """Calls an endpoint with a file as a client that makes it up says, and returns the stream of its answers."""
    rest = {"analyze_image": [0.5, 0, ""], "analyze_video": [0, None, 5, 0.5, 0, ""]}[endpoint]
    body = json.dumps({"data": [file, *rest]}).encode()
    url = f"{app.url}/gradio_api/call/{endpoint}"
    with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{url}/{event}", timeout=30) as answer:
        return str(answer.read().decode())


SECRET = "kept from strangers"


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file={}",
        "/file={}",
        "/gradio_api/file=../../../../../../../../..{}",
        "/gradio_api/file=%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e{}",
        "/gradio_api/file=/proc/self/root{}",
        "/gradio_api/file=file://{}",
        "/gradio_api/file/{}",
        "/static/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..{}",
        "/assets/../../../../../../../../../../..{}",
        "/theme.css/../../../../../../../../../..{}",
        "/gradio_api/stream/a/b/../../../../../../../../..{}",
    ],
)
def test_no_url_reads_a_file_of_the_server(app, tmp_path, path):
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    status, body = get(app, path.format(secret))
    assert status in (400, 401, 403, 404, 405, 422)
    assert SECRET.encode() not in body


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """A web server that should never be asked: its address, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/photo.png", asked
        server.shutdown()


META = {"meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize("endpoint", ["analyze_image", "analyze_video"])
def test_the_server_calls_nobody_for_a_visitor(app, elsewhere, endpoint):
    link, asked = elsewhere
    for file in ({"path": link}, {"path": "photo.png", "url": link} | META, {"url": link} | META):
        assert "event: error" in call(app, endpoint, file)
    # Gradio itself would look the first up and fetch it; the second it would ask a DNS service on the web for.
    for address in ("http://files.example/photo.png", link):
        assert "This is no file that you uploaded here" in call(app, endpoint, {"path": address} | META)
    for path in (f"/gradio_api/proxy={link}", f"/proxy={link}", f"/gradio_api/file={link}"):
        assert get(app, path)[0] in (400, 403, 404)
    assert asked == []
