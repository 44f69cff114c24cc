"""Strangers at the door: what a running app refuses, with a sentence, and what stays possible."""

from __future__ import annotations

import json
import re
import time

import pytest

from tests.serving import served
from tests.strangers import Answer, Stranger, session_requests


def test_too_few_values_are_one_sentence(app):
    program = Stranger(app)
    event = json.loads(program.post("/gradio_api/call/analyze_video", {"data": [None, 0, 0, 0]}).body)["event_id"]
    said = program.get(f"/gradio_api/call/analyze_video/{event}").body.decode()
    assert "4 values came where 7 are needed: see the description." in said
    assert "Traceback" not in app.output


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
