"""The training code on pictures of chance; skipped where PyTorch, which only training needs, is not installed."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: only training needs it")

from training.canvases import cropped  # noqa: E402
from training.loop import Loop, Plan, Shuffled, fit, macro_f1, prepare  # noqa: E402
from training.muon import orthogonal  # noqa: E402
from training.networks import Classifier, Detector, standardised  # noqa: E402


def bright_or_dark(rng, count=32):
    labels = rng.integers(0, 2, count)
    noise = rng.integers(0, 60, (count, 16, 16, 3))
    return (noise + labels[:, None, None, None] * 120).astype(np.uint8), torch.from_numpy(labels)


def train(out, steps, stop=None, resume=False):
    rng = prepare(3, 1)
    network = Classifier(2, (8, 8, 8, 8), (0, 1, 0, 0), dropout=0.0)
    loop = Loop(network, Plan(steps=steps, rate=2e-3, average=0.9), out)
    if resume:
        assert loop.resume()
    pictures, labels = bright_or_dark(rng)
    scores = []

    def validate(network):
        from training.loop import answers

        scores.append(float((answers(network, pictures).argmax(1) == labels.numpy()).mean()))
        if stop is not None and loop.step >= stop:
            raise KeyboardInterrupt
        return scores[-1], {"right": scores[-1]}

    def losses(logits, wanted):
        return {"cross": torch.nn.functional.cross_entropy(logits.float(), wanted)}

    fit(loop, lambda: (pictures, labels), losses, 5, validate)
    return loop, scores


def test_a_network_learns_and_leaves_checkpoint_figures_and_plot(tmp_path):
    loop, scores = train(tmp_path / "run", 40)
    assert max(scores) == 1.0
    assert loop.score == 1.0
    assert loop.best is not None
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"checkpoint.pt", "metrics.csv", "metrics.png"}
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert rows[0] == "step,minutes,cross,right"
    assert len(rows) > 5


def test_it_stops_early_when_nothing_gets_better(tmp_path):
    loop, _ = train(tmp_path, 4000)
    assert loop.step < 400


def test_an_interrupted_training_goes_on_where_it_was(tmp_path):
    whole, _ = train(tmp_path / "whole", 30)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", 30, stop=20)
    parts, _ = train(tmp_path / "parts", 30, resume=True)
    # The checkpoint is of step 15: the report at 20 was interrupted. Momentum, schedule and averages came back with it.
    assert parts.step == whole.step == 30
    for ours, theirs in zip(parts.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16)])
def test_orthogonal_steps_have_singular_values_near_one(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
    assert 0.4 < values.min() <= values.max() < 1.3


def test_every_index_comes_once_an_epoch():
    queue = Shuffled(np.arange(10), np.random.default_rng(0))
    taken = np.concatenate([queue.take(4) for _ in range(5)])
    assert sorted(taken[:10]) == sorted(taken[10:]) == list(range(10))


def test_macro_f1_by_hand():
    # Class 0: 1 hit, 1 miss, 0 false; class 1: 2 hits, 0 misses, 1 false.
    assert macro_f1(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_the_detector_answers_as_scrfd_does():
    outputs = Detector().eval()(torch.zeros(1, 3, 64, 96))
    cells = [2 * (64 // s) * (96 // s) for s in (8, 16, 32)]
    assert [tuple(o.shape) for o in outputs] == [(1, n, w) for w in (1, 4, 10) for n in cells]


def test_light_does_not_matter_to_the_emotion_network():
    torch.manual_seed(0)
    picture = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(standardised(picture), standardised(3 * picture + 1), rtol=0.2, atol=0.2)


def test_a_mirrored_crop_mirrors_boxes_and_points():
    points = np.arange(10, dtype=np.float32)
    cells, values = np.array([[2, 1, 0]]), np.array([[0.9, 1, 2, 3, 4, *points]], np.float32)
    moved, mirrored = cropped(cells, values, 0, 0, 64, 16, flip=True)
    assert moved.tolist() == [[2, 3, 0]]
    assert mirrored[0, :5].tolist() == pytest.approx([0.9, 3, 2, 1, 4])
    assert mirrored[0, 5:9].tolist() == [-2, 3, 0, 1]  # the right eye comes first now
