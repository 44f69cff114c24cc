"""Strangers at the door: what a running app refuses, with a sentence, and what stays possible."""

from __future__ import annotations

import base64
import http.client
import io
import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from faceinsight.ui.limits import Limits, LimitsError, frames_of
from tests.serving import App, served
from tests.toy_models import toy_picture

PICTURE = {(3, 2): (255, 240, 200)}


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


@pytest.fixture(scope="module")
def app(toy_pack, tmp_path_factory):
    with served(tmp_path_factory.mktemp("app"), "--pack", toy_pack) as running:
        yield running


@pytest.fixture(scope="module")
def indices(app):
    """The page's functions by the event that starts them, as its configuration lists them."""
    config = json.loads(Stranger(app).get("/config").body)
    server = next(c["id"] for c in config["components"] if "live_frame" in str(c["props"].get("server_fns", "")))
    loads = [d["id"] for d in config["dependencies"] if any(t[1] == "load" for t in d["targets"]) and d["backend_fn"]]
    leaves = [d["id"] for d in config["dependencies"] if any(t[1] == "unload" for t in d["targets"])]
    return {"camera": server, "load": loads[0], "unload": leaves[0]}


@pytest.fixture
def ann(app):
    return Stranger(app).page()


@pytest.fixture
def eve(app):
    return Stranger(app).page()


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


def test_nobody_but_its_visitor_uses_a_session(app, ann, eve, indices):
    session = "annssession"
    with ann.open(f"/gradio_api/heartbeat/{session}") as heartbeat:
        assert heartbeat.status == 200
        for stranger in (eve, Stranger(app)):
            for method, path, body in session_requests(session, indices):
                answer = stranger.send(method, path, body)
                assert answer.status == 403, (method, path, answer)
                assert answer.sentence == "This session belongs to another visitor: reload the page."
        load = {"data": [], "fn_index": indices["load"], "session_hash": session}
        assert ann.post("/gradio_api/queue/join", load).status == 200


def test_an_event_is_its_sessions(ann, eve, indices):
    load = {"data": [], "fn_index": indices["load"], "session_hash": "annsevent"}
    event = json.loads(ann.post("/gradio_api/queue/join", load).body)["event_id"]
    assert eve.get(f"/gradio_api/call/anything/{event}").status == 403
    assert eve.post("/gradio_api/cancel", {"session_hash": "eves", "fn_index": 0, "event_id": event}).status == 403
    assert b"process_completed" in ann.get("/gradio_api/queue/data?session_hash=annsevent").body


def test_an_uploads_progress_is_its_visitors(ann, eve, app):
    ann.get("/gradio_api/upload_progress?upload_id=annsupload")
    assert eve.get("/gradio_api/upload_progress?upload_id=annsupload").status == 403
    assert Stranger(app).get("/gradio_api/upload_progress?upload_id=annsupload").status == 403


@pytest.mark.parametrize("session", [["a"], {"a": 1}, 7, "", "x" * 65, "a b", "../x"])
def test_what_is_no_session_is_none(ann, indices, session):
    body = {"component_id": indices["camera"], "fn_name": "live_frame", "data": {}, "session_hash": session}
    assert ann.post("/gradio_api/component_server", body).sentence.startswith("A session's name has")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_one_sentence(app, ann, body):
    for route in ("component_server", "queue/join"):
        for kind in ("application/json", "text/plain"):
            answer = ann.post(f"/gradio_api/{route}", body, **{"Content-Type": kind})
            assert 400 <= answer.status < 500, (route, kind)
    answer = ann.post("/gradio_api/component_server", body)
    assert (answer.status, answer.sentence[:22]) == (415, "The request is no JSON")
    assert "Traceback" not in app.output


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/run/analyze_image"),
        ("POST", "/gradio_api/api/leave"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/vibe-edit"),
        ("GET", "/gradio_api/deep_link?session_hash=a"),
        ("GET", "/gradio_api/proxy=https://localhost/"),
        ("GET", "/gradio_api/dev/reload"),
        ("GET", "/gradio_api/token"),
        ("GET", "/monitoring/summary"),
        ("GET", "/gradio_api//queue/data"),
        ("GET", "/docs"),
    ],
)
def test_what_the_page_does_not_need_is_not_there(ann, method, path):
    answer = ann.send(method, path, {} if method == "POST" else None)
    assert (answer.status, answer.sentence) == (404, "There is nothing at this address.")


