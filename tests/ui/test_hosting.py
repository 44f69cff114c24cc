"""The page as it is hosted: health, numbers, logs, so many visitors, tools for MCP clients, a path of its own."""

from __future__ import annotations

import base64
import json
import logging
import re
import socket
import time
from pathlib import Path

import anyio
import httpx
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from PIL import Image

from faceinsight.logs import JsonFormatter
from faceinsight.ui.presence import ARRIVE_S, AWAY_S, Presence
from tests.serving import served
from tests.toy_media import toy_frames, write_clip
from tests.toy_models import toy_picture
from tests.visits import Browser

TOKEN = "a-token-of-ours"
# A name that a visitor's file has, which no log may hold.
SECRET = "anna-at-the-lake"


@pytest.fixture(scope="module")
def app(toy_pack, tmp_path_factory):
    options = {"FACEINSIGHT_METRICS_TOKEN": TOKEN, "FACEINSIGHT_LOG_FORMAT": "json", "FACEINSIGHT_MCP": "1"}
    folder = tmp_path_factory.mktemp("hosted")
    with served(folder, "--pack", toy_pack, **options) as running:
        yield running


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photos") / f"{SECRET}.png"
    Image.fromarray(toy_picture({(3, 2): (255, 240, 200), (10, 8): (200, 100, 255)})).save(path)
    return path


def get(app, path: str, **headers: str) -> httpx.Response:
    return httpx.get(app.url + path, headers=headers, timeout=60, follow_redirects=True)


