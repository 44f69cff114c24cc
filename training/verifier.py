r"""Train the compact verifier: a second, closer look at what the detector is not sure of.

    python -m training.verifier --data scenes.zip --faces utkface.zip --teacher scrfd_2.5g_kps.onnx \
        --detector assets/models/compact/detector.onnx --out DIR

The detector has to look at every place of a picture and can afford little for each. Where it is in doubt, a face and
a hand score alike; a network that sees nothing but that place, in more pixels, tells them apart (the idea of Viola and
Jones's cascade), and sees better where the face ends. It learns from the detector's own doubts: places that the
detector proposes on composed pictures, with the teacher's score and box there as the answer. Pictures of fold 0 are
never touched here.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from faceinsight.evaluation.metrics import overlaps
from faceinsight.inference.crops import scaled_box_crop
from faceinsight.inference.detector import Detector
from faceinsight.inference.session import create_session
from faceinsight.packs.spec import DetectorSpec, ModelFile
from training.alignment import cached_points
from training.canvases import Composer, Teacher
from training.data import TEST_FOLD, VALIDATION_FOLD, Floats, Picture, Scene, fold, read_faces, read_scenes, spoil
from training.detection import detect
from training.loop import Loop, Plan, Shuffled, answers, fit, parser, prepare
from training.networks import verifier

SIZE = 56
CROP_SCALE = 1.6
"""How much of what lies around a box the network sees: a face has hair, a neck and shoulders, a hand has an arm."""
STORED = 80
"""Side of the crops kept for training: the network's own framing with a rim to jitter in."""
RIM_PIXELS = (STORED - SIZE) // 2
DOUBT = 0.06
"""Least score of the detector's that makes a candidate."""
PER_PICTURE = 14
SURE = 0.8
"""The teacher's score of a face that nobody doubts."""
INPUT_SIZES = ((320, 320), (640, 640))


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the detector proposed.

    Attributes:
        crops: (N, 80, 80, 3) RGB.
        scores: (N,) the detector's.
        targets: (N,) how much of a face it is, 0 to 1, by the teacher; NaN where that is not known.
        boxes: (N, 4) the teacher's box in pixels of the crop; NaN where there is none.
    """

    crops: Picture
    scores: Floats
    targets: Floats
    boxes: Floats

    def save(self, path: Path) -> None:
        """Write all to one file."""
        np.savez(path, crops=self.crops, scores=self.scores, targets=self.targets, boxes=self.boxes)

    @staticmethod
    def load(path: Path) -> Candidates:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            return Candidates(stored["crops"], stored["scores"], stored["targets"], stored["boxes"])


class Miner:
    """Lets the detector propose places, and the teacher judge them."""

    def __init__(self, detector: Path, rng: np.random.Generator, threads: int) -> None:
        spec = DetectorSpec(ModelFile(detector.name), INPUT_SIZES)
        self._detector = Detector(spec, create_session(detector, threads=threads))
        self._rng = rng
        self._rows: list[tuple[Picture, float, float, Floats]] = []

    def look(self, picture: Picture, truth: Floats, most: int | None = PER_PICTURE) -> None:
        """Add a picture's candidates; ``truth`` has the teacher's boxes and scores (M, 5)."""
        found = self._detector.detect(picture, DOUBT)
        if most is not None and len(found) > most:
            # The sure ones, and some of the many doubtful: both kinds are what the network will be asked about.
            rest = self._rng.permutation(np.arange(most // 2, len(found)))[: most - most // 2]
            found = found[: most // 2] + tuple(found[i] for i in rest)
        boxes = np.array([face.bbox for face in found], np.float64).reshape(-1, 4)
        shared = overlaps(boxes, truth[:, :4].astype(np.float64))
        for face, row in zip(found, shared, strict=True):
            crop = scaled_box_crop(picture, face.bbox, (STORED, STORED), CROP_SCALE * STORED / SIZE)
            wanted, index = target(row, truth[:, 4])
            box = np.full(4, np.nan, np.float32)
            if index is not None:
                zoom = STORED / (face.side * CROP_SCALE * STORED / SIZE)
                middle = np.add(face.bbox[:2], face.bbox[2:]) / 2
                box = ((truth[index, :4].reshape(2, 2) - middle) * zoom + STORED / 2).astype(np.float32).ravel()
            self._rows.append((crop, face.det_score, wanted, box))

    def collected(self) -> Candidates:
        """Return all candidates so far."""
        crops, scores, targets, boxes = zip(*self._rows, strict=True)
        return Candidates(np.stack(crops), np.array(scores, np.float32), np.array(targets, np.float32), np.stack(boxes))


def target(shared: npt.NDArray[np.float64], scores: Floats) -> tuple[float, int | None]:
    """Say how much of a face a box is (0 to 1), and which, of its overlaps (M,) with the teacher's boxes.

    Args:
        shared: (M,) intersection over union with the teacher's boxes.
        scores: (M,) their scores.
    """
    # With what it sees around the box, the network can find the whole of a face that the box only touches.
    near = np.flatnonzero(shared >= 0.35)
    if len(near):
        best = int(near[scores[near].argmax()])
        # SCRFD scores a face that it does not doubt with about 0.7, and hardly a false one with more than 0.3.
        return float(np.clip((scores[best] - 0.25) / 0.4, 0, 1)), best
    return float("nan") if (shared[scores >= 0.3] >= 0.15).any() else 0.0, None


def framed_face(picture: Picture, box: Floats, rng: np.random.Generator) -> tuple[Picture, Floats]:
    """Return a UTKFace picture with some border and in some size, and the truth (1, 5): a face alone in its picture."""
    left, top, right, bottom = (int(v) for v in rng.integers(0, 100, 4))
    kind = cv2.BORDER_REPLICATE if rng.random() < 0.3 else cv2.BORDER_CONSTANT
    colour = (0, 0, 0) if rng.random() < 0.6 else tuple(int(c) for c in rng.integers(0, 256, 3))
    framed = cv2.copyMakeBorder(np.ascontiguousarray(picture), top, bottom, left, right, kind, value=colour)
    factor = float(np.exp(rng.uniform(np.log(0.4), np.log(2.5))))
    scaled = np.asarray(cv2.resize(framed, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
    return scaled, np.append(np.add(box, (left, top, left, top)) * factor, SURE)[None].astype(np.float32)


def cut_out(scene: Scene, rng: np.random.Generator) -> tuple[Picture, Floats]:
    """Return what of a scene lies around one of its faces, and the boxes there (M, 5)."""
    box = scene.boxes[int(rng.integers(len(scene.boxes)))]
    side = float(max(box[2] - box[0], box[3] - box[1]))
    reach = rng.uniform(0.05, 0.9, 4) * side
    x1, y1 = (max(0, int(box[i] - reach[i])) for i in range(2))
    x2, y2 = int(box[2] + reach[2]) + 1, int(box[3] + reach[3]) + 1
    middles = (scene.boxes[:, :2] + scene.boxes[:, 2:4]) / 2
    inside = ((middles > (x1, y1)) & (middles < (x2, y2))).all(axis=1)
    return scene.picture[y1:y2, x1:x2], scene.boxes[inside] - np.array((x1, y1, x1, y1, 0), np.float32)


def mine(arguments: argparse.Namespace, rng: np.random.Generator) -> tuple[Candidates, Candidates]:
    """Return candidates to learn from and those of fold 1, kept in ``--out`` once they are made."""
    paths = arguments.out / "candidates.npz", arguments.out / "held.npz"
    if not all(path.exists() for path in paths):
        every = read_scenes(arguments.data)
        scenes = [s for s in every if fold(s.name) not in (TEST_FOLD, VALIDATION_FOLD)]
        faces = read_faces(arguments.faces, arguments.cache or arguments.out)
        chosen = np.flatnonzero(~np.isin(faces.folds, (TEST_FOLD, VALIDATION_FOLD)))
        composer, teacher = Composer(scenes, faces, chosen), Teacher(arguments.teacher, arguments.threads)
        miner = Miner(arguments.detector, rng, arguments.threads)
        for scene in scenes:
            miner.look(scene.picture, scene.boxes)
        # A portrait or a tight crop has a border close to the face, which on a canvas is rare.
        _, boxes, seen = cached_points(
            faces.pictures, arguments.teacher, 128, (arguments.cache or arguments.out) / "utkface_points.npz"
        )
        for index in rng.permutation(chosen[seen[chosen]])[: arguments.portraits]:
            miner.look(*framed_face(spoil(faces.pictures[index], rng), boxes[index], rng))
        busy = [scene for scene in scenes if len(scene.boxes)]
        for index in rng.integers(0, len(busy), arguments.portraits):
            miner.look(*cut_out(busy[index], rng))
        for count in range(arguments.canvases):
            canvas = composer.canvas(rng)
            found = detect(teacher.run, canvas)
            miner.look(spoil(canvas, rng), np.column_stack([found.boxes, found.scores]))
            if count % 500 == 0:
                print(f"{count} of {arguments.canvases} canvases", flush=True)
        held = Miner(arguments.detector, rng, arguments.threads)
        for scene in (s for s in every if fold(s.name) == VALIDATION_FOLD):
            held.look(scene.picture, scene.boxes, most=None)
        arguments.out.mkdir(parents=True, exist_ok=True)
        for path, some in zip(paths, (miner, held), strict=True):
            some.collected().save(path)
    return Candidates.load(paths[0]), Candidates.load(paths[1])


def jittered(crop: Picture, box: Floats, rng: np.random.Generator) -> tuple[Picture, Floats]:
    """Return a stored crop (80, 80, 3) and box as the network sees them: moved, turned, mirrored, spoilt."""
    centre = (STORED / 2, STORED / 2)
    scale = float(np.exp(rng.normal(0, 0.1)))
    matrix = cv2.getRotationMatrix2D(centre, float(rng.normal(0, 7)), scale)
    matrix[:, 2] += (SIZE - STORED) / 2 + rng.normal(0, 0.04 * SIZE, 2)
    if rng.random() < 0.5:
        matrix[0] = -matrix[0]
        matrix[0, 2] += SIZE - 1
    middle = matrix[:, :2] @ ((box[:2] + box[2:]) / 2) + matrix[:, 2]
    # A face turned by a few degrees is as wide and high as before.
    reach = (box[2:] - box[:2]) / 2 * scale
    moved = np.concatenate([middle - reach, middle + reach]).astype(np.float32)
    return spoil(np.asarray(cv2.warpAffine(crop, matrix, (SIZE, SIZE)), np.uint8), rng, 0.5), moved


def edges(boxes: Floats) -> Floats:
    """Return boxes (N, 4) in pixels of the network's input as it gives them: from the middle, in half sides."""
    return (boxes - SIZE / 2) / (SIZE / 2)


