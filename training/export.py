"""Write a trained network as an ONNX file of the compact pack.

    python -m training.export detector --run DIR --out assets/models/compact/detector.onnx --shift -0.2
    python -m training.export attributes --run DIR --mirror --out assets/models/compact/attributes.onnx
    python -m training.export emotion --run DIR --mirror --out assets/models/compact/emotion.onnx

Normalisation is folded into the convolutions; weights are stored as float16 and computed with as float32, which halves
the file and changes no figure.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.networks import Detector, Mirrored, age_and_gender, emotion, further_head

OPSET = 18


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


def halve_weights(path: Path) -> None:
    """Store the weights of an ONNX file as float16, each cast back to float32 where it is used."""
    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < 64:
            continue
        name = tensor.name
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name + ".half")
        tensor.CopyFrom(half)
        casts.append(helper.make_node("Cast", [name + ".half"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def write(network: nn.Module, example: Tensor, names: list[str], axes: dict[str, dict[int, str]], out: Path) -> None:
    """Export a network in evaluation mode."""
    out.parent.mkdir(parents=True, exist_ok=True)
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
    halve_weights(out)
    print(f"{out}: {out.stat().st_size} bytes")


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(description="Export a trained network to ONNX.")
    parser.add_argument("stage", choices=["detector", "attributes", "emotion"])
    parser.add_argument("--run", type=Path, required=True, help="folder with checkpoint.pt")
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--shift", type=float, default=0.0, help="added to the detector's score logits")
    parser.add_argument("--mirror", action="store_true", help="average with the mirrored face: slower, a bit better")
    parser.add_argument("--classes", type=int, help="attributes: the file is a further head of so many classes")
    arguments = parser.parse_args()
    made = {"detector": Detector, "attributes": age_and_gender, "emotion": emotion}
    network = further_head(arguments.classes) if arguments.classes else made[arguments.stage]()
    state = torch.load(arguments.run / "checkpoint.pt", weights_only=True)
    network.load_state_dict(state.get("best") or state["averaged"])
    network = folded(network.eval())
    if arguments.stage == "detector":
        names = [f"{kind}{stride}" for kind in ("score", "box", "points") for stride in (8, 16, 32)]
        axes = {name: {1: f"anchors{name.lstrip('abcdefghijklmnopqrstuvwxyz')}"} for name in names}
        axes["input"] = {2: "height", 3: "width"}
        write(Served(network, arguments.shift).eval(), torch.zeros(1, 3, 640, 640), names, axes, arguments.out)
        return
    size = 80 if arguments.stage == "attributes" else 48
    served = Mirrored(network).eval() if arguments.mirror else network
    axes = {"input": {0: "batch"}, "logits": {0: "batch"}}
    write(served, torch.zeros(2, 3, size, size), ["logits"], axes, arguments.out)


if __name__ == "__main__":
    main()