def numbers(app) -> dict[str, float]:
    answer = get(app, "/metrics", authorization=f"Bearer {TOKEN}")
    assert answer.status_code == 200
    lines = [line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def as_data(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def call(app, name: str, arguments: dict, **headers: str):
    """Calls a tool as a real client does."""

    async def work():
        async with (
            httpx.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(f"{app.url}/gradio_api/mcp/", http_client=http)) as client,
        ):
            return await client.call_tool(name, arguments)

    return anyio.run(work)


def test_a_running_page_is_well(app):
    answer = get(app, "/healthz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert httpx.head(f"{app.url}/healthz").status_code == 200
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("sent", ["", "Bearer", "Bearer wrong", f"bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN])
def test_numbers_are_for_whoever_has_the_token(app, sent):
    answer = get(app, "/metrics", **({"authorization": sent} if sent else {}))
    assert answer.status_code == 401
    assert "faceinsight_" not in answer.text


def test_numbers_tell_what_the_page_did(app, photo):
    before = numbers(app)
    ann = Browser(app).open()
    path = ann.upload(photo)
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, 0.5, 0, ""]
    status, answer = ann.ask("POST", "/gradio_api/call/analyze_image", {"data": data})
    assert status == 200
    said = ann.stream(f"/gradio_api/call/analyze_image/{json.loads(answer)['event_id']}")
    assert '"faces"' in said
    after = numbers(app)
    done = 'faceinsight_event_seconds_count{endpoint="analyze_image"}'
    assert after[done] == before.get(done, 0) + 1
    assert after['faceinsight_event_seconds_bucket{endpoint="analyze_image",le="+Inf"}'] == after[done]
    assert after['faceinsight_events_total{endpoint="analyze_image",outcome="ok"}'] >= 1
    assert after["faceinsight_disk_bytes"] > photo.stat().st_size
    assert after["faceinsight_visitors"] >= 1
    assert after["faceinsight_places"] == 8
    assert 50e6 < after["process_resident_memory_bytes"] < 4e9

    config = ann.config()
    server = next(c["id"] for c in config["components"] if "live_frame" in str(c["props"].get("server_fns", "")))
    frame = {"picture": "", "time": 1.0, "settings": []}
    body = {"component_id": server, "fn_name": "live_frame", "session_hash": ann.session, "data": frame}
    assert "problem" in json.loads(ann.ask("POST", "/gradio_api/component_server/", body)[1])
    problems = 'faceinsight_frames_total{outcome="problem"}'
    assert numbers(app)[problems] == after[problems] + 1
    assert ann.ask("GET", "/nothing-here")[0] == 404
    assert numbers(app)['faceinsight_requests_refused_total{status="404"}'] >= 1


def comes_in(browser: Browser) -> Browser:
    deadline = time.monotonic() + 3 * ARRIVE_S
    while not browser.open().cookie and time.monotonic() < deadline:
        time.sleep(0.5)
    assert browser.ask("GET", "/config")[0] == 200
    return browser


def test_a_visitor_too_many_hears_it_and_a_page_without_models_is_not_well(toy_pack, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "pack.toml").write_text((toy_pack / "pack.toml").read_text())
    with served(tmp_path, "--pack", tmp_path / "empty", FACEINSIGHT_MAX_VISITORS="2") as running:
        # Whoever looked whether the page is there counts for a moment.
        ann, _ = comes_in(Browser(running)), comes_in(Browser(running))
        eve = Browser(running).open()
        assert not eve.cookie
        page = get(running, "/", accept="text/html")
        assert page.status_code == 503
        assert "Too many people are here at the moment" in page.text
        assert 'http-equiv="refresh"' in page.text
        assert page.headers["retry-after"] == "30"
        # Who is here stays, and machines still ask how the page is.
        assert ann.open().ask("GET", "/config")[0] == 200
        assert eve.ask("GET", "/")[0] == 503
        answer = get(running, "/healthz")
        assert answer.status_code == 503
        assert str(tmp_path) not in answer.text
        # What nobody asked for is not there.
        assert get(running, "/metrics").status_code == 404
        assert httpx.post(f"{running.url}/gradio_api/mcp/", json={}).status_code == 404


def test_whoever_is_heard_of_no_more_makes_room(monkeypatch):
    now = time.monotonic()
    open_pages = {"bob"}
    presence = Presence(2, open_pages.__contains__)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert presence.come("ann")
    assert presence.come("bob")
    assert not presence.come("eve")
    now += AWAY_S + 1
    assert len(presence) == 1  # Bob's page is open
    assert presence.come("eve")
    assert not presence.come("ann")
    open_pages.clear()
    now += AWAY_S + 1
    assert len(presence) == 0
    # A page that was loaded, and nothing else.
    assert presence.come("eve", ARRIVE_S)
    now += ARRIVE_S + 1
    assert len(presence) == 0


def test_tools_answer_a_client(app, photo, tmp_path):
    async def tools():
        async with Client(f"{app.url}/gradio_api/mcp/") as client:
            return (await client.list_tools()).tools

    found = {tool.name: tool for tool in anyio.run(tools)}
    assert list(found) == ["analyze_image", "analyze_video"]
    assert found["analyze_image"].description.startswith("Finds every face of a picture")
    schema = found["analyze_video"].input_schema
    assert schema["required"] == ["video"]
    assert schema["properties"]["rate"]["type"] == "number"
    assert "it is made smaller, as note, width and height say" in schema["properties"]["video"]["description"]

    answer = call(app, "analyze_image", {"image": as_data(photo, "image/png")})
    assert not answer.is_error
    assert [face["age"] for face in answer.structured_content["faces"]] == pytest.approx([94, 39], abs=3)
    assert json.loads(answer.content[0].text) == answer.structured_content
    assert call(app, "analyze_image", {"image": as_data(photo, "image/png"), "det_threshold": 7}).structured_content[
        "det_threshold"
    ] == pytest.approx(0.95)

    clip = write_clip(tmp_path / "clip.mp4", toy_frames(6))
    answer = call(app, "analyze_video", {"video": as_data(clip, "video/mp4")})
    assert answer.structured_content["frames"] == 6
    # What is large is uploaded first.
    path = Browser(app).upload(clip)
    assert call(app, "analyze_video", {"video": path, "rate": 1}).structured_content["rows"]
    assert not list(app.temporary.rglob("image.*")), "a file of a data URL stays"


@pytest.mark.parametrize(
    "image",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "../../etc/passwd",
        "/proc/self/environ",
        "/dev/zero",
        "~/.ssh/id_rsa",
        "README.md",
        "",
        "data:image/png;base64,/etc/passwd\x00",
        "data:/etc/passwd",
        "data:image/../../x;base64,AAAA",
        {"path": "/etc/passwd"},
        {"path": "/etc/passwd", "url": None, "meta": {"_type": "gradio.FileData"}},
        {"url": "http://127.0.0.1:1/"},
        ["/etc/passwd"],
        None,
        7,
    ],
    ids=str,
)
def test_no_client_names_a_file_of_the_server(app, image):
    answer = call(app, "analyze_image", {"image": image})
    assert answer.is_error
    assert "root:" not in answer.content[0].text
    assert re.search(r"no file that you uploaded|no Base64|A data URL is|There is no image", answer.content[0].text)


def test_no_client_has_the_server_fetch_a_link(app):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        for link in (f"http://{address}/x.png", f"https://{address}/x.png", f"HTTP://{address}/x.png"):
            assert call(app, "analyze_image", {"image": link}).is_error
            assert call(app, "analyze_video", {"video": {"path": link, "url": link}}).is_error
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_client_hears_what_is_wrong(app, photo):
    image = as_data(photo, "image/png")
    for arguments in (
        {"image": image, "min_face": "many"},
        {"image": image, "pack": 3},
        {"image": image, "min_face": True},
    ):
        assert "is given as what it cannot be" in call(app, "analyze_image", arguments).content[0].text
    assert "takes no 'threshold'" in call(app, "analyze_image", {"image": image, "threshold": 1}).content[0].text
    assert "no model pack called" in call(app, "analyze_image", {"image": image, "pack": "/etc"}).content[0].text
    assert "There is no such tool" in call(app, "live_frame", {}).content[0].text
    with pytest.raises((MCPError, httpx.HTTPError, ExceptionGroup)):
        call(app, "analyze_image", {"image": "data:image/png;base64," + "A" * 17_000_000})


def test_no_page_of_another_host_calls_a_tool(app):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    url, headers = f"{app.url}/gradio_api/mcp/", {"accept": "application/json, text/event-stream"}
    assert httpx.post(url, json=body, headers=headers).status_code == 200
    assert httpx.post(url, json=body, headers=headers | {"origin": "https://evil.example"}).status_code == 403
    assert (
        httpx.post(url, content=json.dumps(body), headers=headers | {"content-type": "text/plain"}).status_code == 415
    )
    assert httpx.get(url, headers=headers).status_code == 405


def test_a_login_is_for_tools_too_and_a_path_is_the_cookies(toy_pack, photo, tmp_path):
    options = {"FACEINSIGHT_AUTH": "ann:secret", "FACEINSIGHT_MCP": "1", "FACEINSIGHT_ROOT_PATH": "/faces"}
    with served(tmp_path, "--pack", toy_pack, **options) as running:
        basic = {"authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}
        image = {"image": as_data(photo, "image/png")}
        assert not call(running, "analyze_image", image, **basic).is_error
        with pytest.raises((MCPError, httpx.HTTPError, ExceptionGroup)):
            call(running, "analyze_image", image)
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        wrong = {"authorization": "Basic " + base64.b64encode(b"ann:guess").decode()}
        url = f"{running.url}/gradio_api/mcp/"
        said = [httpx.post(url, json=body, headers=wrong) for _ in range(6)]
        assert {answer.status_code for answer in said} == {401}
        assert "Too many wrong passwords" in said[-1].json()["detail"]
        # The page is there whether the server before it takes the path away or not.
        for path in ("/", "/faces/", "/faces"):
            answer = get(running, path)
            assert answer.status_code == 200, path
            assert "Path=/faces;" in answer.headers["set-cookie"]
        assert re.search(r'"root":"[^"]*/faces"', get(running, "/faces/").text)
        assert get(running, "/faces/healthz").status_code == 200
        assert get(running, "/faces/etc/passwd").status_code == 404


def test_logs_are_objects_without_a_name_or_a_face(app, photo, tmp_path):
    """Last, of all that the tests before it sent."""
    ann = Browser(app).open()
    broken = tmp_path / f"broken-{SECRET}.jpg"
    broken.write_bytes(photo.read_bytes()[:200])
    for file in (photo, broken):
        data = [{"path": ann.upload(file), "meta": {"_type": "gradio.FileData"}}, 0.5, 0, ""]
        event = json.loads(ann.ask("POST", "/gradio_api/call/analyze_image", {"data": data})[1])["event_id"]
        ann.stream(f"/gradio_api/call/analyze_image/{event}")
    lines = [json.loads(line) for line in app.output.splitlines()]
    assert lines[0]["event"] == "started"
    assert {line["event"] for line in lines} <= {"started", "event"}
    assert {line.get("outcome") for line in lines} >= {"ok", "refused"}
    for word in (SECRET, "visitors/", "/tmp", "data:", "127.0.0.1:", "cookie"):
        assert not [line for line in lines if word in json.dumps(line | {"logger": ""})], word


def test_errors_are_logged_without_what_they_say(capsys):
    log = logging.getLogger("faceinsight.ui.engine")
    record = log.makeRecord(
        log.name, logging.ERROR, "f.py", 3, "An event failed: %s", (OSError(f"/tmp/{SECRET}"),), None
    )
    other = log.makeRecord(
        "uvicorn.error", logging.ERROR, "f.py", 3, f"failed at {SECRET}", (), (OSError, OSError(SECRET), None)
    )
    ours, theirs = (json.loads(JsonFormatter().format(one)) for one in (record, other))
    assert (ours["event"], ours["error"], ours["where"]) == ("An event failed: %s", "OSError", "f:3")
    assert (theirs["event"], theirs["error"]) == ("a library's message", "OSError")
    assert SECRET not in str((ours, theirs))
