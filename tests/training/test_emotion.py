"""The two kinds of emotion network, and what one begins with."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: only training needs it")

from training.networks import Classifier, Lite0, emotion  # noqa: E402


@pytest.mark.parametrize("kind", [Lite0, Classifier])
def test_a_runs_weights_find_their_own_kind(kind):
    torch.manual_seed(0)
    network = (Lite0(7) if kind is Lite0 else emotion()).eval()
    again = emotion(network.state_dict()).eval()
    assert isinstance(again, kind)
    pictures = torch.rand(2, 3, 48, 48) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(again(pictures), network(pictures))
        # Brightness is all they see, and not how bright the room is.
        grey = pictures.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        torch.testing.assert_close(network(grey * 0.5 + 0.1), network(grey), atol=0.1, rtol=0.1)


def test_features_are_taken_over_in_order():
    torch.manual_seed(1)
    one, other = Lite0(7), Lite0(7)
    other.learned(one.features.state_dict())
    for name, value in other.features.state_dict().items():
        torch.testing.assert_close(value, one.features.state_dict()[name])
    wrong = {name: value[:1] for name, value in one.features.state_dict().items() if value.ndim}
    with pytest.raises(ValueError, match="has the shape"):
        other.learned(wrong)
