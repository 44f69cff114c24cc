"""Begin with the weights of an earlier emotion network: of a run, or of the 8-bit ONNX file that one became."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from training.data import EMOTIONS, Picture
from training.loop import best_weights, to_input
from training.networks import Classifier, Residual, emotion

UNKNOWN_BIAS = -3.0
"""Logit of an emotion that the earlier network did not know."""


def begin(network: Classifier, source: Path, pictures: Picture) -> None:
    """Give a network the weights of an earlier one.

    Args:
        network: `training.networks.emotion`.
        source: The folder of a run of a network of the same shape, or an ONNX file of a network of fewer blocks.
        pictures: Some that the network will see (N, S, S, 3): normalisation begins with their statistics.
    """
    if source.is_dir():
        network.load_state_dict(best_weights(source))
    else:
        graft(from_onnx(source, pictures), network)


def from_onnx(path: Path, pictures: Picture) -> Classifier:
    """Return the network that an 8-bit ONNX file holds, with the normalisation that had been folded into its weights.

    It computes what the file computes, but for the rounding of activations.
    """
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    blocks, layer = [0], 2  # the stem and the first stage's convolution come before the first block
    while any(name.startswith(f"network.body.{layer}.") for name in stored):
        if f"network.body.{layer}.first.0.bias_quantized" in stored:
            blocks[-1] += 1
        else:
            blocks.append(0)
        layer += 1
    a, b, c, d = blocks
    network = emotion(len(stored["network.last.bias"]), (a, b, c, d)).eval()
    pairs = [
        (name, module[0], module[1])
        for name, module in network.named_modules()
        if isinstance(module, nn.Sequential) and len(module) > 1 and isinstance(module[1], nn.BatchNorm2d)
    ]
    with torch.no_grad():
        for name in ("weight", "bias"):
            getattr(network.last, name).copy_(torch.tensor(stored[f"network.last.{name}"]))
        for name, conv, norm in pairs:
            key = f"network.{name}.0"
            scale = stored[f"{key}.weight_scale"].reshape(-1, 1, 1, 1)
            conv.weight.copy_(torch.tensor(stored[f"{key}.weight_quantized"] * scale))
            norm.bias.copy_(torch.tensor(stored[f"{key}.bias_quantized"] * stored[f"{key}.bias_quantized_scale"]))
            norm.weight.fill_((1 + norm.eps) ** 0.5)
        seen: dict[nn.Module, Tensor] = {}
        hooks = [c.register_forward_hook(lambda m, _, out: seen.__setitem__(m, out)) for _, c, _ in pairs]
        network(to_input(pictures))
        for hook in hooks:
            hook.remove()
        for _, conv, norm in pairs:
            norm.running_mean.copy_(seen[conv].mean((0, 2, 3)))
            norm.running_var.copy_(seen[conv].var((0, 2, 3)))
            norm.weight.copy_((norm.running_var + norm.eps).sqrt())
            norm.bias.add_(norm.running_mean)
    return network


def graft(old: Classifier, new: Classifier) -> None:
    """Copy a network into one with more residual blocks, which begin as the identity.

    The old one may know every emotion, or every one but contempt.
    """
    waiting = list(old.body)
    for layer in new.body:
        if isinstance(layer, Residual) and not isinstance(waiting[0] if waiting else None, Residual):
            continue
        layer.load_state_dict(waiting.pop(0).state_dict())
    rows = [i for i, name in enumerate(EMOTIONS) if name != "Contempt" or old.last.out_features == len(EMOTIONS)]
    with torch.no_grad():
        new.last.weight.zero_()
        new.last.bias.fill_(UNKNOWN_BIAS)
        new.last.weight[rows] = old.last.weight
        new.last.bias[rows] = old.last.bias
