"""The webcam's server side: what a frame is answered with, what is kept, and for how long."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from faceinsight.drawing import LABELS
from faceinsight.ui import Engine, live
from faceinsight.ui.live import Visitors
from tests.toy_models import toy_picture

FACES = {(3, 2): (255, 240, 200), (10, 8): (200, 100, 255)}


def jpeg(pixels: np.ndarray | None = None, kind: str = "jpeg") -> str:
    buffer = io.BytesIO()
    Image.fromarray(toy_picture(FACES) if pixels is None else pixels).save(buffer, kind, quality=95)
    return base64.b64encode(buffer.getvalue()).decode()


PICTURE = jpeg()


@pytest.fixture
def engine(toy_pack):
    return Engine(toy_pack, live_visitors=2)


@pytest.fixture
def visitors(engine):
    return Visitors(engine)


@pytest.fixture
def send(visitors, toy_pack):
    """Sends frames of one or more visitors, a thirtieth of a second apart; returns the last answer of each."""

    taken = itertools.count(100)

    def frames(count=1, *sessions, picture=PICTURE, labels=LABELS, **changes):
        settings = {"pack": str(toy_pack), "threshold": 0.5, "smallest": 4, "labels": list(labels)}
        settings |= {"blur": False, "smoothing": 50, **changes}

        async def run():
            answers = []
            for _ in range(count):
                data = {"picture": picture, "time": next(taken) / 30, "settings": list(settings.values())}
                names = sessions or ("ann",)
                answers = await asyncio.gather(*(visitors.frame(name, data) for name in names))
            return answers

        answers = asyncio.run(run())
        return answers if sessions else answers[0]

    return frames


def test_a_frame_is_answered_with_what_to_draw(send):
    answer = send(10)
    assert answer["size"] == (640, 480)
    assert answer["ms"] > 0
    first, second = answer["faces"]
    assert [face["id"] for face in answer["faces"]] == [1, 2]
    assert {first["lines"][0].split(" · ")[0], second["lines"][0].split(" · ")[0]} == {"#1", "#2"}
    assert first["color"] == "rgb(86 180 233)"
    assert first["cells"][0] == 1
    assert len(first["emotion"]) == 8
    assert all(text.endswith("%") for _, _, text in first["emotion"])
    assert {round(face["box"][0]) for face in answer["faces"]} == {96, 320}


def test_settings_count_at_once(send):
    send(10)
    assert send(1, labels=())["faces"][0]["lines"] == ()
    assert send(1, smallest=100)["faces"] == []
    assert len(send(10, smoothing=0)["faces"]) == 2


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

    assert ["late" in answer for answer in asyncio.run(run())] == [False, False, True]


def test_other_nonsense_is_one_sentence_too(send, visitors):
    assert "no model pack called '/etc'" in send(pack="/etc")["problem"]
    assert "Something unexpected" in send(threshold="high")["problem"]
    assert "Something unexpected" in asyncio.run(visitors.frame("ann", {}))["problem"]


def test_places_are_bounded_and_become_free(send, visitors, monkeypatch):
    *served, refused = send(1, "ann", "bob", "eve")
    assert [len(answer["faces"]) for answer in served] == [2, 2]
    assert refused["problem"].startswith("All places at the camera are taken (2): keep this page open")
    visitors.leave(SimpleNamespace(session_hash="bob"))
    assert len(visitors) == 1
    assert len(send(1, "eve")[0]["faces"]) == 2
    # Whoever stopped the camera keeps nobody from a place.
    assert "problem" in send(1, "bob")[0]
    monkeypatch.setattr(live, "AWAY_S", 0)
    assert len(send(1, "bob")[0]["faces"]) == 2
    monkeypatch.setattr(live, "GONE_S", 0)
    send(1, "kim")
    assert len(visitors) == 1


def test_nothing_is_kept_of_a_picture(send, visitors):
    send(5)
    kept = visitors._visitors["ann"]
    sizes = [value.size for value in vars(kept.stream).values() if isinstance(value, np.ndarray)]
    assert max(sizes, default=0) < 64 * 64
    assert kept.kept is None


def record(visitors, on):
    return asyncio.run(visitors.record("ann", on))


def test_a_recording_is_a_row_a_face_and_frame(send, visitors):
    send(10)
    assert record(visitors, True) == {}
    assert send(6)["rows"] == 12
    result = record(visitors, False)
    assert result["rows"] == 12
    rows = list(csv.DictReader(io.StringIO(result["csv"].removeprefix("\ufeff"))))
    assert [float(row["time"]) for row in rows[::2]] == pytest.approx([n / 30 for n in range(6)], abs=0.001)
    assert [row["track_id"] for row in rows[:2]] == ["1", "2"]
    assert {row["gender"] for row in rows} == {"female", "male"}
    # It was handed over, and is forgotten.
    assert record(visitors, False)["rows"] == 0
    assert "rows" not in send()


def test_a_recording_is_bounded(send, visitors, monkeypatch):
    monkeypatch.setattr(live, "MAX_ROWS", 5)
    record(visitors, True)
    answer = send(10)
    assert (answer["rows"], answer["full"]) == (4, True)
    assert record(visitors, False)["rows"] == 4
