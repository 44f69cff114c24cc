"""Another pack at the camera: loaded beside the stream, then swapped in."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time

import pytest

from faceinsight import FaceAnalyzer
from tests.ui.frames import PICTURE, in_a_loop, numbers


@pytest.fixture
def other(isolated_home, toy_pack):
    """The name of another pack that may be chosen."""
    shutil.copytree(toy_pack, isolated_home / ".faceinsight" / "other")
    return "other"


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_another_pack_is_loaded_beside_the_stream_and_then_swapped_in(send, engine, other, monkeypatch):
    go_on, make = threading.Event(), FaceAnalyzer

    def slowly(name, **options):
        if name == other:
            assert go_on.wait(20)
        return make(name, **options)

    monkeypatch.setattr("faceinsight.ui.engine.FaceAnalyzer", slowly)
    assert numbers(send(10)) == [1, 2]
    for _ in range(3):
        answer = send(2, pack=other)
        assert numbers(answer) == [1, 2]
        assert answer["status"].startswith("Pack **toy**")
        assert answer["status"].endswith("loading **other** …")
    go_on.set()
    wait_until(lambda: engine.is_loaded(other))
    answer = send(2, pack=other)
    assert numbers(answer) == [1, 2]
    assert answer["status"].startswith("Pack **other**")
    assert "loading" not in answer["status"]
    # Files that change drop the pack, and nobody's people.
    engine.forget(other)
    assert numbers(send(1, pack=other)) == [1, 2]


def test_a_pack_that_cannot_be_loaded_leaves_the_one_before_with_a_sentence(send, engine, other, isolated_home):
    (isolated_home / ".faceinsight" / other / "genderage.onnx").write_bytes(b"no model")
    assert numbers(send(10)) == [1, 2]
    send(1, pack=other)
    wait_until(lambda: other in engine._failed)
    for pack, sentence in ((other, "genderage.onnx"), ("x" * 1000, "There is no model pack called 'xxx")):
        answer = send(1, pack=pack)
        assert numbers(answer) == [1, 2]
        assert answer["status"].startswith("Pack **toy**")
        assert sentence in answer["status"]
        assert answer["status"].endswith("toy goes on.")
    # What strangers invent is not remembered.
    assert set(engine._failed) == {other}
    assert "There is no model pack called" in send(1, "new", pack="invented")[0]["problem"]


def test_a_pack_that_is_loading_does_not_stop_the_others(visitors, engine, toy_pack, monkeypatch):
    go_on, analyzer = threading.Event(), engine.analyzer
    monkeypatch.setattr(engine, "analyzer", lambda pack: analyzer() if pack != "slow" or go_on.wait(20) else None)

    async def run():
        def frame(pack):
            return {"picture": PICTURE, "time": 1.0, "settings": [pack, 0.5, 4, [], False, 50]}

        slow = asyncio.create_task(visitors.frame("ann", frame("slow")))
        await asyncio.sleep(0.1)
        try:
            async with asyncio.timeout(10):
                answer = await visitors.frame("bob", frame(str(toy_pack)))
            assert not slow.done()
        finally:
            go_on.set()
        return answer, await slow

    assert [numbers(answer) for answer in in_a_loop(run())] == [[1, 2], [1, 2]]
