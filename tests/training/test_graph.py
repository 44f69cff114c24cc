"""Rewritten networks say what they said before."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static

from faceinsight.inference.session import create_session
from training.graph import EIGHT_BITS, hasten, narrowed, take_pixels

STRIDES, WIDTH, SHIFT = (8, 16), 24, -0.3


class _Noise(CalibrationDataReader):
    def __init__(self, shape):
        self._batches = iter(np.random.default_rng(5).normal(size=(4, *shape)).astype(np.float32))

    def get_next(self):
        batch = next(self._batches, None)
        return None if batch is None else {"input": batch}


class Network:
    """A network in the making, of convolutions with weights of chance."""

    def __init__(self):
        self.rng = np.random.default_rng(0)
        self.nodes, self.weights = [], []

    def add(self, operator, inputs, output, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"/{output}", **attributes))
        return output

    def constant(self, name, value):
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def conv(self, given, output, channels, outputs, size=3, step=1):
        weight = self.rng.normal(size=(outputs, channels, size, size)) * (size * size * channels) ** -0.5
        weights = self.constant(f"{output}.weight", weight.astype(np.float32))
        bias = self.constant(f"{output}.bias", self.rng.normal(size=outputs).astype(np.float32))
        sides = {"kernel_shape": [size] * 2, "pads": [size // 2] * 4, "strides": [step] * 2}
        return self.add("Conv", [given, weights, bias], output, dilations=[1, 1], **sides)

    def rows(self, given, output, width):
        moved = self.add("Transpose", [given], f"{output}_nhwc", perm=[0, 2, 3, 1])
        return self.add("Reshape", [moved, self.constant(f"{output}_rows", [1, -1, width])], output)

    def write(self, path, shape, outputs, exact=()):
        """Writes it in 8 bits, taking pixels, to `path`."""
        given = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "network", [given], made, self.weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
        sides = [side if isinstance(side, int) else 64 for side in shape]
        quantize_static(
            path,
            path,
            _Noise(sides),
            **EIGHT_BITS,
            nodes_to_exclude=[f"/{name}" for name in exact],
        )
        take_pixels(path)
        return path


@pytest.fixture
def detector(tmp_path):
    """A file with SCRFD's outputs at two strides."""
    net = Network()
    x = "input"
    for level, channels in enumerate((3, 8, 16, WIDTH)):
        wide = (8, 16, WIDTH, WIDTH)[level]
        x = net.add("Relu", [net.conv(x, f"down{level}", channels, wide, step=2)], f"map{level}")
    scales = net.constant("scales", np.array([1, 1, 2, 2], np.float32))
    larger = net.add(
        "Resize",
        [x, "", scales],
        "larger",
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    maps = {8: net.add("Add", ["map2", larger], "sum"), 16: x}
    for stride in STRIDES:
        feature = net.add("Relu", [net.conv(maps[stride], f"head{stride}", WIDTH, WIDTH)], f"feature{stride}")
        logits = net.rows(net.conv(feature, f"scores{stride}", WIDTH, 2), f"logits{stride}", 1)
        shifted = net.add("Add", [logits, net.constant(f"shift{stride}", np.float32(SHIFT))], f"shifted{stride}")
        net.add("Sigmoid", [shifted], f"score{stride}")
        for kind, width in (("box", 4), ("points", 10)):
            rows = net.rows(net.conv(feature, f"{kind}es{stride}", WIDTH, 2 * width), f"{kind}_rows{stride}", width)
            pairs = net.add(
                "Reshape", [rows, net.constant(f"{kind}_pairs{stride}", [1, -1, 2, width])], f"{kind}_pair{stride}"
            )
            scale = net.constant(f"{kind}_scale{stride}", np.array([[1], [2]], np.float32))
            scaled = net.add("Mul", [pairs, scale], f"{kind}_scaled{stride}")
            net.add("Reshape", [scaled, net.constant(f"{kind}_flat{stride}", [1, -1, width])], f"{kind}{stride}")
    names = [f"{kind}{stride}" for kind in ("score", "box", "points") for stride in STRIDES]
    exact = [f"{kind}es{stride}" for kind in ("box", "points") for stride in STRIDES]
    return net.write(tmp_path / "detector.onnx", [1, 3, "height", "width"], names, exact)


def answers(path, pixels, **more):
    session = create_session(path)
    return dict(
        zip([o.name for o in session.get_outputs()], session.run(None, {"pixels": pixels, **more}), strict=True)
    )


@pytest.mark.parametrize(("shape", "least"), [((64, 96), None), ((96, 64), 0.5), ((32, 32), 0.0), ((64, 64), 1.0)])
def test_a_detector_says_the_same_of_every_cell_with_a_score(detector, shape, least):
    pixels = np.random.default_rng(1).integers(0, 256, (1, *shape, 3), np.uint8)
    before = answers(detector, pixels)
    hasten(detector)
    after = answers(detector, pixels, **({} if least is None else {"least_score": np.array(least, np.float32)}))
    assert list(after) == list(before)
    for stride in STRIDES:
        scores = before[f"score{stride}"]
        np.testing.assert_allclose(after[f"score{stride}"], scores, atol=1e-6)
        # Both anchors of a cell, or none.
        best = np.repeat(scores.reshape(-1, 2).max(axis=1), 2)
        asked = best >= (0.02 if least is None else least)
        if least == 0.5:
            assert 0 < asked.sum() < len(asked)
        for kind in ("box", "points"):
            one, other = before[f"{kind}{stride}"][0], after[f"{kind}{stride}"][0]
            np.testing.assert_allclose(other[asked], one[asked], atol=1e-4)
            assert not other[~asked].any()


def test_a_second_time_changes_nothing(detector):
    hasten(detector)
    once = detector.read_bytes()
    hasten(detector)
    assert detector.read_bytes() == once
    operators = {node.op_type for node in onnx.load(detector).graph.node}
    assert "Resize" not in operators
    assert "Sigmoid" not in operators


@pytest.mark.parametrize(("channels", "size", "step"), [(3, 3, 2), (3, 5, 2), (3, 3, 1), (3, 5, 1)])
def test_a_wide_first_convolution_says_the_same_to_the_bit(tmp_path, channels, size, step):
    net = Network()
    first = net.add("Relu", [net.conv("input", "first", channels, 8, size, step)], "map")
    net.conv(first, "last", 8, 4)
    path = net.write(tmp_path / "net.onnx", [2, channels, 32, 48], ["last"])
    pixels = np.random.default_rng(2).integers(0, 256, (2, 32, 48, 3), np.uint8)
    before = answers(path, pixels)["last"]
    weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    hasten(path)
    np.testing.assert_array_equal(answers(path, pixels)["last"], before)
    wide = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    names = "first.weight_quantized", "first.bias_quantized"
    assert wide[names[0]].shape[1] > channels
    for narrow, name in zip(narrowed(*(wide[name] for name in names)), names, strict=True):
        np.testing.assert_array_equal(narrow, weights[name])