def test_another_hosts_page_may_do_nothing_in_a_visitors_name(app, ann, indices):
    frame = {"component_id": indices["camera"], "fn_name": "live_frame", "data": {}, "session_hash": "mine"}
    for elsewhere in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://{ann.host}.evil.example"},
        {"Origin": f"http://{ann.host}", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        # Whatever the page's host is called: Gradio asks for the Origin only where it is localhost.
        for host in (ann.host, "faces.example", "0.0.0.0"):
            about = {**elsewhere, "Host": host, "Content-Type": "text/plain"}
            for path in ("component_server", "queue/join", "upload", "cancel", "call/analyze_image"):
                answer = ann.post(f"/gradio_api/{path}", frame, **about)
                assert (answer.status, answer.sentence[:44]) == (403, "This request comes from a page of another ho")
            assert ann.get("/logout", **about).status == 403
            preflight = ann.send(
                "OPTIONS", "/gradio_api/queue/join", **about, **{"Access-Control-Request-Method": "POST"}
            )
            read = ann.get("/config", **about)
            for answer in (preflight, read):
                assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_its_own_page_is_no_other_host(app, ann, indices):
    load = {"data": [], "fn_index": indices["load"], "session_hash": "own"}
    for own in (
        {"Origin": f"http://{ann.host}"},
        {"Origin": "https://faces.example", "Host": "faces.example"},
        {"Origin": "https://faces.example", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://faces.example", "X-Forwarded-Host": "faces.example"},
    ):
        assert ann.post("/gradio_api/queue/join", load, **own).status == 200
    # A link on another page leads here, and whoever was here before stays who they were.
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert "Set-Cookie" not in ann.get("/", **link).headers
    assert "Set-Cookie" in Stranger(app).get("/", **link).headers


def test_every_answer_has_the_headers_that_keep_a_browser_safe(ann):
    for path in ("/", "/config", "/theme.css", "/gradio_api/file=/etc/hostname", "/no/such/page"):
        headers = ann.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        rules = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
        assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'self'"
        assert not re.search(r"https?:|\*", headers["Content-Security-Policy"])


def test_a_page_may_be_shown_in_the_frames_that_its_host_allows(toy_pack, tmp_path):
    with served(tmp_path, "--pack", toy_pack, FACEINSIGHT_FRAMES="https://a.example https://b.example") as app:
        headers = Stranger(app).get("/").headers
    assert headers["Content-Security-Policy"].endswith("frame-ancestors 'self' https://a.example https://b.example")
    assert headers["Set-Cookie"].endswith("SameSite=None; Secure; Partitioned")


def test_bodies_are_bounded_before_they_are_read(app, ann):
    for path in ("component_server", "queue/join", "call/analyze_image"):
        answer = ann.post(f"/gradio_api/{path}", b"[" + b"0," * 30_000_000, **{"Content-Type": "application/json"})
        assert answer.status == 413
        assert re.fullmatch(r"The request is too large: at most 1 MB are taken here\.", answer.sentence)
    answer = (
        ann.send("POST", "/gradio_api/upload", None, **{"Content-Length": str(10**12)}, wait_s=5) if False else None
    )
    unknown = ann.post("/gradio_api/queue/join", None, **{"Transfer-Encoding": "chunked"})
    assert unknown.status == 411


def test_others_are_served_while_a_large_body_comes(ann, eve):
    done = threading.Event()

    def flood():
        while not done.is_set():
            ann.post("/gradio_api/component_server", b"0" * 60_000_000, **{"Content-Type": "application/json"})

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        waits = []
        for _ in range(20):
            began = time.monotonic()
            assert eve.get("/theme.css").status == 200
            waits.append(time.monotonic() - began)
    finally:
        done.set()
        thread.join()
    # A body that is parsed stops everybody for seconds.
    assert sorted(waits)[len(waits) // 2] < 1


def test_a_visitor_cannot_fill_the_queue(app, ann, tmp_path, indices):
    picture = tmp_path / "photo.png"
    Image.fromarray(toy_picture(PICTURE)).save(picture)
    eve = Stranger(app)
    uploaded = eve.upload(picture)

    def ask(_):
        return eve.call("analyze_video", uploaded)

    with ThreadPoolExecutor(40) as threads:
        answers = list(threads.map(ask, range(200)))
    refused = [answer for answer in answers if answer.status != 200]
    assert len(refused) >= 1
    assert {answer.status for answer in refused} == {429}
    assert all("jobs at once already: wait for one" in answer.sentence for answer in refused)
    load = {"data": [], "fn_index": indices["load"], "session_hash": "notblocked"}
    assert ann.post("/gradio_api/queue/join", load).status == 200


COUNTING = """
import sys, threading, time, json, importlib
guarded = importlib.import_module("faceinsight.ui.guarded")
made = []
class Counted(guarded.GuardedApp):
    def __init__(self, *args):
        super().__init__(*args)
        made.append(self)
def tell():
    while True:
        time.sleep(0.2)
        if made and made[0].blocks:
            app, queue = made[0], made[0].get_blocks()._queue
            kept = app.sessions.held, app.state_holder.session_data, queue.pending_messages_per_session
            kept += queue.pending_event_ids_session, app.sessions.uploads
            print("KEPT", json.dumps([len(things) for things in kept]), flush=True)
importlib.import_module("faceinsight.ui.launch").GuardedApp = Counted
threading.Thread(target=tell, daemon=True).start()
from faceinsight.cli import main
sys.exit(main(["app", *sys.argv[1:]]))
"""


def test_invented_sessions_are_kept_in_bounded_number(toy_pack, tmp_path, indices):
    limits = {"FACEINSIGHT_REQUESTS_PER_S": "1000", "FACEINSIGHT_FRAMES_PER_S": "1000"}
    with served(tmp_path, "--pack", toy_pack, code=COUNTING, **limits) as app:
        ann, eve, program = Stranger(app).page(), Stranger(app).page(), Stranger(app)
        load = {"data": [], "fn_index": indices["load"]}
        with ann.open("/gradio_api/heartbeat/annspage"):
            ann.post("/gradio_api/queue/join", load | {"session_hash": "annspage"})

            def invent(n):
                frame = {"component_id": indices["camera"], "fn_name": "live_frame", "data": {}}
                for who in (eve, program):
                    who.post("/gradio_api/component_server", frame | {"session_hash": f"{id(who)}-{n}"})
                    # Gradio ends this one in the middle: there is no such session.
                    with suppress(http.client.IncompleteRead):
                        who.get(f"/gradio_api/queue/data?session_hash={id(who)}-x{n}")
                # Nobody fetches what these answer.
                program.post("/gradio_api/call/analyze_image", {"data": [None, 0.5, 0, ""]})

            with ThreadPoolExecutor(8) as threads:
                list(threads.map(invent, range(500)))
            # The page that is open is still there.
            assert b"process_completed" in ann.get("/gradio_api/queue/data?session_hash=annspage").body
        # What else is printed may come between a line's words.
        counts = [json.loads(numbers) for numbers in re.findall(r"KEPT (\[[^\]]*\])", app.output)]
    most = [max(numbers) for numbers in zip(*counts, strict=True)]
    assert most[0] >= 60
    # A page's 16, its program's four times as many, and Ann's; Gradio keeps some more, that may be asked for.
    assert most[0] <= 16 + 4 * 16 + 1
    assert max(most[1:4]) <= most[0] + 2 * 64 + 40, most


def frame_of(picture: str, time_s: float, pack: object) -> dict[str, Any]:
    return {"picture": picture, "time": time_s, "settings": [str(pack), 0.5, 4, [], False, 50]}


def test_strangers_keep_nobody_from_the_camera(toy_pack, tmp_path, indices):
    buffer = io.BytesIO()
    Image.fromarray(toy_picture(PICTURE)).save(buffer, "jpeg")
    picture = base64.b64encode(buffer.getvalue()).decode()
    with served(tmp_path, "--pack", toy_pack, FACEINSIGHT_PLACES="2") as app:

        def send(who: Stranger, session: str, data: Any) -> Any:
            call = {"component_id": indices["camera"], "fn_name": "live_frame", "session_hash": session, "data": data}
            return json.loads(who.post("/gradio_api/component_server", call).body)

        eve, program = Stranger(app).page(), Stranger(app)
        good = frame_of(picture, 1.0, toy_pack)
        for n in range(20):
            assert "cannot be read" in send(eve, f"empty{n}", {})["problem"]
            assert "cannot be read" in send(eve, f"garbage{n}", frame_of("garbage", 1.0, toy_pack))["problem"]
            assert "needs a cookie" in send(program, f"program{n}", good)["problem"]
        # Whatever else one visitor sends, others come first.
        lines = [send(eve, f"page{n}", good).get("line", 0) for n in range(6)]
        assert lines == [0, 0, 1, 2, 3, 4]
        ann, bob = Stranger(app).page(), Stranger(app).page()
        assert send(ann, "ann", good)["line"] == 1
        send(eve, "page0", frame_of(picture, 1.1, toy_pack))
        assert len(send(ann, "ann", good)["faces"]) == 1
        answer = send(bob, "bob", good)
        assert answer["line"] == 1
        assert answer["problem"].startswith("You are number 1 in line for the camera: keep this page open")
        # Nobody ends another's turn.
        assert program.get("/gradio_api/heartbeat/ann").status == eve.get("/gradio_api/heartbeat/ann").status == 403
        assert len(send(ann, "ann", frame_of(picture, 1.2, toy_pack) | {"record": True})["rows"]) == 1


def test_requests_are_bounded_by_visitor_and_second(toy_pack, tmp_path):
    limits = {"FACEINSIGHT_REQUESTS_PER_S": "2", "FACEINSIGHT_PAGES_PER_S": "0.01"}
    with served(tmp_path, "--pack", toy_pack, **limits) as app:
        ann, eve = Stranger(app).page(), Stranger(app).page()
        body = {"session_hash": "s", "fn_index": 0, "event_id": "x"}
        statuses = [ann.post("/gradio_api/cancel", body).status for _ in range(12)]
        assert statuses[:8] == [200] * 8
        assert 429 in statuses
        answer = ann.post("/gradio_api/cancel", body)
        if answer.status == 429:
            assert answer.headers["Retry-After"] == "1"
            assert answer.sentence == "That is too much at once: try again in a moment."
        assert eve.post("/gradio_api/cancel", {**body, "session_hash": "t"}).status == 200
        # Tokens are given to so many only.
        statuses = [Stranger(app).get("/").status for _ in range(80)]
        assert statuses.count(200) < 62
        assert ann.get("/").status == 200


@pytest.mark.parametrize("text", ["many", "0", "-1", "nan", "1.5"])
def test_a_wrong_limit_is_one_sentence(text):
    with pytest.raises(LimitsError, match=f"FACEINSIGHT_PLACES is set to '{text}': give a whole number above 0"):
        Limits.of({"FACEINSIGHT_PLACES": text})


def test_limits_and_frames_are_set_by_the_environment():
    assert Limits.of({"FACEINSIGHT_PLACES": "20", "FACEINSIGHT_TURN_S": "1.5"}) == Limits(places=20, turn_s=1.5)
    assert frames_of({}) == ()
    assert frames_of({"SPACE_ID": "a/b"}) == ("https://huggingface.co",)
    assert frames_of({"SPACE_ID": "a/b", "FACEINSIGHT_FRAMES": ""}) == ()
    with pytest.raises(LimitsError, match="give addresses as"):
        frames_of({"FACEINSIGHT_FRAMES": "https://a.example; script-src *"})


@pytest.fixture(scope="module")
def locked(toy_pack, tmp_path_factory):
    limits = {"FACEINSIGHT_PASSWORDS": "3", "FACEINSIGHT_PASSWORD_S": "4"}
    with served(tmp_path_factory.mktemp("locked"), "--pack", toy_pack, "--auth", "ann:s3cret", **limits) as running:
        yield running


def log_in(stranger: Stranger, password: str) -> Answer:
    form = f"username=ann&password={password}".encode()
    return stranger.post("/login", form, **{"Content-Type": "application/x-www-form-urlencoded"})


def test_who_has_not_logged_in_uses_nothing(locked):
    bob = Stranger(locked).page()
    for method, path, body in session_requests("bobs", {"camera": 1, "load": 0, "unload": 0}):
        assert bob.send(method, path, body).status == 401, path
    for path in ("/config", "/gradio_api/info", "/gradio_api/queue/status"):
        assert bob.get(path).status == 401
    assert bob.get("/gradio_api/file=/etc/hostname").status == 404
    assert bob.post("/gradio_api/upload", b"").status == 401
    assert b'"auth_required":true' in bob.get("/").body


def test_the_cookies_of_a_login_go_to_no_other_site(locked):
    answer = log_in(Stranger(locked), "s3cret")
    assert answer.status == 200
    cookies = [cookie.lower() for cookie in answer.headers.get_all("Set-Cookie")]
    assert len(cookies) == 2
    assert all("samesite=lax" in cookie and "httponly" in cookie for cookie in cookies)


def test_wrong_passwords_are_slowed_down(locked):
    for _ in range(5):
        # Right ones cost nothing.
        assert log_in(Stranger(locked), "s3cret").status == 200
    answers = [log_in(Stranger(locked), str(n)) for n in range(6)]
    assert [answer.status for answer in answers[:3]] == [400] * 3
    assert [answer.status for answer in answers[3:]] == [429] * 3
    assert re.fullmatch(r"Too many wrong passwords: try again in [1-4] s\.", answers[-1].sentence)
    # Not even the right one is told from a wrong one.
    assert log_in(Stranger(locked), "s3cret").status == 429
    time.sleep(float(answers[-1].headers["Retry-After"]) + 0.5)
    assert log_in(Stranger(locked), "s3cret").status == 200
