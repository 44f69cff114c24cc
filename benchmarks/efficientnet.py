"""HSEmotion's architecture with weights of chance, to take the time of where its file is not to be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Expansion, channels, repeats, stride, kernel: table 1 of Tan and Le, "EfficientNet", ICML 2019.
B0 = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(0)

    def add(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, values: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def conv(self, x: str, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, group: int = 1) -> str:
        shape = (outputs, inputs // group, kernel, kernel)
        weights = self._rng.normal(0, np.sqrt(1 / np.prod(shape[1:])), shape)
        bias = self.constant(np.zeros(outputs))
        pads, strides = [kernel // 2] * 4, [stride] * 2
        return self.add("Conv", x, self.constant(weights), bias, pads=pads, strides=strides, group=group)

    def swish(self, x: str) -> str:
        return self.add("Mul", x, self.add("Sigmoid", x))

    def block(self, x: str, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> str:
        wide = inputs * expansion
        y = self.swish(self.conv(x, inputs, wide)) if expansion > 1 else x
        y = self.swish(self.conv(y, wide, wide, kernel, stride, wide))
        squeezed = self.swish(self.conv(self.add("GlobalAveragePool", y), wide, max(1, inputs // 4)))
        y = self.add("Mul", y, self.add("Sigmoid", self.conv(squeezed, max(1, inputs // 4), wide)))
        y = self.conv(y, wide, outputs)
        return self.add("Add", x, y) if stride == 1 and inputs == outputs else y


def write_efficientnet_b0(path: Path, classes: int = 8, side: int = 224) -> Path:
    """Writes EfficientNet-B0 (N, 3, side, side) to (N, classes), with HSEmotion's input name."""
    graph = _Graph()
    x, channels = graph.swish(graph.conv("input", 3, 32, 3, 2)), 32
    for expansion, outputs, repeats, stride, kernel in B0:
        for index in range(repeats):
            x = graph.block(x, channels, outputs, expansion, 1 if index else stride, kernel)
            channels = outputs
    x = graph.add("Flatten", graph.add("GlobalAveragePool", graph.swish(graph.conv(x, channels, 1280))))
    weights = np.random.default_rng(1).normal(0, 0.03, (1280, classes))
    graph.nodes.append(helper.make_node("MatMul", [x, graph.constant(weights)], ["output"]))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "efficientnet_b0",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, side, side])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", classes])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
