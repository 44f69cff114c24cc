from __future__ import annotations

import asyncio
import itertools

import pytest

from faceinsight.drawing import LABELS
from faceinsight.ui import Engine
from faceinsight.ui.limits import Limits
from faceinsight.ui.live import Visitors
from tests.serving import served
from tests.strangers import Stranger, indices_of
from tests.ui.frames import PICTURE, in_a_loop


@pytest.fixture(scope="package")
def app(toy_pack, tmp_path_factory):
    # Many more browsers than an address may have, as every test comes with new ones.
    many = {"FACEINSIGHT_ADDRESS_VISITORS": "1000", "FACEINSIGHT_MAX_VISITORS": "1000"}
    with served(tmp_path_factory.mktemp("app"), "--pack", toy_pack, **many) as running:
        yield running


@pytest.fixture(scope="package")
def indices(app):
    return indices_of(app)


@pytest.fixture
def ann(app):
    return Stranger(app).page()


@pytest.fixture
def eve(app):
    return Stranger(app).page()


@pytest.fixture
def engine(toy_pack):
    return Engine(toy_pack)


@pytest.fixture
def visitors(engine):
    return Visitors(engine, Limits(places=2))


@pytest.fixture
def send(visitors, toy_pack):
    """Sends frames of one or more visitors, a thirtieth of a second apart; returns the last answer of each."""

    taken = itertools.count(100)

    def frames(count=1, *sessions, picture=PICTURE, labels=LABELS, record=False, **changes):
        settings = {"pack": str(toy_pack), "threshold": 0.5, "smallest": 4, "labels": list(labels)}
        settings |= {"blur": False, "smoothing": 50, **changes}

        async def run():
            answers = []
            for _ in range(count):
                data = {"picture": picture, "time": next(taken) / 30, "settings": list(settings.values())}
                data["record"] = record
                names = sessions or ("ann",)
                answers = await asyncio.gather(*(visitors.frame(name, data) for name in names))
            return answers

        answers = in_a_loop(run())
        return answers if sessions else answers[0]

    return frames
