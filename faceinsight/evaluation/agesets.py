"""Readers of further sets of ages: FairFace, and FG-NET."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np

from faceinsight.errors import MediaError
from faceinsight.evaluation.datasets import GENDERS, DataSet, Sample
from faceinsight.evaluation.source import Source, base_name

AGE_BUCKETS: dict[str, tuple[float, float]] = {
    "0-2": (0, 3),
    "3-9": (3, 10),
    "10-19": (10, 20),
    "20-29": (20, 30),
    "30-39": (30, 40),
    "40-49": (40, 50),
    "50-59": (50, 60),
    "60-69": (60, 70),
    "more than 70": (70, np.inf),
}
"""FairFace's words for ages: from so many years to less than so many."""
FAIRFACE_RACES = ("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern")
_TABLE = "fairface_label_{}.csv"
# Person, A, age, and a letter where there are several.
_FGNET_NAME = re.compile(r"(\d{3})A(\d{1,2})[a-z]?\.\w+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Subject:
    """FairFace's labels: age as one of `AGE_BUCKETS`, gender of `GENDERS`, race in the data set's own words."""

    bucket: str
    gender: str
    race: str


def read_fairface(source: Source, split: str | None = None) -> DataSet[Subject]:
    """Reads FairFace: fairface_label_val.csv (columns file, age, gender, race) and the pictures that it names.

    Kärkkäinen and Joo, "FairFace: Face Attribute Dataset for Balanced Race, Gender, and Age", WACV 2021.

    Args:
        source: The folder or zip.
        split: "val" or "train"; None for "val".

    Returns:
        Pictures of one face each. What is listed and not there, or without known labels, is skipped and counted.

    Raises:
        MediaError: If the layout is another, or there is no such split.
    """
    split = "val" if split is None else split.lower()
    tables = [name for name in source.names if base_name(name).lower() == _TABLE.format(split)]
    if not tables or not source.pictures:
        raise MediaError(
            f"{source.path} is not laid out as expected: it should hold {_TABLE.format(split)} and the pictures."
        )
    # "val/1.jpg" in the table, wherever the folder "val" lies.
    by_end = {"/".join(name.split("/")[-2:]): name for name in source.pictures}
    skipped: Counter[str] = Counter()
    samples = []
    for row in source.rows(tables[0]):
        name = row.get("file", "").strip()
        there = by_end.get("/".join(name.split("/")[-2:]))
        subject = Subject(
            row.get("age", "").strip(), row.get("gender", "").strip().lower(), row.get("race", "").strip()
        )
        if subject.bucket not in AGE_BUCKETS or subject.gender not in GENDERS or not subject.race:
            skipped["without a known label"] += 1
        elif there is None:
            skipped["listed but not there"] += 1
        else:
            samples.append(Sample(there, subject, partial(source.picture, there)))
    return DataSet(tuple(samples), skipped, split)


def read_fgnet(source: Source) -> DataSet[int]:
    """Reads FG-NET, whose labels are in the file names: person, A, age, and a letter where there are several.

    Panis et al., "Overview of research on facial ageing using the FG-NET ageing database", IET Biometrics 2016.

    Args:
        source: The folder or zip, with whole pictures or cut-out faces.

    Returns:
        Pictures with ages in years. Files of other names, and second copies of one in another folder, are skipped and
        counted.

    Raises:
        MediaError: If no file has such a name.
    """
    skipped: Counter[str] = Counter()
    samples: dict[str, Sample[int]] = {}
    for name in source.pictures:
        labels = _FGNET_NAME.fullmatch(base_name(name))
        if labels is None:
            skipped["file name is not person A age"] += 1
        elif base_name(name) in samples:
            skipped["second copy of a file"] += 1
        else:
            samples[base_name(name)] = Sample(name, int(labels.group(2)), partial(source.picture, name))
    if not samples:
        raise MediaError(f"{source.path} is not laid out as expected: it should hold files named like 078A07.jpg.")
    return DataSet(tuple(samples.values()), skipped)


def person_of(name: str) -> str:
    """Returns the number of the person in an FG-NET picture, as it is written in the file's name."""
    return base_name(name)[:3]
