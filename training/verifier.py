r"""Train the compact verifier: a second, closer look at what the detector is not sure of.

    python -m training.verifier --data scenes.zip --faces utkface.zip --teacher scrfd_2.5g_kps.onnx \
        --detector assets/models/compact/detector.onnx --out DIR

The detector has to look at every place of a picture and can afford little for each. Where it is in doubt, a face and
a hand score alike; a network that sees nothing but that place, in more pixels, tells them apart (the idea of Viola and
Jones's cascade). It learns from the detector's own doubts: places that the detector proposes on composed pictures, with
the teacher's score there as the answer. Pictures of fold 0 are never touched here.
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
from training.canvases import Composer, Teacher
from training.data import TEST_FOLD, VALIDATION_FOLD, Floats, Picture, fold, read_faces, read_scenes, spoil
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
INPUT_SIZES = ((320, 320), (640, 640))


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the detector proposed.

    Attributes:
        crops: (N, 80, 80, 3) RGB.
        scores: (N,) the detector's.
        targets: (N,) how much of a face it is, 0 to 1, by the teacher; NaN where that is not known.
    """

    crops: Picture
    scores: Floats
    targets: Floats

    def save(self, path: Path) -> None:
        """Write all to one file."""
        np.savez(path, crops=self.crops, scores=self.scores, targets=self.targets)

    @staticmethod
    def load(path: Path) -> Candidates:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            return Candidates(stored["crops"], stored["scores"], stored["targets"])


class Miner:
    """Lets the detector propose places, and the teacher judge them."""

    def __init__(self, detector: Path, rng: np.random.Generator, threads: int) -> None:
        spec = DetectorSpec(ModelFile(detector.name), INPUT_SIZES)
        self._detector = Detector(spec, create_session(detector, threads=threads))
        self._rng = rng
        self._rows: list[tuple[Picture, float, float]] = []

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
            self._rows.append((crop, face.det_score, target(row, truth[:, 4])))

    def collected(self) -> Candidates:
        """Return all candidates so far."""
        crops, scores, targets = zip(*self._rows, strict=True)
        return Candidates(np.stack(crops), np.array(scores, np.float32), np.array(targets, np.float32))


def target(shared: npt.NDArray[np.float64], scores: Floats) -> float:
    """Return how much of a face a box is, of its overlaps (M,) with the teacher's boxes and their scores (M,)."""
    score = float(scores[shared >= 0.5].max(initial=0))
    if score > 0:
        # SCRFD scores a face that it does not doubt with about 0.7, and hardly a false one with more than 0.3.
        return float(np.clip((score - 0.25) / 0.4, 0, 1))
    # Half on a face: neither a good box nor a false alarm.
    return float("nan") if (shared[scores >= 0.3] >= 0.3).any() else 0.0


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


def jittered(crop: Picture, rng: np.random.Generator) -> Picture:
    """Return a stored crop (80, 80, 3) as the network sees it (56, 56, 3): moved, turned, mirrored and spoilt."""
    centre = (STORED / 2, STORED / 2)
    matrix = cv2.getRotationMatrix2D(centre, float(rng.normal(0, 7)), float(np.exp(rng.normal(0, 0.07))))
    matrix[:, 2] += (SIZE - STORED) / 2 + rng.normal(0, 0.03 * SIZE, 2)
    if rng.random() < 0.5:
        matrix[0] = -matrix[0]
        matrix[0, 2] += SIZE - 1
    return spoil(np.asarray(cv2.warpAffine(crop, matrix, (SIZE, SIZE)), np.uint8), rng, 0.5)


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
        crops = np.stack([jittered(data.crops[i], rng) for i in indices])
        return crops, torch.from_numpy(data.targets[indices])

    def losses(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"cross": functional.binary_cross_entropy_with_logits(logits[:, 0].float(), targets)}

    def validate(network: nn.Module) -> tuple[float, dict[str, float]]:
        logits = answers(network, held_crops)[:, 0]
        best = best_point(joined(held.scores, logits), held.targets)
        return best["found"], best

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
    options.add_argument("--canvases", type=int, default=3500, help="composed pictures to find candidates in")
    options.add_argument("--batch", type=int, default=128)
    train(options.parse_args())


if __name__ == "__main__":
    main()
