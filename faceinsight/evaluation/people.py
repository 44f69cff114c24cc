"""Measures a pack's ages and genders: in years, or in buckets of ages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from faceinsight.analyzer import FaceAnalyzer
from faceinsight.errors import MediaError
from faceinsight.evaluation.agesets import AGE_BUCKETS, FAIRFACE_RACES, Subject
from faceinsight.evaluation.datasets import RACES, DataSet, Person, Truth
from faceinsight.evaluation.metrics import (
    AgeMetrics,
    Bools,
    Floats,
    Ints,
    age_metrics,
    bucket_metrics,
    class_metrics,
)
from faceinsight.evaluation.report import Report
from faceinsight.evaluation.running import Progress, chunks, framed_face, labels_of, largest, surest, whole
from faceinsight.inference.attributes import GENDERS
from faceinsight.results import Face

AGE_BANDS: dict[str, tuple[float, float]] = {
    "0-9": (0, 9),
    "10-19": (10, 19),
    "20-39": (20, 39),
    "40-59": (40, 59),
    "60+": (60, np.inf),
}
_CROP = (
    "The face is the {} one that the pack's detector finds in the picture padded by half its side; where it finds "
    "none, the whole picture without key points."
)


def measure_utkface(report: Report, analyzer: FaceAnalyzer, data: DataSet[Person], on_progress: Progress) -> Report:
    """Compares ages in years and genders, by age and by the set's race label."""
    people, faces, found = _answers(report, analyzer, data, on_progress, by_size=False)
    true_age = np.array([person.age for person in people], np.float64)
    bands = _bands(true_age)
    parts = bands | _groups([person.race for person in people], RACES)
    true_gender, shares = _genders([person.gender for person in people]), _shares(faces)
    return replace(
        report,
        size=len(people),
        skipped=dict(data.skipped),
        crop=_CROP.format("surest"),
        found=found,
        age=_by_age(bands, true_age, faces),
        gender={name: class_metrics(GENDERS, true_gender[part], shares[part]) for name, part in parts.items()},
        curves={"true_age": true_age, "age": _ages(faces)},
    )


def measure_fairface(report: Report, analyzer: FaceAnalyzer, data: DataSet[Subject], on_progress: Progress) -> Report:
    """Compares ages with FairFace's buckets, and genders, by age and by the set's race label."""
    people, faces, found = _answers(report, analyzer, data, on_progress, by_size=True)
    ages = _ages(faces)
    bounds = np.array([AGE_BUCKETS[person.bucket] for person in people])
    races = [person.race for person in people]
    parts = {
        "all": np.ones(len(people), bool),
        **_groups([person.bucket for person in people], AGE_BUCKETS),
        **_groups(races, dict.fromkeys((*FAIRFACE_RACES, *races))),
    }
    true_gender, shares = _genders([person.gender for person in people]), _shares(faces)
    return replace(
        report,
        split=data.split,
        size=len(people),
        skipped=dict(data.skipped),
        crop=_CROP.format("largest"),
        found=found,
        age_bucket={name: bucket_metrics(bounds[part], ages[part]) for name, part in parts.items()},
        gender={name: class_metrics(GENDERS, true_gender[part], shares[part]) for name, part in parts.items()},
    )


def measure_fgnet(report: Report, analyzer: FaceAnalyzer, data: DataSet[int], on_progress: Progress) -> Report:
    """Compares ages in years, by age, of the faces that are found as the app finds them."""
    labels_of(analyzer, "attributes")
    true: list[float] = []
    described: list[Face] = []
    total = 0
    for chunk in chunks(report, data, on_progress):
        total += len(chunk)
        faces = [largest(analyzer.detect(picture)) for _, picture in chunk]
        pairs = [(*sample, face) for sample, face in zip(chunk, faces, strict=True) if face is not None]
        described += analyzer.describe([p for _, p, _ in pairs], [face for _, _, face in pairs], ("attributes",))
        true += [float(sample.truth) for sample, _, _ in pairs]
    if not true:
        raise MediaError(f"The pack's detector finds no face in {report.path}: give whole pictures, or wider ones.")
    if total > len(true):
        data.skipped["no face found"] += total - len(true)
    true_age = np.array(true)
    return replace(
        report,
        size=len(true),
        skipped=dict(data.skipped),
        crop="The face is the largest one that the pack's detector finds in the picture as it is; pictures in which "
        "it finds none count for nothing else.",
        found=len(true) / total,
        age=_by_age(_bands(true_age), true_age, described),
        curves={"true_age": true_age, "age": _ages(described)},
    )


def _answers(
    report: Report, analyzer: FaceAnalyzer, data: DataSet[Truth], on_progress: Progress, *, by_size: bool
) -> tuple[list[Truth], list[Face], float]:
    """Returns what is true of every picture, its described face, and the share in which a face was found."""
    labels_of(analyzer, "attributes")
    truths: list[Truth] = []
    answers: list[Face] = []
    found = 0
    for chunk in chunks(report, data, on_progress):
        pictures = [picture for _, picture in chunk]
        faces = [framed_face(analyzer, picture, largest if by_size else surest) for picture in pictures]
        found += sum(face is not None for face in faces)
        boxed = [face or whole(picture) for face, picture in zip(faces, pictures, strict=True)]
        answers += analyzer.describe(pictures, boxed, ("attributes",))
        truths += [sample.truth for sample, _ in chunk]
    return truths, answers, found / len(truths)


def _ages(faces: list[Face]) -> Floats:
    return np.array([face.age for face in faces], np.float64)


def _by_age(bands: dict[str, Bools], true_age: Floats, faces: list[Face]) -> dict[str, AgeMetrics]:
    ages = _ages(faces)
    ranges = None if faces[0].age_range is None else np.array([face.age_range for face in faces], np.float64)
    return {
        name: age_metrics(true_age[part], ages[part], None if ranges is None else ranges[part])
        for name, part in bands.items()
    }


def _shares(faces: list[Face]) -> Floats:
    return np.array([face.gender.probabilities for face in faces if face.gender is not None])


def _genders(names: list[str]) -> Ints:
    return np.array([GENDERS.index(name) for name in names])


def _bands(ages: Floats) -> dict[str, Bools]:
    """Returns who is in which band of ages; bands without anybody are left out."""
    bands = {"all": np.ones(len(ages), bool)}
    bands |= {name: (low <= ages) & (ages <= high) for name, (low, high) in AGE_BANDS.items()}
    return {name: part for name, part in bands.items() if part.any()}


def _groups(values: Sequence[str], names: Iterable[str]) -> dict[str, Bools]:
    """Returns who has which value; values that nobody has are left out."""
    groups = {name: np.array([value == name for value in values]) for name in names}
    return {name: part for name, part in groups.items() if part.any()}
