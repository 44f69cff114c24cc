"""Measures the pipeline beside the loop that people write today, on the same frames in one run.

    python -m benchmarks.pipeline
    python -m benchmarks.pipeline --pack buffalo_s --detector det_500m.onnx --attributes genderage.onnx

Rows: (a) the naive loop: insightface's detector, then for each face by itself the attribute model and HSEmotion, then
drawing; (b) `FaceAnalyzer.analyze`, then drawing; (c) `FaceStream.process` at a camera's 30 frames a second, then
drawing; (d) the time within ONNX Runtime during (b), alone.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import re
import resource
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import insightface
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from benchmarks.efficientnet import write_efficientnet_b0
from benchmarks.machine import keep, machine
from faceinsight import FaceAnalyzer, FaceStream, FrameAnalysis, draw, load_image
from faceinsight.packs import resolve
from faceinsight.ui.live import BUDGET_MS, SMALLEST_SHARE
from faceinsight.writing import write_file

Frame = npt.NDArray[np.uint8]
Step = Callable[[Frame, float], object]

GRIDS = {1: (1, 1), 3: (3, 1), 6: (3, 2), 20: (5, 4)}
SIZES = ((640, 480), (1280, 720))
FPS = 30
RANDOM_EMOTION = "emotion network: EfficientNet-B0 with weights of chance, as HSEmotion's file is not here"


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement; milliseconds a frame, and the process's peak memory in MB."""

    pack: str
    faces: int
    width: int
    height: int
    way: str
    fps: float
    p50_ms: float
    p95_ms: float
    model_ms: float
    memory_mb: float
    seen: float


def heads() -> list[Frame]:
    """Returns square cut-outs of the faces in insightface's example picture."""
    picture = load_image(Path(insightface.__file__).parent / "data" / "images" / "t1.jpg").pixels
    cut = []
    for face in FaceAnalyzer("compact").detect(picture):
        x, y = (face.bbox[0] + face.bbox[2]) / 2, (face.bbox[1] + face.bbox[3]) / 2
        reach = 0.85 * face.side
        x1, y1, x2, y2 = (round(v) for v in (x - reach, y - reach, x + reach, y + reach))
        if min(x1, y1) >= 0 and y2 <= picture.shape[0] and x2 <= picture.shape[1]:
            cut.append(picture[y1:y2, x1:x2])
    return cut


def frames(count: int, faces: int, size: tuple[int, int]) -> Iterator[Frame]:
    """Yields frames (H, W, 3) RGB with so many faces that sway, under a camera's noise."""
    width, height = size
    columns, rows = GRIDS[faces]
    side = int(0.8 * min(width / columns, height / rows))
    people = [cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA) for head in heads()]
    rng = np.random.default_rng(0)
    still = np.full((height, width, 3), 96, np.uint8)
    noise = rng.normal(0, 3, (height + 64, width + 64, 3)).astype(np.int8)
    for index in range(count):
        frame = still.copy()
        for face in range(faces):
            row, column = divmod(face, columns)
            sway = 0.08 * side * np.array([np.sin(index / 15 + face), np.cos(index / 19 + 2 * face)])
            x = round((column + 0.5) * width / columns - side / 2 + sway[0])
            y = round((row + 0.5) * height / rows - side / 2 + sway[1])
            frame[y : y + side, x : x + side] = people[face % len(people)]
        dx, dy = rng.integers(0, 64, 2)
        yield cv2.add(frame, noise[dy : dy + height, dx : dx + width].astype(np.int16), dtype=cv2.CV_8U)


