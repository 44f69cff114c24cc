"""The fuzzers in short: `make fuzz` runs them at length."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from faceinsight import load_image
from faceinsight.media.video import probe
from faceinsight.ui import Engine
from tests.fuzz import running, seeds


def check(outcome: running.Outcome, count: int) -> None:
    assert outcome.wrong == []
    assert outcome.results + outcome.sentences == count
    # Damage that nothing notices, or that leaves nothing, would show little.
    assert min(outcome.results, outcome.sentences) > count // 20


def test_what_is_broken_was_whole(tmp_path):
    for name, content in seeds.pictures().items():
        assert min(load_image(content, name).pixels.shape[:2]) == 80
    for name, content in seeds.clips().items():
        (tmp_path / name).write_bytes(content)
        assert probe(tmp_path / name).width == 128


def test_broken_pictures():
    check(running.pictures(400), 400)


def test_broken_clips(toy_analyzer, tmp_path):
    check(running.clips(25, toy_analyzer, tmp_path), 25)


def test_broken_packs(tmp_path):
    check(running.packs(200, tmp_path), 200)


def test_broken_frames(toy_pack):
    # In a thread of its own: the browser's tests leave a loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        check(thread.submit(running.frames, 100, Engine(toy_pack)).result(), 200)
