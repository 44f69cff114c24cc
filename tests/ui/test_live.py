"""The webcam's server side: what a frame is answered with, what is kept, and for how long."""

from __future__ import annotations

import base64
import collections
import gc
import inspect
import io
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from faceinsight import FaceAnalyzer, FaceStream
from faceinsight.ui import live, places
from tests.toy_models import toy_picture
from tests.ui.frames import FACES, PICTURE, in_a_loop, jpeg, numbers


def test_the_time_that_is_told_includes_waiting_for_others(send, monkeypatch):
    decoded = live.decode

    def slowly(picture):
        time.sleep(0.2)
        return decoded(picture)

    monkeypatch.setattr(live, "decode", slowly)
    first, second = sorted(answer["ms"] for answer in send(1, "ann", "ben"))
    assert first >= 200
    assert second >= 400


def test_a_frame_is_answered_with_what_to_draw(send):
    answer = send(10)
    assert answer["size"] == (640, 480)
    assert answer["ms"] > 0
    assert answer["status"].startswith("Pack **toy**")
    assert answer["status"].endswith("ms** per frame")
    first, second = answer["faces"]
    assert [face["id"] for face in answer["faces"]] == [1, 2]
    assert {first["tag"], second["tag"]} == {"1", "2"}
    x1, y1, x2, y2 = first["core"]
    assert first["box"][0] < x1 < x2 < first["box"][2]
    assert first["box"][1] < y1 < y2 < first["box"][3]
    assert first["color"] == "rgb(86 180 233)"
    assert first["cells"][0] == 1
    assert len(first["emotion"]) == 8
    assert all(text.endswith("%") for _, _, text in first["emotion"])
    assert {round(face["box"][0]) for face in answer["faces"]} == {96, 320}


def test_settings_count_at_once(send):
    send(10)
    bare = send(1, labels=())["faces"][0]
    assert (bare["tag"], bare["lines"]) == ("", ())
    assert send(1, smallest=100)["faces"] == []
    assert len(send(10, smoothing=0)["faces"]) == 2


def test_a_number_is_one_persons_through_all_settings(send, engine, toy_pack):
    assert numbers(send(10)) == [1, 2]
    assert numbers(send(1, smoothing=0)) == [1, 2]
    assert all(face["emotion"] for face in send(10, smoothing=0)["faces"])
    engine._analyzers["other"] = FaceAnalyzer(toy_pack)
    assert numbers(send(2, pack="other")) == [1, 2]
    # Nobody knows who is who in a frame of another size, as of a phone that was turned.
    assert numbers(send(2, picture=jpeg(toy_picture(FACES)[:400]))) == [3, 4]


def test_with_blur_nobody_walks_in_unseen(send, engine, monkeypatch):
    analyzer = engine.analyzer()
    regions, detect = [], analyzer.detect

    def noted(image, **options):
        regions.append(options["region"])
        return detect(image, **options)

    monkeypatch.setattr(analyzer, "detect", noted)
    # Else it depends on the machine's speed whether a region is searched at all.
    monkeypatch.setattr(FaceStream, "_is_cheap", lambda *_: True)
    send(30)
    assert any(regions)
    regions.clear()
    send(30, blur=True)
    assert regions == [None] * 30


@pytest.mark.parametrize(
    "picture",
    ["", "no base64!", jpeg(kind="png"), PICTURE[:3000], jpeg(np.zeros((20, 2000, 3), np.uint8))],
)
def test_what_is_no_frame_of_a_camera_is_one_sentence(send, picture):
    assert send(picture=picture) == {"problem": "The camera's frame cannot be read: reload the page."}
    assert len(send()["faces"]) == 2


def test_a_frame_that_was_overtaken_is_left_out(visitors, toy_pack):
    async def run():
        settings = [str(toy_pack), 0.5, 4, [], False, 50]
        frames = [{"picture": PICTURE, "time": time_s, "settings": settings} for time_s in (1.0, 1.1, 1.05)]
        return [await visitors.frame("ann", frame) for frame in frames]

    assert ["late" in answer for answer in in_a_loop(run())] == [False, False, True]


