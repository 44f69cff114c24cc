from __future__ import annotations

import pytest

from tests.serving import served
from tests.strangers import Stranger, indices_of


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
