"""Small ONNX models of known behaviour, with the contracts of the real ones.

The toy detector finds every bright 32x32 block of a 32-pixel grid, in pictures that are 640 pixels
wide or high; the toy attribute model reads age off a crop's green and gender off red against blue.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BLOCK = 32
# In cells of stride 32, from a block's top left corner: eyes, nose, corners of the mouth.
TOY_KPS = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]])
EMOTIONS_8 = (
    "Anger",
    "Contempt",
    "Disgust",
    "Fear",
    "Happiness",
    "Neutral",
    "Sadness",
    "Surprise",
)
EMOTIONS_7 = tuple(name for name in EMOTIONS_8 if name != "Contempt")


def _save(path: Path, nodes: list, inputs: list, outputs: list, constants: dict) -> Path:
    graph = helper.make_graph(
        nodes,
        path.stem,
        inputs,
        outputs,
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def toy_detector(path: Path) -> Path:
    """Writes a detector with SCRFD's nine outputs; a block's score is sigmoid(8 * brightness)."""
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "h", "w"])
    nodes, outputs, constants = [], [], {}
    constants["mean"] = np.full((1, 3, 1, 1), 1 / 3, np.float32)
    constants["gain"] = np.float32(8)
    constants["off"] = np.float32(-1e4)
    nodes.append(helper.make_node("Conv", ["input", "mean"], ["grey"]))
    answers: dict[str, list[str]] = {"score": [], "box": [], "kps": []}
    widths = {"score": 1, "box": 4, "kps": 10}
    for stride in (8, 16, 32):
        s = str(stride)
        nodes += [
            helper.make_node(
                "AveragePool",
                ["grey"],
                ["pool" + s],
                kernel_shape=[stride] * 2,
                strides=[stride] * 2,
            ),
            helper.make_node("Mul", ["pool" + s, "gain"], ["high" + s]),
            helper.make_node("Add", ["high" + s, "off"], ["none" + s]),
            # Two anchors a cell; only the first one of stride 32 ever answers.
            helper.make_node(
                "Concat",
                [("high" if stride == 32 else "none") + s, "none" + s],
                ["logit" + s],
                axis=1,
            ),
            helper.make_node("Sigmoid", ["logit" + s], ["sig" + s]),
            helper.make_node("Transpose", ["sig" + s], ["cells" + s], perm=[0, 2, 3, 1]),
        ]
        kps = np.tile(TOY_KPS.reshape(1, 10), (2, 1)).astype(np.float32)
        box = np.tile(np.array([[0, 0, 1, 1]], np.float32), (2, 1))
        for kind, value in (("score", None), ("box", box), ("kps", kps)):
            name = kind + s
            answers[kind].append(name)
            constants["shape_" + name] = np.array([-1, widths[kind]], np.int64)
            if value is None:
                nodes.append(helper.make_node("Reshape", ["cells" + s, "shape_" + name], [name]))
                continue
            # (1, h, w, 2) zeros plus (2, k): the same distances for every cell.
            constants["value_" + name] = value
            constants["zero_" + name] = np.float32(0)
            constants["axes_" + name] = np.array([4], np.int64)
            nodes += [
                helper.make_node("Mul", ["cells" + s, "zero_" + name], ["null_" + name]),
                helper.make_node("Unsqueeze", ["null_" + name, "axes_" + name], ["wide_" + name]),
                helper.make_node("Add", ["wide_" + name, "value_" + name], ["full_" + name]),
                helper.make_node("Reshape", ["full_" + name, "shape_" + name], [name]),
            ]
    for kind, names in answers.items():
        outputs += [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, widths[kind]]) for n in names]
    return _save(path, nodes, [image], outputs, constants)


def _mean_model(path: Path, side: int, weights: np.ndarray, batch: int | str = "n", pixels: bool = False) -> Path:
    """Writes a model whose output row is the crop's mean colour (0 to 1) times `weights` (3, K)."""
    image = helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, 3, side, side])
    first = []
    if pixels:
        image = helper.make_tensor_value_info("pixels", TensorProto.UINT8, [batch, side, side, 3])
        first = [
            helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["planes"], ["data"], to=TensorProto.FLOAT),
        ]
    out = helper.make_tensor_value_info("row", TensorProto.FLOAT, [batch, weights.shape[1]])
    # insightface tells by these two that the model normalises by itself.
    nodes = [
        *first,
        helper.make_node("Sub", ["data", "zero"], ["minus"], name="_minusscalar0"),
        helper.make_node("Mul", ["minus", "one"], ["times"], name="_mulscalar0"),
        helper.make_node("GlobalAveragePool", ["times"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["row"]),
    ]
    constants = {
        "weights": (weights / 255).astype(np.float32),
        "zero": np.float32(0),
        "one": np.float32(1),
    }
    return _save(path, nodes, [image], [out], constants)


def toy_genderage(path: Path, batch: int | str = "n") -> Path:
    """Writes logits female = 4 * (red - blue), male = -that, and age / 100 = green."""
    return _mean_model(path, 96, np.array([[4, -4, 0], [0, 0, 1], [-4, 4, 0]]), batch)


def toy_age_distribution(path: Path, years: int = 101) -> Path:
    """Writes gender logits as above, then age logits that peak at 100 times green."""
    # A parabola -(year - 100 g)^2 / 8 less what is the same for all years, at g = 0.5 exactly:
    # the logit is linear in year * green, and quadratic terms of the year come from red = 1.
    year = np.arange(years, dtype=np.float64)
    rows = np.zeros((3, 2 + years))
    rows[0, :2], rows[2, :2] = (4, -4), (-4, 4)
    rows[1, 2:] = 200 * year / 8
    rows[0, 2:] = -(year**2) / 8
    return _mean_model(path, 96, rows)


def toy_colour_classifier(path: Path, weights: np.ndarray, side: int = 8, pixels: bool = False) -> Path:
    """Writes a classifier whose logits are the crop's mean colour (0 to 1) times `weights` (3, K).

    With `pixels`, its input is uint8 (n, side, side, 3).
    """
    return _mean_model(path, side, weights, pixels=pixels)


def toy_classifier(path: Path, classes: int, side: int = 224, seed: int = 7) -> Path:
    """Writes a random convolutional classifier with HSEmotion's input name and size."""
    random = np.random.default_rng(seed)
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, side, side])
    out = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", classes])
    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["seen"], strides=[4, 4]),
        helper.make_node("Relu", ["seen"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["output"]),
    ]
    constants = {
        "kernel": random.normal(0, 0.4, (16, 3, 5, 5)).astype(np.float32),
        "head": random.normal(0, 1.5, (16, classes)).astype(np.float32),
    }
    return _save(path, nodes, [image], [out], constants)