@pytest.mark.parametrize("time_s", [float("nan"), float("inf"), "nan", "Infinity"])
def test_a_time_that_is_none_does_no_harm(send, visitors, toy_pack, time_s):
    frame = {"picture": PICTURE, "time": time_s, "settings": [str(toy_pack), 0.5, 4, [], False, 50]}
    assert in_a_loop(visitors.frame("ann", frame)) == {"late": True}
    assert numbers(send(3)) == [1, 2]
    assert in_a_loop(visitors.frame("ann", frame)) == {"late": True}
    assert numbers(send(3)) == [1, 2]


@pytest.mark.parametrize("time_s", [1e300, 1e8, -1.0])
def test_a_time_that_no_camera_has_reached_blocks_no_later_frame(send, visitors, toy_pack, time_s):
    frame = {"picture": PICTURE, "time": time_s, "settings": [str(toy_pack), 0.5, 4, [], False, 50]}
    send(1)
    assert in_a_loop(visitors.frame("ann", frame)) == {"late": True}
    assert numbers(send(3)) == [1, 2]


def test_a_wrong_time_blocks_later_frames_for_moments_only(send, visitors, toy_pack, monkeypatch):
    monkeypatch.setattr(live, "HEAL_S", 0.5)
    frame = {"picture": PICTURE, "time": 1e6, "settings": [str(toy_pack), 0.5, 4, [], False, 50]}
    send(1)
    assert "late" not in in_a_loop(visitors.frame("ann", frame))
    assert send(1) == {"late": True}
    time.sleep(0.6)
    assert numbers(send(3)) == [1, 2]


def test_a_frame_that_was_long_on_its_way_makes_no_later_one_late(visitors, toy_pack):
    async def run():
        settings = [str(toy_pack), 0.5, 4, [], False, 50]
        frames = [{"picture": PICTURE, "time": time_s, "settings": settings} for time_s in (1.0, 60.0, 60.1)]
        return [await visitors.frame("ann", frame) for frame in frames]

    assert ["late" in answer for answer in in_a_loop(run())] == [False, False, False]


def test_a_first_time_that_none_has_reached_blocks_none_either(send, visitors, toy_pack):
    frame = {"picture": PICTURE, "time": 1e300, "settings": [str(toy_pack), 0.5, 4, [], False, 50]}
    assert in_a_loop(visitors.frame("ann", frame)) == {"late": True}
    assert numbers(send(3)) == [1, 2]


def test_places_go_to_who_sends_frames(send, visitors):
    for n in range(50):
        assert "cannot be read" in in_a_loop(visitors.frame(f"nothing{n}", {}))["problem"]
        assert "cannot be read" in send(1, f"garbage{n}", picture="garbage")[0]["problem"]
    assert len(visitors) == 0
    assert [len(answer["faces"]) for answer in send(1, "ann", "bob")] == [2, 2]


def test_a_place_is_kept_by_frames_only(send, visitors, monkeypatch, toy_pack):
    send(1, "ann", "bob")
    assert send(1, "eve")[0]["line"] == 1
    clock = time.monotonic
    monkeypatch.setattr(places.time, "monotonic", lambda: clock() + places.AWAY_S * 0.6)
    send(1, "bob")
    # Ann's page asks, but for nothing that a camera sends.
    again = {"picture": "garbage", "time": 0.0, "settings": [str(toy_pack), 0.5, 4, [], False, 50]}
    in_a_loop(visitors.frame("ann", again))
    send(1, "eve")
    monkeypatch.setattr(places.time, "monotonic", lambda: clock() + places.AWAY_S * 1.2)
    assert "line" not in send(1, "eve")[0]
    assert "line" not in send(1, "bob")[0]


def test_other_nonsense_is_one_sentence_too(send, visitors, toy_pack):
    assert "no model pack called '/etc'" in send(pack="/etc")["problem"]
    assert len(send(threshold="high")["faces"]) == 2
    for nonsense in ({}, [], None, {"picture": PICTURE, "time": 10**400, "settings": [str(toy_pack), 0, 0, 5, 0, 0]}):
        answer = in_a_loop(visitors.frame("ann", nonsense))
        assert answer == {"problem": "What came with the camera's frame cannot be read: reload the page."}


