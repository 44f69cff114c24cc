"""How much a visitor may have: what is too much is refused with a sentence, and keeps nobody else out."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from faceinsight.ui.limits import Limits, LimitsError, frames_of
from tests.serving import served
from tests.strangers import Stranger, frame_of, jpeg
from tests.toy_models import toy_picture

PICTURE = {(3, 2): (255, 240, 200)}


def test_bodies_are_bounded_before_they_are_read(app, ann):
    for path in ("component_server", "queue/join", "call/analyze_image"):
        answer = ann.post(f"/gradio_api/{path}", b"[" + b"0," * 30_000_000, **{"Content-Type": "application/json"})
        assert answer.status == 413
        assert re.fullmatch(r"The request is too large: at most 1 MB are taken here\.", answer.sentence)
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


def test_strangers_keep_nobody_from_the_camera(toy_pack, tmp_path, indices):
    picture = jpeg(toy_picture(PICTURE))
    with served(tmp_path, "--pack", toy_pack, FACEINSIGHT_PLACES="2") as app:

        def send(who: Stranger, session: str, data: Any) -> Any:
            return who.frame(indices["camera"], session, data)

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
        # She asked for much herself: a second brings the next request back.
        time.sleep(1)
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