def framed(crops: Picture) -> Picture:
    """(N, 80, 80, 3) to the (N, 56, 56, 3) in their middles."""
    return np.ascontiguousarray(crops[:, RIM_PIXELS:-RIM_PIXELS, RIM_PIXELS:-RIM_PIXELS])


def joined(scores: Floats, logits: Floats) -> Floats:
    """Return the logits of two opinions that are independent of each other."""
    return np.log(scores / (1 - scores)) + logits


def train(arguments: argparse.Namespace) -> None:
    """Run the training that the command line asks for."""
    rng = prepare(arguments.seed, arguments.threads)
    data, held = mine(arguments, rng)
    print(f"{len(data.scores)} candidates, {(data.targets > 0.5).sum()} of them faces", flush=True)
    queue = Shuffled(np.flatnonzero(~np.isnan(data.targets)), rng)
    held_crops = framed(held.crops)
    plan = Plan(steps=arguments.steps, minutes=arguments.minutes, rate=arguments.rate, average=0.998)
    loop = Loop(verifier().to(memory_format=torch.channels_last), plan, arguments.out)
    if arguments.resume:
        loop.resume()

    def draw() -> tuple[Picture, Tensor]:
        indices = queue.take(arguments.batch)
        crops, boxes = zip(*(jittered(data.crops[i], data.boxes[i], rng) for i in indices), strict=True)
        return np.stack(crops), torch.from_numpy(np.column_stack([data.targets[indices], edges(np.stack(boxes))]))

    def losses(outputs: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        outputs = outputs.float()
        cross = functional.binary_cross_entropy_with_logits(outputs[:, 0], wanted[:, 0])
        known = ~wanted[:, 1].isnan() & (wanted[:, 0] > 0.3)
        apart = functional.smooth_l1_loss(outputs[known, 1:], wanted[known, 1:], beta=0.05, reduction="sum")
        return {"cross": cross, "edges": apart / len(wanted)}

    def validate(network: nn.Module) -> tuple[float, dict[str, float]]:
        outputs = answers(network, held_crops)
        best = best_point(joined(held.scores, outputs[:, 0]), held.targets)
        boxes = edges(held.boxes - RIM_PIXELS)
        sure = held.targets > 0.85
        shared = [overlaps(outputs[i, None, 1:], boxes[i, None])[0, 0] for i in np.flatnonzero(sure)]
        return best["found"] + float(np.mean(shared)), best | {"overlap": float(np.mean(shared))}

    fit(loop, draw, losses, 500, validate)


def best_point(logits: Floats, targets: Floats) -> dict[str, float]:
    """Return the share of sure faces found where one answer in twenty-one is a false alarm, and the logit there."""
    order = np.argsort(-logits)
    found, alarms = np.cumsum(targets[order] > 0.85), np.cumsum(targets[order] == 0)
    good = np.flatnonzero(alarms <= found / 20)
    if len(good) == 0:
        return {"found": 0.0, "logit": float(logits.max())}
    return {"found": float(found[good[-1]] / found[-1]), "logit": float(logits[order[good[-1]]])}


def main() -> None:
    """Read the command line and train."""
    options = parser("Train the compact verifier.", steps=6000, rate=2e-3)
    options.add_argument("--data", type=Path, required=True, help="scenes.zip")
    options.add_argument("--faces", type=Path, required=True, help="utkface.zip")
    options.add_argument("--teacher", type=Path, required=True, help="an SCRFD detector, 640x640")
    options.add_argument("--detector", type=Path, required=True, help="the compact detector's ONNX file")
    options.add_argument("--canvases", type=int, default=3000, help="composed pictures to find candidates in")
    options.add_argument("--portraits", type=int, default=2500, help="single faces, and cut out ones, to add")
    options.add_argument("--batch", type=int, default=128)
    train(options.parse_args())


if __name__ == "__main__":
    main()
