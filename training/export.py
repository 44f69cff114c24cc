r"""Write a trained network as an ONNX file of the compact pack.

    python -m training.export detector --run RUN --data scenes.zip --shift -0.2 --out detector.onnx
    python -m training.export verifier --run RUN --data RUN/candidates.npz --shift 0.8 --out verifier.onnx
    python -m training.export attributes --run RUN --data utkface.zip --mirror --out attributes.onnx \
        [--earlier earlier.onnx --share 0.8]
    python -m training.export emotion --run RUN --data fer2013.zip --mirror --out emotion.onnx

Normalisation is folded into the convolutions, and these compute with 8-bit integers (see training/quantize.py).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training import attributes, networks, spoiling, verifier
from training.data import frequencies, read_expressions
from training.loop import best_weights
from training.networks import Averaged, Detector, Mirrored
from training.quantize import expressions, people, places, quantize, scenes
from training.warm import mix_with

OPSET = 18
NETWORKS = {
    "detector": Detector,
    "verifier": networks.verifier,
    "attributes": networks.age_and_gender,
    "emotion": networks.emotion,
}
SIZES = {"verifier": verifier.SIZE, "attributes": attributes.SIZE, "emotion": spoiling.SIZE}
LAST_LAYERS = ("scores", "boxes", "points")
"""Of the detector: in 8 bits, boxes and key points would be rounded."""


class Served(nn.Module):
    """The detector as a runtime wants it: scores instead of logits, moved so that 0.5 is a good threshold."""

    def __init__(self, network: nn.Module, shift: float) -> None:
        super().__init__()
        self.network = network
        self.shift = shift

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the nine outputs with sigmoid scores."""
        outputs = self.network(x)
        return tuple([(o + self.shift).sigmoid() for o in outputs[:3]] + list(outputs[3:]))


def folded(network: nn.Module) -> nn.Module:
    """Fold every batch normalisation into the convolution before it."""
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for index in range(len(module) - 1):
                if isinstance(module[index], nn.Conv2d) and isinstance(module[index + 1], nn.BatchNorm2d):
                    module[index] = fuse_conv_bn_eval(module[index], module[index + 1])
                    module[index + 1] = nn.Identity()
    return network


def write(network: nn.Module, example: Tensor, names: list[str], axes: dict[str, dict[int, str]], out: Path) -> None:
    """Export a network in evaluation mode, in float32."""
    torch.onnx.export(
        network,
        (example,),
        str(out),
        input_names=["input"],
        output_names=names,
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
        do_constant_folding=True,
    )


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(description="Export a trained network to ONNX.")
    parser.add_argument("stage", choices=list(NETWORKS))
    parser.add_argument(
        "--run",
        type=Path,
        nargs="+",
        required=True,
        help="folder with checkpoint.pt; with several, their networks' answers are averaged",
    )
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--shift", type=float, default=0.0, help="detector, verifier: added to the logits of faces")
    parser.add_argument(
        "--balance",
        type=float,
        default=0.0,
        help="emotion: how far the logits of rare emotions are raised (Menon et al., logit adjustment, 2021)",
    )
    parser.add_argument("--votes", type=Path, help="emotion: ferplus.csv, which says how rare an emotion is")
    parser.add_argument("--data", type=Path, required=True, help="what the ranges of the activations are taken from")
    parser.add_argument(
        "--cache", type=Path, help="attributes: folder with decoded pictures (default: the first --run)"
    )
    parser.add_argument("--mirror", action="store_true", help="average with the mirrored face: slower, a bit better")
    parser.add_argument("--earlier", type=Path, help="attributes: the file that the run began with, to mix with it")
    parser.add_argument("--share", type=float, default=0.8, help="of the run's weights in that mixture")
    parser.add_argument("--classes", type=int, help="attributes: the file is a further head of so many classes")
    arguments = parser.parse_args()
    trained = []
    for run in arguments.run:
        network = networks.further_head(arguments.classes) if arguments.classes else NETWORKS[arguments.stage]()
        network.load_state_dict(best_weights(run))
        if arguments.earlier is not None:
            seen = np.concatenate(list(people(arguments.data, arguments.cache or run)))
            mix_with(network, arguments.earlier, seen, arguments.share)
        if arguments.stage == "verifier":
            with torch.no_grad():
                network.last.bias[0] += arguments.shift
        if arguments.stage == "emotion" and arguments.balance:
            rarity = -np.log(frequencies(read_expressions(arguments.data, arguments.votes).shares))
            with torch.no_grad():
                network.last.bias += arguments.balance * torch.from_numpy(rarity)
        trained.append(folded(network.eval()))
    if len(trained) > 1 and arguments.stage == "detector":
        parser.error("detectors cannot be averaged: give one --run")
    network = trained[0] if len(trained) == 1 else Averaged(trained).eval()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder) / "exact.onnx"
        if arguments.stage == "detector":
            names = [f"{kind}{stride}" for kind in ("score", "box", "points") for stride in (8, 16, 32)]
            axes = {name: {1: f"anchors{name.lstrip('abcdefghijklmnopqrstuvwxyz')}"} for name in names}
            axes["input"] = {2: "height", 3: "width"}
            write(Served(network, arguments.shift).eval(), torch.zeros(1, 3, 640, 640), names, axes, exact)
            quantize(exact, arguments.out, scenes(arguments.data), LAST_LAYERS)
        else:
            size = SIZES[arguments.stage]
            served = Mirrored(network).eval() if arguments.mirror else network
            axes = {"input": {0: "batch"}, "logits": {0: "batch"}}
            write(served, torch.zeros(2, 3, size, size), ["logits"], axes, exact)
            if arguments.stage == "verifier":
                batches = places(arguments.data, verifier.RIM_PIXELS)
            elif arguments.stage == "emotion":
                batches = expressions(arguments.data)
            else:
                batches = people(arguments.data, arguments.cache or arguments.run[0])
            quantize(exact, arguments.out, batches)
    print(f"{arguments.out}: {arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
