"""Sessions belong to whoever used them first, and are kept in bounded number."""

from __future__ import annotations

import http.client
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.serving import served
from tests.strangers import Stranger, session_requests


def test_nobody_but_its_visitor_uses_a_session(app, ann, eve, indices):
    session = "annssession"
    with ann.open(f"/gradio_api/heartbeat/{session}") as heartbeat:
        assert heartbeat.status == 200
        for stranger in (eve, Stranger(app)):
            for method, path, body in session_requests(session, indices):
                answer = stranger.send(method, path, body)
                assert answer.status == 403, (method, path, answer)
                assert answer.sentence == "This session belongs to another visitor: reload the page."
                if method == "POST" and not isinstance(body, bytes):
                    # Whatever the letters of its type, Gradio reads it as JSON.
                    loud = {"Content-Type": "application/JSON"}
                    assert stranger.send(method, path, json.dumps(body).encode(), **loud).status == 403, path
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
importlib.import_module("faceinsight.ui.serve").GuardedApp = Counted
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

            # More of each kind than are kept.
            with ThreadPoolExecutor(8) as threads:
                list(threads.map(invent, range(300)))
            # The page that is open is still there.
            assert b"process_completed" in ann.get("/gradio_api/queue/data?session_hash=annspage").body
        # What else is printed may come between a line's words.
        counts = [json.loads(numbers) for numbers in re.findall(r"KEPT (\[[^\]]*\])", app.output)]
    most = [max(numbers) for numbers in zip(*counts, strict=True)]
    assert most[0] >= 60
    # A page's 16, its program's four times as many, and Ann's; Gradio keeps some more, that may be asked for.
    assert most[0] <= 16 + 4 * 16 + 1
    assert max(most[1:4]) <= most[0] + 2 * 64 + 40, most
