"""Turns an exported network into one that computes with 8-bit integers: faster on a CPU, half the file.

The ranges of the activations come from a few hundred training pictures. Weights use 7 of their 8 bits, as processors
without VNNI add two products in 16 bits, which 8 would overflow.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from training import attributes
from training.data import (
    TEST_FOLD,
    VALIDATION_FOLD,
    Floats,
    Picture,
    fold,
    read_expressions,
    read_scenes,
)
from training.detection import letterbox
from training.graph import EIGHT_BITS, hasten, take_pixels
from training.people import utkface

PICTURES = 512
SCENES = 96
BATCH = 32


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, batches: Iterator[Picture]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, Floats] | None:
        pictures = next(self._batches, None)
        if pictures is None:
            return None
        return {"input": ((pictures.astype(np.float32) - 127.5) / 128.0).transpose(0, 3, 1, 2)}


def scenes(path: Path) -> Iterator[Picture]:
    """Yield batches of one training scene (1, 640, 640, 3)."""
    chosen = [s for s in read_scenes(path) if fold(s.name) not in (TEST_FOLD, VALIDATION_FOLD)]
    for scene in chosen[:: len(chosen) // SCENES]:
        yield letterbox(scene.picture, 640)[0][None]


def people(path: Path, cache: Path) -> Iterator[Picture]:
    """Yield batches of training faces (B, 80, 80, 3), cut as in training."""
    pool, _, _ = utkface(path, cache)
    rng = np.random.default_rng(0)
    yield from _batched([pool.crop(i, attributes.SIZE, rng, calm=True) for i in pool.take(PICTURES, rng)])


def expressions(path: Path) -> Iterator[Picture]:
    """Yield batches of training expressions (B, 48, 48, 3)."""
    data = read_expressions(path)
    chosen = np.flatnonzero(np.array([fold(name) for name in data.names]) != VALIDATION_FOLD)
    chosen = np.random.default_rng(0).permutation(chosen)[:PICTURES]
    yield from _batched(np.repeat(data.pictures[chosen][..., None], 3, axis=3))


def places(path: Path, rim: int) -> Iterator[Picture]:
    """Yield batches of a verifier's candidates, without the ``rim`` that they are stored with."""
    with np.load(path) as stored:
        crops = stored["crops"]
    yield from _batched(crops[:: max(1, len(crops) // PICTURES), rim:-rim, rim:-rim])


def _batched(pictures: Sequence[Picture] | Picture) -> Iterator[Picture]:
    for start in range(0, len(pictures), BATCH):
        yield np.stack(list(pictures[start : start + BATCH]))


def quantize(path: Path, out: Path, batches: Iterator[Picture], exact: tuple[str, ...] = ()) -> None:
    """Write a network with 8-bit convolutions.

    Args:
        path: The network in float32.
        out: The file to write.
        batches: Its inputs, RGB (B, H, W, 3).
        exact: Convolutions whose names hold one of these stay as they are.
    """
    logging.getLogger().setLevel(logging.ERROR)  # it warns of what is done here on purpose
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        nodes = onnx.load(prepared).graph.node
        quantize_static(
            prepared,
            out,
            _Batches(batches),
            **EIGHT_BITS,
            nodes_to_exclude=[n.name for n in nodes if n.op_type == "Conv" and any(name in n.name for name in exact)],
        )
    take_pixels(out)
    hasten(out)
