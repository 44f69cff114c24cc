from __future__ import annotations

import numpy as np
import pytest

from faceinsight import FaceAnalyzer
from faceinsight.errors import ModelFileError
from faceinsight.inference.session import MAX_BATCH, create_session, run_batched
from tests.toy_models import (
    genderage_table,
    toy_age_distribution,
    toy_classifier,
    toy_detector,
    toy_picture,
)


@pytest.mark.parametrize("count", [1, 3, MAX_BATCH, MAX_BATCH + 5])
def test_batches_of_any_size_keep_their_order(tmp_path, count):
    session = create_session(toy_classifier(tmp_path / "m.onnx", 4, side=32))
    batch = np.random.default_rng(0).normal(size=(count, 3, 32, 32)).astype(np.float32)
    rows = run_batched(session, batch)
    assert rows.shape == (count, 4)
    for i in (0, count - 1):
        alone = session.run(None, {"input": batch[i : i + 1]})[0][0]
        np.testing.assert_allclose(rows[i], alone, rtol=1e-4, atol=1e-5)


def test_a_provider_that_is_not_installed_falls_back_to_the_cpu(tmp_path):
    path = toy_classifier(tmp_path / "m.onnx", 2, side=16)
    session = create_session(path, ["NoSuchExecutionProvider"])
    assert session.get_providers() == ["CPUExecutionProvider"]


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"\x00\x01")
    with pytest.raises(ModelFileError, match=r"m\.onnx is not a model"):
        create_session(tmp_path / "m.onnx")


def test_an_age_distribution_gives_age_and_range(tmp_path):
    toy_detector(tmp_path / "detector.onnx")
    toy_age_distribution(tmp_path / "age.onnx")
    (tmp_path / "pack.toml").write_text(
        '[detector]\nfile = "detector.onnx"\n'
        + genderage_table("age.onnx", 'output = "age_distribution"\n').replace("1.5", "0.9")
    )
    # With red = 255 the toy's logits are -(year - 100 green)^2 / 8 but for a constant:
    # a normal distribution with a standard deviation of 2 years.
    (face,) = FaceAnalyzer(tmp_path).analyze(toy_picture({(5, 5): (255, 128, 255)})).faces
    assert face.age == pytest.approx(50.2, abs=0.7)
    low, high = face.age_range
    assert (face.age - low, high - face.age) == pytest.approx((2.56, 2.56), abs=1)
