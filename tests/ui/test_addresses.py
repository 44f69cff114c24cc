"""Many visitors of one address: a class is served, and whoever gets many cookies does not take what all others need."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from fastapi import HTTPException
from PIL import Image

from faceinsight.ui.limits import Limits
from faceinsight.ui.presence import Presence
from faceinsight.ui.sessions import Held
from faceinsight.ui.visitors import Visitor
from tests.serving import served
from tests.strangers import Stranger, frame_of, jpeg
from tests.toy_media import toy_frames, write_clip
from tests.toy_models import toy_picture

FACE = {(3, 2): (255, 240, 200)}


def at(app, address):
    """Somebody whose address a server before this one tells, as a browser."""
    return Stranger(app, **{"X-Forwarded-For": address}).page()


def test_a_class_of_thirty_behind_one_address_is_served(app, indices, toy_pack, tmp_path):
    Image.fromarray(toy_picture(FACE)).save(tmp_path / "photo.png")
    frame = frame_of(jpeg(toy_picture(FACE)), 1.0, toy_pack)
    pupils = [at(app, "203.0.113.7") for _ in range(30)]

    def work(pupil):
        event = json.loads(pupil.call("analyze_image", pupil.upload(tmp_path / "photo.png")).body)["event_id"]
        return pupil.get(f"/gradio_api/call/analyze_image/{event}").body

    with ExitStack() as stack, ThreadPoolExecutor(30) as threads:
        # What a page holds open: its heartbeat, its events, an upload on its way.
        for n, pupil in enumerate(pupils):
            for session in (f"a{n}", f"b{n}", f"c{n}"):
                assert stack.enter_context(pupil.open(f"/gradio_api/heartbeat/{session}")).status == 200
        lines = [pupil.frame(indices["camera"], f"a{n}", frame).get("line", 0) for n, pupil in enumerate(pupils)]
        assert lines == [0] * 8 + list(range(1, 23))
        # Nobody elsewhere waits behind them all.
        assert at(app, "198.51.100.1").frame(indices["camera"], "elsewhere", frame)["line"] == 1
        assert all(b"female" in answer for answer in threads.map(work, pupils))


SMALL = {
    "FACEINSIGHT_JOBS": "2",
    "FACEINSIGHT_ADDRESS_JOBS": "5",
    "FACEINSIGHT_ADDRESS_STREAMS": "5",
    "FACEINSIGHT_PLACES": "2",
    "FACEINSIGHT_ADDRESS_LINE": "4",
}
# One address, though its last digits change; and what its sender invents stands before what the trusted server adds.
EVES = ("2001:db8::1", "2001:db8::2", "192.0.2.9, 2001:db8::3", "2001:db8:0:0:ffff::4")


def analyse(one, path):
    """Asks for what takes a while."""
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, 0, 0, 0, 0.5, 0, ""]
    return one.post("/gradio_api/call/analyze_video", {"data": data})


def refusals(who, path, indices, frame, stack):
    """What everybody of an address hears who asks for more and more, by kind."""
    jobs, streams, lines = [], [], []
    for one in who:
        jobs += [analyse(one, path) for _ in range(2)]
        streams.append(stack.enter_context(one.open(f"/gradio_api/heartbeat/{id(one)}")))
        lines.append(one.frame(indices["camera"], f"{id(one)}c", frame))
    return jobs, streams, lines


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", toy_frames(900))


@pytest.mark.parametrize(
    ("addresses", "trusted"), [(EVES, "127.0.0.1"), ([f"192.0.2.{n}" for n in range(9)], "198.51.100.99")]
)
def test_dozens_of_cookies_of_one_address_leave_the_rest_to_others(
    toy_pack, tmp_path, indices, clip, addresses, trusted
):
    frame = frame_of(jpeg(toy_picture(FACE)), 1.0, toy_pack)
    with served(tmp_path, "--pack", toy_pack, "--trusted-proxies", trusted, **SMALL) as app, ExitStack() as stack:
        eves = [at(app, addresses[n % len(addresses)]) for n in range(9)]
        # A program's file is for whoever knows its path.
        path = Stranger(app, **{"X-Forwarded-For": addresses[0]}).upload(clip)
        jobs, streams, lines = refusals(eves, path, indices, frame, stack)
        assert [job.status for job in jobs].count(200) <= 5
        assert {job.sentence for job in jobs if job.status != 200} == {
            "Your address has 5 jobs at once already: wait for one of them to end."
        }
        assert [stream.status for stream in streams] == [200] * 5 + [429] * 4
        assert b"Too many pages are open at your address" in streams[-1].read()
        assert [answer.get("line") for answer in lines] == [None, None, 1, 2, *[None] * 5]
        assert {answer.get("problem", "")[:47] for answer in lines[4:]} == {
            "Too many people wait for the camera, here or at"
        }
        if trusted != "127.0.0.1":
            # Nobody is elsewhere by their own word.
            return
        ann = at(app, "198.51.100.1")
        assert analyse(ann, path).status == 200
        assert stack.enter_context(ann.open("/gradio_api/heartbeat/ann")).status == 200
        assert ann.frame(indices["camera"], "ann", frame)["line"] == 1


def test_visitors_of_an_address_leave_room_for_others():
    presence = Presence(5, lambda visitor: True, of_an_address=3)
    assert [presence.come(f"eve{n}", address="eve") for n in range(5)] == [True] * 3 + [False] * 2
    assert presence.is_full("eve")
    assert not presence.is_full("ann")
    assert presence.come("ann", address="ann")
    assert presence.come("eve0", address="eve")


def test_sessions_of_an_address_are_bounded_and_others_keep_theirs():
    dropped = []
    held = Held(Limits(sessions=2, address_sessions=3, open_sessions=100), dropped.append)
    ann, *eves = (Visitor(str(n), browser=True, address="ann" if n == 0 else "eve") for n in range(9))
    held.claim("anns", ann)
    for n, eve in enumerate(eves):
        held.claim(f"eves{n}", eve)
    assert dropped == [f"eves{n}" for n in range(5)]
    for n in range(5, 8):
        held.opened(f"eves{n}")
    with pytest.raises(HTTPException, match="503"):
        held.claim("another", eves[0])
    held.claim("anns2", ann)
    assert "anns" in held
    held.drop("eves7")
    held.claim("another", eves[0])
