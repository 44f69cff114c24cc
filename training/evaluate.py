"""Measure a file of the compact pack on pictures that its training never saw.

    python -m training.evaluate detector --model detector.onnx --data scenes.zip
    python -m training.evaluate attributes --model attributes.onnx --data utkface.zip --detector scrfd_2.5g_kps.onnx
    python -m training.evaluate emotion --model emotion.onnx --data fer2013.zip

Prints one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from training import attributes, emotion
from training.alignment import aligned, cached_points
from training.data import EMOTIONS, TEST_FOLD, VALIDATION_FOLD, Picture, fold, read_expressions, read_faces, read_scenes
from training.detection import compare, detect, runner, session


def run(network: onnxruntime.InferenceSession, pictures: Picture) -> npt.NDArray[np.float32]:
    """Return the logits for cut-out faces (N, S, S, 3)."""
    rows = []
    for start in range(0, len(pictures), 64):
        blob = (pictures[start : start + 64].astype(np.float32) - 127.5) / 128.0
        rows.append(network.run(None, {"input": np.ascontiguousarray(blob.transpose(0, 3, 1, 2))})[0])
    return np.concatenate(rows)


def evaluate_detector(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Count found faces and false alarms on one fold of the scenes."""
    scenes = [scene for scene in read_scenes(arguments.data) if fold(scene.name) == arguments.fold]
    reports = compare(
        session(str(arguments.model), arguments.threads), scenes, arguments.thresholds, tuple(arguments.sizes)
    )
    return [{"pictures": len(scenes), **asdict(report)} for report in reports]


def evaluate_attributes(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Measure age and gender on one fold of UTKFace, cut with a detector's key points as the app cuts."""
    cache = arguments.cache or Path(tempfile.mkdtemp())
    faces = read_faces(arguments.data, cache)
    chosen = np.flatnonzero(faces.folds == arguments.fold)
    points, found = _points(faces.pictures[chosen], arguments)
    crops = np.stack(
        [
            aligned(faces.pictures[i], p, attributes.SIZE, attributes.CROP_SCALE)
            for i, p in zip(chosen, points, strict=True)
        ]
    )
    ages, genders = attributes.read(run(session(str(arguments.model), arguments.threads), crops))
    true, right = faces.ages[chosen], genders == 1 - faces.genders[chosen]
    rows: list[dict[str, object]] = []
    for name, low, high in (
        ("all", 0, 200),
        ("0-9", 0, 9),
        ("10-19", 10, 19),
        ("20-39", 20, 39),
        ("40-59", 40, 59),
        ("60+", 60, 200),
    ):
        part = (true >= low) & (true <= high)
        rows.append(
            {
                "ages": name,
                "faces": int(part.sum()),
                "found": float(found[part].mean()),
                "mae": float(np.abs(ages - true)[part].mean()),
                "within_5": float((np.abs(ages - true)[part] <= 5).mean()),
                "gender": float(right[part].mean()),
            }
        )
    return rows


def _points(pictures: Picture, arguments: argparse.Namespace) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Find key points with the teacher (640x640 only) or with a detector of free size, one face a picture."""
    network = session(str(arguments.detector), arguments.threads)
    if isinstance(network.get_inputs()[0].shape[2], int):
        points, _, found = cached_points(pictures, arguments.detector, 128, Path(tempfile.mkdtemp()) / "points.npz")
        return points, found
    points = np.zeros((len(pictures), 5, 2), np.float32)
    found = np.zeros(len(pictures), bool)
    for index, picture in enumerate(pictures):
        # Half a picture of margin on every side: a detector expects a head in a frame, not a frame of a head.
        padded = np.pad(picture, ((64, 64), (64, 64), (0, 0)))
        answer = detect(runner(network), padded, 0.5, (256,))
        if len(answer.boxes):
            points[index], found[index] = answer.points[0] - 64, True
    points[~found] = np.median(points[found], axis=0)
    return points, found


def evaluate_emotion(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Measure on FER2013's public test split; ``temperature`` is fitted on fold 1 of the training split."""
    train, test = read_expressions(arguments.data)
    network = session(str(arguments.model), arguments.threads)
    held = np.array([fold(name) == VALIDATION_FOLD for name in train.names])
    temperature = emotion.best_temperature(run(network, emotion.as_rgb(train.pictures[held])), train.labels[held])
    logits = run(network, emotion.as_rgb(test.pictures))
    guess = logits.argmax(1)
    right = guess == test.labels
    recall = {name: round(float(right[test.labels == i].mean()), 4) for i, name in enumerate(EMOTIONS)}
    return [
        {
            "pictures": len(right),
            "accuracy": float(right.mean()),
            "mean_recall": float(np.mean(list(recall.values()))),
            "recall": recall,
            "temperature": temperature,
            "ece_raw": calibration_error(logits, right),
            "ece": calibration_error(logits / temperature, right),
        }
    ]


def calibration_error(logits: npt.NDArray[np.float32], right: npt.NDArray[np.bool_], bins: int = 15) -> float:
    """Return the expected calibration error of the top class."""
    weights = np.exp(logits - logits.max(1, keepdims=True))
    sure = (weights / weights.sum(1, keepdims=True)).max(1)
    place = np.minimum((sure * bins).astype(int), bins - 1)
    return float(sum(abs((right[place == b] - sure[place == b]).sum()) for b in range(bins)) / len(right))


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure a file of the compact pack.")
    parser.add_argument("stage", choices=["detector", "attributes", "emotion"])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="the data set's zip")
    parser.add_argument("--detector", type=Path, help="the detector that finds the key points (attributes)")
    parser.add_argument("--cache", type=Path, help="folder for decoded pictures")
    parser.add_argument("--fold", type=int, default=TEST_FOLD)
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.5])
    parser.add_argument("--sizes", type=int, nargs="+", default=[640], help="sides of the detector's inputs")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    measure = {"detector": evaluate_detector, "attributes": evaluate_attributes, "emotion": evaluate_emotion}
    for row in measure[arguments.stage](arguments):
        print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}))


if __name__ == "__main__":
    main()