def test_places_are_bounded_and_become_free(send, visitors, monkeypatch):
    *served, refused = send(1, "ann", "bob", "eve")
    assert [len(answer["faces"]) for answer in served] == [2, 2]
    assert refused["line"] == 1
    assert refused["problem"].startswith("You are number 1 in line for the camera: keep this page open")
    in_a_loop(visitors.leave(SimpleNamespace(session_hash="bob")))
    assert len(visitors) == 1
    assert len(send(1, "eve")[0]["faces"]) == 2
    # Whoever stopped the camera keeps nobody from a place.
    assert "problem" in send(1, "bob")[0]
    monkeypatch.setattr(places, "AWAY_S", 0)
    assert len(send(1, "bob")[0]["faces"]) == 2
    monkeypatch.setattr(live, "GONE_S", 0)
    send(1, "kim")
    assert len(visitors) == 1


def test_a_page_without_a_word_is_forgotten_though_nobody_new_comes(send, visitors, monkeypatch):
    send(1, "ann", "bob")
    visitors._visitors["bob"].seen_at -= live.GONE_S + 1
    send(1, "ann")
    assert list(visitors._visitors) == ["ann"]
    visitors._visitors["ann"].seen_at -= live.GONE_S + 1
    in_a_loop(visitors.leave(SimpleNamespace(session_hash="eve")))
    assert len(visitors) == 0


def test_visitors_come_and_go_in_the_event_loop_only(visitors):
    # Gradio would run what is no coroutine in a thread.
    assert inspect.iscoroutinefunction(visitors.leave)


def test_what_goes_wrong_before_a_frame_is_looked_at_is_one_sentence_too(send, visitors, monkeypatch):
    monkeypatch.setattr(visitors, "_kept", lambda session: 1 / 0)
    assert "Something unexpected" in send()["problem"]


def large(root, least=20_000):
    """Returns the arrays and byte strings of so many bytes that our own objects refer to, the models left out."""
    found, seen, waiting = [], set(), [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (type, FaceAnalyzer)):
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray) and thing.base is not None:
            waiting.append(thing.base)
        if getattr(thing, "nbytes", 0) >= least or (isinstance(thing, (bytes, bytearray, str)) and len(thing) >= least):
            found.append(thing)
        containers = (list, tuple, dict, set, frozenset, collections.deque)
        if isinstance(thing, containers) or type(thing).__module__.startswith("faceinsight"):
            waiting += gc.get_referents(thing)
    return found


def test_nothing_is_kept_of_a_picture(send, visitors):
    send(5, record=True)
    kept = visitors._visitors["ann"]
    assert large(kept) == []
    # It would be found, however deep it lay.
    person = next(iter(kept.stream._people.values()))
    person.looked["emotion"] = (0.0, {"crop": toy_picture(FACES)[:90]})
    assert len(large(kept)) >= 1
    person.looked["emotion"] = (0.0, {"jpeg": b"?" * 30_000})
    assert len(large(kept)) == 1


def test_the_rows_of_a_frame_go_to_a_page_that_records(send, visitors):
    send(10)
    assert "rows" not in send(1)
    answer = send(1, record=True)
    assert [row["track_id"] for row in answer["rows"]] == [1, 2]
    assert {row["gender"] for row in answer["rows"]} == {"female", "male"}
    assert answer["rows"][0]["x1"] == pytest.approx(answer["faces"][0]["box"][0], abs=0.1)


def test_a_frame_of_very_many_scans_is_no_cameras(send):
    buffer = io.BytesIO()
    Image.fromarray(toy_picture(FACES)).save(buffer, "jpeg", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    many = data[:last] + data[last:-2] * 2000 + data[-2:]
    answer = send(picture=base64.b64encode(many).decode())
    assert answer == {"problem": "The camera's frame cannot be read: reload the page."}
