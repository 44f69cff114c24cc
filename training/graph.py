r"""Rewrites a network of 8-bit integers into one that gives the same answers in less time.

    python -m training.graph assets/models/compact/*.onnx

`training.export` does it with all that it writes. Nothing is rounded anew: only the order in which some floats are
added up is another one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType

EIGHT_BITS = {
    "quant_format": QuantFormat.QDQ,
    "per_channel": True,
    "reduce_range": True,
    "activation_type": QuantType.QUInt8,
    "weight_type": QuantType.QInt8,
    "op_types_to_quantize": ["Conv", "Add", "Relu"],
}
"""How a network is made to compute with integers, in ONNX Runtime's words: what this module reads."""

GROUP = 4
"""Pixels of a row that the first convolution takes as one: of two, four and eight the fastest."""
LEAST_SCORE = 0.02
"""Where a detector finds less, it says nothing of boxes, unless its input ``least_score`` says otherwise."""
SCORE, BOX, POINTS = "score", "box", "points"

_TO_NHWC, _TO_NCHW = [0, 2, 3, 1], [0, 3, 1, 2]

Values = npt.NDArray[Any]


class Graph:
    """The nodes and constants of a model, to be changed."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    def all(self, operator: str) -> list[NodeProto]:
        """Return the nodes of a kind."""
        return [node for node in self.nodes if node.op_type == operator]

    def maker(self, name: str) -> NodeProto:
        """Return the node that makes a tensor."""
        return next(node for node in self.nodes if name in node.output)

    def taker(self, name: str) -> NodeProto:
        """Return the node that takes a tensor."""
        (node,) = (node for node in self.nodes if name in node.input)
        return node

    def constant(self, name: str, value: Values | Sequence[int] | float) -> str:
        """Add a constant; return its name."""
        self.constants[name] = np.asarray(value)
        return name

    def add(self, operator: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """Add a node; return its first output."""
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=f"{outputs[0]}/{operator}", **attributes))
        return outputs[0]

    def rename(self, old: str, new: str) -> None:
        """Let those that take a tensor take another one."""
        for node in self.nodes:
            node.input[:] = [new if name == old else name for name in node.input]

    def integers(self, name: str) -> tuple[str, str, str]:
        """Return the 8-bit integers that a tensor of floats is made of, their scale and their zero."""
        node = self.maker(name)
        assert node.op_type == "DequantizeLinear"
        integers, scale, zero = node.input
        return integers, scale, zero

    def save(self, path: Path) -> None:
        """Write the model with what is needed for its outputs."""
        makers = {name: node for node in self.nodes for name in node.output}
        needed: dict[str, NodeProto] = {}

        def need(name: str) -> None:
            node = makers.get(name)
            if node is not None and node.output[0] not in needed:
                for given in node.input:
                    need(given)
                needed[node.output[0]] = node

        graph = self.model.graph
        for output in graph.output:
            need(output.name)
        read = {name for node in needed.values() for name in node.input}
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(needed.values())
        graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in self.constants.items() if name in read
        )
        onnx.checker.check_model(self.model)
        onnx.save(self.model, path)


def take_pixels(path: Path) -> None:
    """Let a network in 8 bits of normalised input (B, 3, H, W) take the pixels themselves: (B, H, W, 3) uint8 RGB.

    ``(pixel - 127.5) / 128`` is what its first convolutions read as 8-bit integers: the pixels, off by half a step.
    Nothing has to be made of a picture then before the network runs.
    """
    graph = Graph(onnx.load(path))
    (given,) = graph.model.graph.input
    batch, _, height, width = (side.dim_param or side.dim_value for side in given.type.tensor_type.shape.dim)
    for node in [node for node in graph.all("QuantizeLinear") if node.input[0] == given.name]:
        graph.rename(graph.taker(node.output[0]).output[0], given.name)
    graph.add("Transpose", ["pixels"], "planes", perm=_TO_NCHW)
    scale, zero = graph.constant("pixel_scale", np.float32(1 / 128)), graph.constant("pixel_zero", np.uint8(128))
    graph.add("DequantizeLinear", ["planes", scale, zero], given.name)
    given.CopyFrom(helper.make_tensor_value_info("pixels", TensorProto.UINT8, [batch, height, width, 3]))
    graph.save(path)


def widen_first(graph: Graph) -> None:
    """Let the first convolution take `GROUP` pixels of a row as one pixel of more channels.

    ONNX Runtime makes a product of matrices of a convolution: it copies together what each of them reaches, as many
    bytes at a time as there are channels, and a picture has three. Weights of zero stand where a pixel reaches nothing.
    """
    node = graph.all("Conv")[0]
    values = {each.name: each.ints for each in node.attribute}
    (weight, *scales), (bias, *more) = graph.integers(node.input[1]), graph.integers(node.input[2])
    kernel = graph.constants[weight]
    outputs, channels, height, _ = kernel.shape
    if channels > 3:
        return
    step = values["strides"][1]
    reach, pixels = _reach(height, step), GROUP // step
    first, last = min(reach.values())[0], max(reach.values())[0]
    wide = np.zeros((pixels, outputs, GROUP, channels, height, last - first + 1), kernel.dtype)
    for (pixel, column), (group, place) in reach.items():
        wide[pixel, :, place, :, :, group - first] = kernel[..., column]
    graph.constants[weight] = wide.reshape(pixels * outputs, GROUP * channels, *wide.shape[-2:])
    for name in (*scales, bias, *more):
        graph.constants[name] = np.tile(graph.constants[name], pixels)
    seen, *seen_scale = graph.integers(node.input[0])
    seen = _regrouped(graph, seen, GROUP * channels, "wide_input")
    node.input[0] = graph.add("DequantizeLinear", [seen, *seen_scale], "wide_input_float")
    values["kernel_shape"][1], values["strides"][1] = wide.shape[-1], 1
    values["pads"][1], values["pads"][3] = -first, last
    rounded = graph.taker(node.output[0])
    old, rounded.output[0] = rounded.output[0], "wide_output_integers"
    graph.rename(old, _regrouped(graph, rounded.output[0], outputs, "wide_output"))


def narrowed(weight: Values, bias: Values) -> tuple[Values, Values]:
    """Return a first convolution's weight (O, C, K, K) and bias (O,) as they were before `widen_first`."""
    channels, height = weight.shape[1:3]
    if channels <= 3:
        return weight, bias
    pixels = 4 if np.array_equal(np.tile(bias[: len(bias) // 4], 4), bias) else 2
    outputs = len(bias) // pixels
    reach = _reach(height, GROUP // pixels)
    first = min(reach.values())[0]
    kernel = weight[:outputs].reshape(outputs, GROUP, channels // GROUP, height, -1)
    columns = [kernel[:, place, :, :, group - first] for group, place in (reach[0, n] for n in range(height))]
    return np.stack(columns, axis=-1), bias[:outputs]


def _reach(size: int, step: int) -> dict[tuple[int, int], tuple[int, int]]:
    """Return the group and the place in it that an output pixel of a group reaches by a column of the kernel."""
    pixels = range(GROUP // step)
    return {(n, column): divmod(n * step + column - size // 2, GROUP) for n in pixels for column in range(size)}


def _regrouped(graph: Graph, name: str, channels: int, new: str) -> str:
    """Return a map (N, C, H, W) as one of other channels, and of more or fewer pixels in a row."""
    rows = graph.add("Transpose", [name], f"{new}_rows", perm=_TO_NHWC)
    rows = graph.add("Reshape", [rows, graph.constant(f"{new}_sides", [0, 0, -1, channels])], f"{new}_groups")
    return graph.add("Transpose", [rows], new, perm=_TO_NCHW)


def double_by_copies(graph: Graph) -> None:
    """Let maps be doubled in size by writing them twice, not pixel by pixel."""
    for number, node in enumerate(graph.all("Resize")):
        rounded = graph.taker(node.output[0])
        small, *scale = graph.integers(node.input[0])
        assert [graph.constants[name] for name in scale] == [graph.constants[name] for name in rounded.input[1:]]
        # What it is added to has the size that is wanted.
        sum_ = graph.taker(graph.taker(rounded.output[0]).output[0])
        other = next(name for name in sum_.input if graph.integers(name)[0] != rounded.output[0])
        new = f"double{number}"
        model = graph.add("Transpose", [graph.integers(other)[0]], f"{new}_model", perm=_TO_NHWC)
        size = graph.add("Shape", [model], f"{new}_size")
        rows = graph.add("Transpose", [small], f"{new}_rows", perm=_TO_NHWC)
        rows = graph.add("Concat", [rows, rows], f"{new}_wide", axis=3)
        rows = graph.add("Reshape", [rows, graph.constant(f"{new}_lines", [0, 0, 1, -1])], f"{new}_line")
        rows = graph.add("Concat", [rows, rows], f"{new}_tall", axis=2)
        rows = graph.add("Reshape", [rows, size], f"{new}_map")
        graph.rename(rounded.output[0], graph.add("Transpose", [rows], new, perm=_TO_NCHW))


def tabulate_scores(graph: Graph) -> None:
    """Let scores be looked up by the 256 values that a logit in 8 bits has, instead of computed."""
    for node in graph.all("Sigmoid"):
        _, scale, zero = (graph.constants.get(name) for name in graph.integers(node.input[0]))
        rounded = graph.maker(graph.integers(node.input[0])[0])
        parts = [graph.integers(name) for name in graph.maker(rounded.input[0]).input]
        (logits,) = (part for part in parts if part[0] not in graph.constants)
        total = sum(_floats(graph, part, np.arange(256)) for part in parts)
        total = (np.clip(np.rint(total / scale) + zero, 0, 255).astype(np.float32) - zero) * scale
        name = node.output[0]
        index = graph.add("Cast", [logits[0]], f"{name}_index", to=TensorProto.INT32)
        graph.nodes.remove(node)
        graph.add("Gather", [graph.constant(f"{name}_table", 1 / (1 + np.exp(-total))), index], name)


def _floats(graph: Graph, part: tuple[str, str, str], every: Values) -> Values:
    """Return the value of a tensor if it is constant, else that of each 8-bit integer it may have."""
    integers, scale, zero = (graph.constants.get(name) for name in part)
    values = every if integers is None else integers
    return (values.astype(np.float32) - zero) * scale


def bound_boxes(graph: Graph) -> None:
    """Let boxes and key points be computed of the cells alone whose score says that there may be a face.

    Everywhere else they are zero. What counts as a score is the input ``least_score``; it may be left out.
    """
    inputs = graph.model.graph.input
    scores = [o.name for o in graph.model.graph.output if o.name.startswith(SCORE)]
    if not scores or len(inputs) > 1:
        return
    inputs.append(helper.make_tensor_value_info("least_score", TensorProto.FLOAT, []))
    least = graph.constant("least_score", np.float32(LEAST_SCORE))
    pair, last = graph.constant("pair", [-1, 2]), graph.constant("last", [1])
    two = graph.constant("two", [2])
    down, right = np.indices((3, 3)).reshape(2, 1, 9)
    below, beside = graph.constant("below", down), graph.constant("beside", right)
    for score in scores:
        stride = score.removeprefix(SCORE)
        kernels, biases = [], []
        for kind in (BOX, POINTS):
            feature, kernel, bias = _last_layer(graph, f"{kind}{stride}")
            kernels.append(kernel)
            biases.append(bias)
        feature, *scale = graph.integers(feature)
        channels = kernels[0].shape[1]
        new = f"cells{stride}"
        best = graph.add("Reshape", [score, pair], f"{new}_scores")
        best = graph.add("ReduceMax", [best, last], f"{new}_best", keepdims=0)
        cells = graph.add("GreaterOrEqual", [best, least], f"{new}_good")
        cells = graph.add("Transpose", [graph.add("NonZero", [cells], f"{new}_where")], new)
        # With a rim, every cell has nine cells around it; what they are, row by row, is one matrix.
        rows = graph.add("Transpose", [feature], f"{new}_rows", perm=_TO_NHWC)
        rim = graph.constant("rim", [0, 1, 1, 0, 0, 1, 1, 0])
        rimmed = graph.add("Pad", [rows, rim, scale[1]], f"{new}_rimmed")
        rimmed = graph.add("Reshape", [rimmed, graph.constant(f"{new}_channels", [-1, channels])], f"{new}_all")
        width = graph.add("Shape", [rows], f"{new}_width", start=2, end=3)
        wide = graph.add("Add", [width, two], f"{new}_wide")
        row = graph.add("Div", [cells, width], f"{new}_row")
        corner = graph.add("Add", [cells, graph.add("Mul", [row, two], f"{new}_rims")], f"{new}_corner")
        around = graph.add("Add", [graph.add("Mul", [below, wide], f"{new}_below"), beside], f"{new}_around")
        around = graph.add("Add", [corner, around], f"{new}_places")
        seen = graph.add("Gather", [rimmed, around], f"{new}_seen")
        seen = graph.add("DequantizeLinear", [seen, *scale], f"{new}_floats")
        seen = graph.add("Reshape", [seen, graph.constant(f"{new}_nine", [-1, 9 * channels])], f"{new}_matrix")
        matrix = np.concatenate(kernels).transpose(2, 3, 1, 0).reshape(9 * channels, -1)
        weights = graph.constant(f"{new}_weights", matrix), graph.constant(f"{new}_biases", np.concatenate(biases))
        answers = graph.add("Gemm", [seen, *weights], f"{new}_answers")
        names, sizes = [f"{new}_{kind}" for kind in (BOX, POINTS)], [len(bias) for bias in biases]
        graph.add("Split", [answers, graph.constant("answers", sizes)], *names, axis=1)
        count = graph.add("Shape", [best], f"{new}_count")
        for kind, name, size in zip((BOX, POINTS), names, sizes, strict=True):
            both = graph.add("Concat", [count, graph.constant(f"{kind}_both", [size])], f"{name}_size", axis=0)
            whole = graph.add(
                "ScatterND", [graph.add("ConstantOfShape", [both], f"{name}_zeros"), cells, name], f"{name}_map"
            )
            graph.add("Reshape", [whole, graph.constant(f"{kind}_each", [1, -1, size // 2])], f"{kind}{stride}")


def _last_layer(graph: Graph, output: str) -> tuple[str, Values, Values]:
    """Take away what makes an output; return what it is made from, and its convolution with the scales in it.

    It was a convolution, whose answers for a cell's two anchors were laid side by side and scaled each.
    """
    node = graph.maker(output)
    graph.nodes.remove(node)
    scale = np.ones(2, np.float32)
    while node.op_type != "Conv":
        scale = next((graph.constants[name] for name in node.input[1:] if node.op_type == "Mul"), scale)
        node = graph.maker(node.input[0])
    kernel, bias = (graph.constants[name] for name in node.input[1:])
    each = np.repeat(scale.reshape(2), len(bias) // 2)
    return node.input[0], kernel * each[:, None, None, None], bias * each


def hasten(path: Path) -> None:
    """Rewrite the file of a network in 8 bits; a second time changes nothing."""
    graph = Graph(onnx.load(path))
    widen_first(graph)
    double_by_copies(graph)
    tabulate_scores(graph)
    bound_boxes(graph)
    graph.save(path)


def main() -> None:
    """Read the command line and rewrite the files."""
    parser = argparse.ArgumentParser(description="Rewrite networks in 8 bits so that they take less time.")
    parser.add_argument("files", nargs="+", type=Path)
    for path in parser.parse_args().files:
        hasten(path)


if __name__ == "__main__":
    main()
