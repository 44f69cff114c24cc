"""What the verifier learns from, and the way from a network to a file of 8-bit integers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: only training needs it")
onnx = pytest.importorskip("onnx")

from faceinsight.inference.session import create_session, run_batched  # noqa: E402
from training import verifier  # noqa: E402
from training.data import Scene  # noqa: E402
from training.export import folded, write  # noqa: E402
from training.networks import Classifier, Mirrored  # noqa: E402
from training.quantize import quantize  # noqa: E402
from training.spoiling import MIXED, SIZE, blended  # noqa: E402


def test_a_candidate_is_as_much_of_a_face_as_the_teacher_says():
    scores = np.array([0.8, 0.4, 0.1], np.float32)
    assert verifier.target(np.array([0.7, 0.5, 0.0]), scores) == (1.0, 0)
    share, which = verifier.target(np.array([0.1, 0.5, 0.0]), scores)
    assert which == 1
    assert 0.2 < share < 0.6
    assert verifier.target(np.array([0.0, 0.0, 0.0]), scores) == (0.0, None)
    # On the edge of a face, nobody can tell.
    share, which = verifier.target(np.array([0.2, 0.0, 0.0]), scores)
    assert np.isnan(share)
    assert which is None
    assert verifier.target(np.zeros(0), scores[:0]) == (0.0, None)


def test_the_box_moves_with_the_picture():
    crop = np.zeros((verifier.STORED, verifier.STORED, 3), np.uint8)
    cv2.ellipse(crop, (36, 42), (10, 12), 0, 0, 360, (255, 255, 255), -1)
    rng = np.random.default_rng(3)
    for _ in range(20):
        picture, box = verifier.jittered(crop, np.array([26, 30, 46.5, 54.5], np.float32), rng)
        rows, columns = np.nonzero(picture.mean(axis=2) > (picture.max() / 2))
        seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        # Blurred, it reaches a little further.
        np.testing.assert_allclose(seen, box, atol=3)


def test_a_framed_or_cut_out_face_keeps_its_box():
    rng = np.random.default_rng(1)
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[40:100, 30:80] = 255
    box = np.array([30, 40, 80, 100], np.float32)
    scene = Scene("a.jpg", picture, np.array([[*box, 0.7], [120, 0, 128, 8, 0.9]], np.float32), np.zeros((2, 5, 2)))
    for _ in range(20):
        for shown, truth in (verifier.framed_face(picture, box, rng), verifier.cut_out(scene, rng)):
            for x1, y1, x2, y2, score in truth:
                assert 0.6 < score < 0.95
                inside = shown[max(0, round(y1)) : round(y2), max(0, round(x1)) : round(x2)]
                # The second box of the scene lies on black.
                assert inside.mean() > 230 or (score > 0.85 and inside.mean() == 0)


def test_mixing_keeps_what_a_batch_holds():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (400, SIZE, SIZE)).astype(np.uint8)
    targets = np.eye(7, dtype=np.float32)[rng.integers(0, 7, 400)]
    mixed, wanted = blended(pictures, targets, rng)
    assert mixed.dtype == np.uint8
    np.testing.assert_allclose(wanted.sum(axis=1), 1, atol=1e-6)
    whole = (mixed == pictures).all(axis=(1, 2))
    assert 1 - MIXED - 0.1 < whole.mean() < 1 - MIXED + 0.15


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_file_in_8_bits_answers_as_the_network(tmp_path):
    torch.manual_seed(0)
    network = folded(Classifier(5, (8, 16, 16, 16), (0, 1, 0, 0)).eval())
    pictures = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3)).astype(np.uint8)
    axes = {"input": {0: "batch"}, "logits": {0: "batch"}}
    write(Mirrored(network).eval(), torch.zeros(2, 3, 32, 32), ["logits"], axes, tmp_path / "exact.onnx")
    quantize(tmp_path / "exact.onnx", tmp_path / "small.onnx", iter(np.split(pictures, 2)))
    kinds = [node.op_type for node in onnx.load(tmp_path / "small.onnx").graph.node]
    assert kinds.count("DequantizeLinear") > kinds.count("Conv") > 0
    blob = ((pictures.astype(np.float32) - 127.5) / 128).transpose(0, 3, 1, 2).copy()
    exact = run_batched(create_session(tmp_path / "exact.onnx"), blob)
    small = run_batched(create_session(tmp_path / "small.onnx"), pictures)
    np.testing.assert_allclose(small, exact, atol=0.05 * np.ptp(exact))