class ModelTime:
    """Adds up the time within ONNX Runtime."""

    def __init__(self) -> None:
        """Times every session of this process from now on."""
        self.seconds = 0.0
        run = onnxruntime.InferenceSession.run

        def timed(session: Any, *args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return run(session, *args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - began

        onnxruntime.InferenceSession.run = timed


def naive(pack: Path | str, folder: Path) -> Step:
    """Returns the loop that people write today: one face at a time; it needs a folder for the packages' files."""
    from insightface.app import FaceAnalysis
    from insightface.model_zoo import get_model

    found = resolve(pack)
    models = dict(found.spec.face_models)
    spec = found.spec.detector
    assert spec is not None
    if models["attributes"].output != "genderage":
        # insightface cannot run this pack's attribute model: its own detector, then our models face by face.
        analyzer = FaceAnalyzer(pack)
        detector = get_model(
            str(for_insightface(found.paths["detector"], folder / "detector.onnx")), providers=["CPUExecutionProvider"]
        )

        def by_hand(frame: Frame, time_s: float) -> object:
            boxes, kps = detector.detect(frame[..., ::-1], input_size=list(spec.input_sizes), det_thresh=0.5)
            image = frame.copy()
            for box, points in zip(boxes, kps, strict=True):
                from faceinsight import Face

                face = Face(tuple(box[:4].tolist()), float(box[4]), tuple(map(tuple, points.tolist())))
                (face,) = analyzer.describe(frame, [face])
                _label(image, box, f"{face.gender.label} {face.age:.0f} {face.emotion.label}")
            return image

        return by_hand
    from hsemotion_onnx.facial_emotions import HSEmotionRecognizer

    (folder / "naive").mkdir(exist_ok=True)
    for stage in ("detector", "attributes"):
        shutil.copy(found.paths[stage], folder / "naive" / found.paths[stage].name)
    home = folder / "home"
    (home / ".hsemotion").mkdir(parents=True, exist_ok=True)
    shutil.copy(found.paths["emotion"], home / ".hsemotion" / "enet_b0_8_best_vgaf.onnx")
    os.environ["HOME"] = str(home)
    app = FaceAnalysis(name=str(folder / "naive"), providers=["CPUExecutionProvider"])
    app.prepare(ctx_id=-1)
    emotions = HSEmotionRecognizer("enet_b0_8_best_vgaf")

    def loop(frame: Frame, time_s: float) -> object:
        bgr = np.ascontiguousarray(frame[..., ::-1])
        image = frame.copy()
        for face in app.get(bgr):
            x1, y1, x2, y2 = np.maximum(face.bbox, 0).astype(int)
            emotion, _ = emotions.predict_emotions(frame[y1:y2, x1:x2], logits=False)
            _label(image, face.bbox, f"{face.sex} {face.age} {emotion}")
        return image

    return loop


def for_insightface(path: Path, out: Path) -> Path:
    """Writes a detector that takes pixels as one that takes insightface's input, (1, 3, H, W) normalised."""
    model = onnx.load(path)
    graph = model.graph
    constants = {"scale": np.float32(1 / 128), "zero": np.uint8(128)}
    graph.initializer.extend(onnx.numpy_helper.from_array(np.array(value), name) for name, value in constants.items())
    pixels = graph.input[0]
    first = [
        onnx.helper.make_node("QuantizeLinear", ["normalised", *constants], ["planes in 8 bits"]),
        onnx.helper.make_node("Transpose", ["planes in 8 bits"], [pixels.name], perm=[0, 2, 3, 1]),
    ]
    nodes = [*first, *graph.node]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    shape = [1, 3, "height", "width"]
    graph.input.append(onnx.helper.make_tensor_value_info("normalised", onnx.TensorProto.FLOAT, shape))
    onnx.save(model, out)
    return out


def _label(image: Frame, box: npt.NDArray[np.float32], text: str) -> None:
    x1, y1, x2, y2 = (int(v) for v in box[:4])
    cv2.rectangle(image, (x1, y1), (x2, y2), (0, 255, 0), 2)
    cv2.putText(image, text, (x1, y1 - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 255, 0), 1)


def analyze(pack: Path | str) -> Step:
    """Returns the pipeline without tracking."""
    analyzer = FaceAnalyzer(pack)
    return lambda frame, time_s: _drawn(frame, analyzer.analyze(frame))


def track(pack: Path | str, size: tuple[int, int]) -> Step:
    """Returns the pipeline with tracking, set as the Webcam tab sets it."""
    stream = FaceStream(FaceAnalyzer(pack), min_face=max(size) * SMALLEST_SHARE, budget_ms=BUDGET_MS, cuts=False)
    return lambda frame, time_s: _drawn(frame, stream.process(frame, time_s))


def _drawn(frame: Frame, analysis: FrameAnalysis) -> int:
    draw(frame, analysis.faces)
    return len(analysis.faces)


def measure(
    pack: Path | str, name: str, faces: int, size: tuple[int, int], way: str, count: int, folder: Path
) -> list[Row]:
    """Runs one way in this process; (b) gives (d) too."""
    warnings.simplefilter("ignore")
    models = ModelTime()
    step = {"a": partial(naive, pack, folder), "b": partial(analyze, pack), "c": partial(track, pack, size)}[way]()
    warm_up = FPS // 2
    times, seen = [], []
    for index, frame in enumerate(frames(count + warm_up, faces, size)):
        if index == warm_up:
            models.seconds = 0.0
        began = time.perf_counter()
        answer = step(frame, index / FPS)
        if index >= warm_up:
            times.append((time.perf_counter() - began) * 1000)
            seen.append(answer if isinstance(answer, int) else faces)
    model_ms = models.seconds * 1000 / count
    # In KB on Linux, in bytes on macOS.
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if platform.system() == "Linux" else 2**20)
    base = (name, faces, *size)
    p50, p95 = (float(np.percentile(times, q)) for q in (50, 95))
    rows = [Row(*base, way, 1000 / float(np.mean(times)), p50, p95, model_ms, memory, float(np.mean(seen)))]
    if way == "b":
        rows.append(Row(*base, "d", 1000 / model_ms, model_ms, model_ms, model_ms, memory, float(np.mean(seen))))
    return rows


def local_pack(name: str, folder: Path, detector: Path | None, attributes: Path | None) -> tuple[Path | str, str]:
    """Returns a pack that can run here, and what must be said about it."""
    found = resolve(name)
    if not found.missing:
        return name, ""
    if "emotion" not in found.missing and not (detector or attributes):
        raise SystemExit(f"{name} is not here: fetch it with `faceinsight models fetch {name}`.")
    files = {
        "detector": detector or found.paths.get("detector"),
        "attributes": attributes or found.paths.get("attributes"),
        "emotion": found.paths.get("emotion") or write_efficientnet_b0(folder / "emotion.onnx"),
    }
    if None in (files["detector"], files["attributes"]):
        raise SystemExit(
            f"{name} is not here: fetch it with `faceinsight models fetch {name}`, "
            "or name its files with --detector and --attributes."
        )
    text = (resources.files("faceinsight.packs") / "catalog" / f"{name}.toml").read_text()
    text = re.sub(r"^(url|member|bytes|sha256|git_blob) = .*\n", "", text, flags=re.MULTILINE)
    for stage, path in files.items():
        shutil.copy(str(path), folder / f"{stage}-model.onnx")
        text = re.sub(rf'(\[{stage}\]\nfile = )".*"', rf'\g<1>"{stage}-model.onnx"', text)
    (folder / "pack.toml").write_text(text)
    return folder, RANDOM_EMOTION if "emotion" in found.missing else ""


def table(rows: list[Row]) -> str:
    """Returns the rows as Markdown, with each way's speed beside the naive loop's."""
    ways = {
        "a": "(a) naive loop",
        "b": "(b) FaceInsight, every frame anew",
        "c": "(c) FaceInsight, tracking",
        "d": "(d) models alone",
    }
    lines = [
        "| pack | frame | faces | way | frames/s | to (a) | p50 ms | p95 ms | models ms | peak MB | faces seen |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        (first,) = (r for r in rows if (r.pack, r.faces, r.width, r.way) == (row.pack, row.faces, row.width, "a"))
        lines.append(
            f"| {row.pack} | {row.width}x{row.height} | {row.faces} | {ways[row.way]} | {row.fps:.1f} | "
            f"{row.fps / first.fps:.1f}x | {row.p50_ms:.1f} | {row.p95_ms:.1f} | {row.model_ms:.1f} | "
            f"{row.memory_mb:.0f} | {row.seen:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures every combination, each way in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", nargs="+", default=["compact"], help="packs of the catalogue")
    parser.add_argument("--detector", type=Path, help="a detector file for packs that are not here")
    parser.add_argument("--attributes", type=Path, help="an attribute file for packs that are not here")
    parser.add_argument("--faces", type=int, nargs="+", choices=list(GRIDS), default=list(GRIDS))
    parser.add_argument("--frames", type=int, default=90, help="frames a row, after half a second of warming up")
    parser.add_argument("--out", type=Path, help="write the table to this file, and a JSON file beside it")
    args = parser.parse_args()
    rows: list[Row] = []
    said = set()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for name in args.pack:
            pack, remark = local_pack(name, Path(folder), args.detector, args.attributes)
            said |= {f"{name}, {remark}."} if remark else set()
            for size in SIZES:
                for faces in args.faces:
                    for way in "abc":
                        # A process of its own: peak memory is a process's.
                        with context.Pool(1) as pool:
                            rows += pool.apply(measure, (pack, name, faces, size, way, args.frames, Path(folder)))
                        print(rows[-1], flush=True)
    text = "\n\n".join([machine(), *sorted(said), table(rows)])
    print(f"\n{text}")
    if args.out:
        keep(args.out, f"{text}\n")
        content = {"machine": machine(), "rows": [asdict(row) for row in rows]}
        write_file(args.out.with_suffix(".json"), f"{json.dumps(content, indent=1)}\n".encode())


if __name__ == "__main__":
    main()
