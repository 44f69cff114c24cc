"""A start from a shipped file: its 8-bit convolutions back into a network with batch normalisation.

An exported file holds no normalisation any more and its weights are rounded, but what it knows is all there. Further
residual blocks start as the identity, so a deeper network begins with the very answers of the file (Chen, Goodfellow
and Shlens, "Net2Net: Accelerating learning via knowledge transfer", 2016).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from training.data import Picture
from training.graph import narrowed
from training.loop import to_input
from training.networks import Classifier, Residual

Layer = tuple[Tensor, Tensor]
_CONVOLUTION = re.compile(r"(?:network\.)*body\.(\d+)\..*weight_quantized")


def stored_layers(path: Path) -> tuple[list[list[Layer]], Layer]:
    """Return what an exported network of one seed holds.

    Returns:
        Weight and bias of each convolution, layer by layer of the body (a residual block has two), and of the last
        layer.
    """
    graph = onnx.load(path).graph
    arrays = {tensor.name: torch.tensor(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    names = sorted(name for name in arrays if _CONVOLUTION.fullmatch(name))
    if not names or len({name.split("body.")[0] for name in names}) > 1:
        raise SystemExit(f"{path} is no export of one network with convolutions of 8 bits.")
    layers: dict[int, list[Layer]] = {}
    for name in names:
        found = _CONVOLUTION.fullmatch(name)
        assert found is not None
        stem = name.removesuffix(".weight_quantized")
        weight = arrays[name].float() * arrays[f"{stem}.weight_scale"].view(-1, 1, 1, 1)
        bias = arrays[f"{stem}.bias_quantized"].float() * arrays[f"{stem}.bias_quantized_scale"]
        if not layers:
            weight, bias = map(torch.from_numpy, narrowed(weight.numpy(), bias.numpy()))
        layers.setdefault(int(found.group(1)), []).append((weight, bias))
    last = names[0].split("body.")[0] + "last"
    return [layers[index] for index in sorted(layers)], (arrays[f"{last}.weight"], arrays[f"{last}.bias"])


@torch.no_grad()
def start_from(network: Classifier, path: Path, pictures: Picture, rows: Sequence[int] | None = None) -> None:
    """Give a network the weights of an exported file, so that it answers as the file does.

    Args:
        network: Freshly made, of the file's widths, with as many residual blocks a stage or more. Rows of the last
            layer that the file lacks stay as they are.
        path: The ONNX file.
        pictures: (B, S, S, 3) RGB, some hundred of the training pictures: what the normalisation's running figures
            are taken from.
        rows: Which rows of the last layer the file's are; None for the first ones.
    """
    layers, (weight, bias) = stored_layers(path)
    x = network.prepared(to_input(pictures))
    for layer in network.body:
        if not isinstance(layer, Residual):
            (stored,) = layers.pop(0)
            x = _fill(layer, stored, x)
        elif layers and len(layers[0]) == 2:
            first, second = layers.pop(0)
            x = functional.relu(x + _fill(layer.second, second, _fill(layer.first, first, x)))
    if layers:
        raise SystemExit(f"{path} has {len(layers)} layers more than the network.")
    rows = range(min(len(weight), len(network.last.weight))) if rows is None else rows
    network.last.weight[rows], network.last.bias[rows] = weight[: len(rows)], bias[: len(rows)]


def mix_with(network: Classifier, path: Path, pictures: Picture, share: float) -> None:
    """Mix a network with the exported file that its training began with, weight by weight.

    Between the two lie networks that are better than both: they keep more of what the first one knew of pictures that
    the second saw fewer of (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022).

    Args:
        network: Of the file's widths and blocks.
        path: The ONNX file.
        pictures: As `start_from` takes them.
        share: Of the network's own weights, 0 to 1.
    """
    earlier = copy.deepcopy(network)
    start_from(earlier, path, pictures)
    before = earlier.state_dict()
    mixed = {
        name: before[name].lerp(value, share)
        for name, value in network.state_dict().items()
        if value.is_floating_point()
    }
    network.load_state_dict(network.state_dict() | mixed)


def _fill(layer: nn.Sequential, stored: Layer, x: Tensor) -> Tensor:
    """Let a convolution and its normalisation do what one convolution with a bias did; return what they make of x."""
    weight, bias = stored
    size = weight.flatten(1).norm(dim=1).clamp_min(1e-6)
    # Rows of length one: the steps of training are as large beside them as beside weights that training made.
    layer[0].weight.copy_(weight / size.view(-1, 1, 1, 1))
    made = layer[0](x)
    mean, variance = made.mean((0, 2, 3)), made.var((0, 2, 3), unbiased=False)
    layer[1].running_mean.copy_(mean)
    layer[1].running_var.copy_(variance)
    layer[1].weight.copy_(size * (variance + layer[1].eps).sqrt())
    layer[1].bias.copy_(bias + size * mean)
    training = layer.training
    x = layer.eval()(x)
    layer.train(training)
    return x