IMAGENET = "mean = [123.675, 116.28, 103.53]\nstd = [58.395, 57.12, 57.375]\n"


def emotion_table(file: str, labels: tuple[str, ...], side: int = 224, extra: str = "") -> str:
    """Returns the [emotion] table of a pack with HSEmotion's contract."""
    return (
        f'[emotion]\nfile = "{file}"\nsize = [{side}, {side}]\ncrop = "tight_box"\n{IMAGENET}'
        f"labels = {list(labels)}\n{extra}"
    )


def genderage_table(file: str, extra: str = "") -> str:
    """Returns the [attributes] table of a pack with InsightFace's contract."""
    return f'[attributes]\nfile = "{file}"\nsize = [96, 96]\ncrop = "scaled_box"\ncrop_scale = 1.5\n{extra}'


def write_toy_pack(folder: Path) -> Path:
    """Writes a whole pack of toy models, with hashes, and returns its folder."""
    detector = toy_detector(folder / "detector.onnx")
    toy_genderage(folder / "genderage.onnx")
    toy_classifier(folder / "emotion.onnx", 8)
    digest = hashlib.sha256(detector.read_bytes()).hexdigest()
    (folder / "pack.toml").write_text(
        'title = "Toy"\n'
        f'[detector]\nfile = "detector.onnx"\nbytes = {detector.stat().st_size}\n'
        f'sha256 = "{digest}"\nlicence = "none"\n'
        # Tight crops: nothing but the block's own colour is averaged.
        + genderage_table("genderage.onnx").replace("1.5", "1.0")
        + emotion_table("emotion.onnx", EMOTIONS_8)
    )
    return folder


def toy_picture(faces: dict[tuple[int, int], tuple[int, int, int]], size: tuple[int, int] = (640, 480)) -> np.ndarray:
    """Returns a dark picture with a coloured block for a face at each (column, row) of the grid.

    Args:
        faces: RGB colour by grid cell.
        size: (width, height); one of them 640 so that the grid is the detector's.
    """
    picture = np.full((size[1], size[0], 3), 20, np.uint8)
    for (column, row), color in faces.items():
        picture[row * BLOCK : (row + 1) * BLOCK, column * BLOCK : (column + 1) * BLOCK] = color
    return picture
