"""Measures one frame with one face: all four answers of the compact pack, beside fewer of InsightFace's small models.

    python -m benchmarks.frame
    python -m benchmarks.frame --detector det_500m.onnx --attributes genderage.onnx

The ways take turns on the same frames, so that what else happens on the machine meets all of them alike.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from insightface.app.common import Face as InsightFace
from insightface.model_zoo import get_model

from benchmarks.machine import keep, machine
from benchmarks.pipeline import Frame, Step, frames, local_pack
from faceinsight import FaceAnalyzer
from faceinsight.packs import resolve
from faceinsight.ui.live import SMALLEST_SHARE

SIZE = (640, 480)


def insightface_alone(pack: Path | str) -> Step:
    """Returns InsightFace's own calls: detection, then age and gender of every face."""
    paths = resolve(pack).paths
    detector = get_model(str(paths["detector"]), providers=["CPUExecutionProvider"])
    attributes = get_model(str(paths["attributes"]), providers=["CPUExecutionProvider"])

    def run(frame: Frame, time_s: float) -> object:
        bgr = np.ascontiguousarray(frame[..., ::-1])
        boxes, points = detector.detect(bgr, input_size=(640, 640), det_thresh=0.5)
        for box, kps in zip(boxes, points, strict=True):
            attributes.get(bgr, InsightFace(bbox=box[:4], kps=kps, det_score=box[4]))
        return len(boxes)

    return run


def without_emotion(pack: Path | str) -> Step:
    """Returns the same two models in our pipeline."""
    analyzer = FaceAnalyzer(pack)

    def run(frame: Frame, time_s: float) -> object:
        return len(analyzer.describe(frame, analyzer.detect(frame), ("attributes",)))

    return run


def main() -> None:
    """Prints a table and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detector", type=Path, help="det_500m.onnx, where buffalo_s is not here")
    parser.add_argument("--attributes", type=Path, help="genderage.onnx, where buffalo_s is not here")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--out", type=Path, help="write the table to this file too")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    compact = FaceAnalyzer("compact")
    smallest = max(SIZE) * SMALLEST_SHARE
    with tempfile.TemporaryDirectory() as folder:
        pack, _ = local_pack("buffalo_s", Path(folder), args.detector, args.attributes)
        ways: dict[str, Step] = {
            "SCRFD 500M + genderage, insightface's own calls": insightface_alone(pack),
            "SCRFD 500M + genderage, our pipeline": without_emotion(pack),
            "compact, four answers, faces of any size": lambda frame, _: compact.analyze(frame),
            f"compact, four answers, faces of {smallest:.0f} px or more": lambda frame, _: compact.analyze(
                frame, min_face=smallest
            ),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for frame in frames(args.frames, 1, SIZE):
            for way, step in ways.items():
                began = time.perf_counter()
                step(frame, 0.0)
                times[way].append((time.perf_counter() - began) * 1000)
    first = float(np.median(next(iter(times.values()))[5:]))
    lines = [machine(), "", "| 640x480, one face | p50 ms | p95 ms | to the first |", "| --- | --- | --- | --- |"]
    for way, took in times.items():
        middle, slow = np.percentile(took[5:], (50, 95))
        lines.append(f"| {way} | {middle:.1f} | {slow:.1f} | {middle / first:.2f}x |")
    text = "\n".join(lines)
    print(text)
    if args.out:
        keep(args.out, f"{text}\n")


if __name__ == "__main__":
    main()
