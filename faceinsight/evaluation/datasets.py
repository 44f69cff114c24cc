"""Readers of public data sets, in the layouts in which people have them."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from faceinsight.errors import MediaError
from faceinsight.evaluation.source import Source, base_name
from faceinsight.media.image import UInt8Array

FOLDS = 10
EMOTIONS = ("Anger", "Disgust", "Fear", "Happiness", "Neutral", "Sadness", "Surprise")
RACES = ("White", "Black", "Asian", "Indian", "Other")
GENDERS = ("male", "female")

# What the sets call their classes, next to the names above.
_ALIASES = {
    "angry": "Anger",
    "disgusted": "Disgust",
    "fearful": "Fear",
    "happy": "Happiness",
    "sad": "Sadness",
    "surprised": "Surprise",
    "contempt": "Contempt",
} | {name.lower(): name for name in EMOTIONS}
_FER2013_NUMBERS = dict(
    zip("0123456", ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Neutral"), strict=True)
)
_RAFDB_NUMBERS = dict(
    zip("1234567", ("Surprise", "Fear", "Disgust", "Happiness", "Sadness", "Anger", "Neutral"), strict=True)
)
_SPLITS = ("train", "training", "test", "publictest", "privatetest", "val", "valid", "validation")
_DEFAULT_SPLITS = ("publictest", "test")
_RAFDB_LISTS = ("list_patition_label.txt", "list_partition_label.txt")
_RAFDB_TABLES = ("train_labels.csv", "test_labels.csv")
# age_gender_race_date; broken names lack one of them.
_UTKFACE_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+")

Truth = TypeVar("Truth")


@dataclass(frozen=True, slots=True)
class Sample(Generic[Truth]):
    """One picture and what is true of it.

    Attributes:
        name: Its path within the data set.
        truth: Its label.
        load: Decodes it to (H, W, 3) uint8 RGB; raises MediaError where that fails.
    """

    name: str
    truth: Truth
    load: Callable[[], UInt8Array]


@dataclass(frozen=True, slots=True)
class DataSet(Generic[Truth]):
    """Pictures with labels.

    Attributes:
        samples: In the order of their names.
        skipped: How many pictures were left out, by reason.
        split: The name of the split they are from; None where the set has none.
    """

    samples: tuple[Sample[Truth], ...]
    skipped: Counter[str] = field(default_factory=Counter)
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """UTKFace's labels: age in years, gender of `GENDERS`, race of `RACES` (the data set's own words)."""

    age: int
    gender: str
    race: str


@dataclass(frozen=True, slots=True)
class Reference:
    """The faces of one picture.

    Attributes:
        boxes: (M, 5) float64: x1, y1, x2, y2 in pixels and a score in [0, 1].
        kps: (M, 5, 2) float64 key points in pixels, or None.
    """

    boxes: npt.NDArray[np.float64]
    kps: npt.NDArray[np.float64] | None


def fold(name: str) -> int:
    """Returns the fold (0-9) of a file, decided by the SHA-1 of its name alone.

    The compact pack was trained on folds 2 to 9, choices were made on fold 1, and fold 0 is for
    figures.
    """
    return int(hashlib.sha1(name.encode()).hexdigest(), 16) % FOLDS


def canonical_emotion(label: str) -> str:
    """Returns the name in `EMOTIONS` for a class by another name ("happy"), others as they are."""
    return _ALIASES.get(label.strip().lower(), label)


def read_fer2013(source: Source, split: str | None = None) -> DataSet[str]:
    """Reads FER2013: folders by label, with or without split folders, or fer2013.csv.

    Goodfellow et al., "Challenges in representation learning", ICONIP 2013.

    Args:
        source: The folder, zip or CSV file.
        split: The split's name; None for the public test, or for everything where there are none.

    Returns:
        Grey 48 px faces, labelled with `EMOTIONS` ("Contempt" in sets that have it).

    Raises:
        MediaError: If the layout is another, or there is no such split.
    """
    rows = _label_folders(source, _FER2013_NUMBERS)
    if rows:
        return _pick(source, rows, split)
    for name in source.names:
        if name.lower().endswith(".csv") and {"emotion", "pixels"} <= next(source.rows(name), {}).keys():
            return _read_fer2013_table(source, name, split)
    raise _wrong_layout(source, "folders named after expressions (angry, disgust, ...), or fer2013.csv")


def _read_fer2013_table(source: Source, name: str, split: str | None) -> DataSet[str]:
    # Twice through the file: the pixels of all splits together would fill 300 MB.
    chosen = _choose_split(source, {row.get("usage", "").strip() for row in source.rows(name)}, split)
    skipped: Counter[str] = Counter()
    samples = []
    for number, row in enumerate(source.rows(name), start=2):
        if chosen is not None and row.get("usage", "").strip() != chosen:
            continue
        label = _FER2013_NUMBERS.get(row.get("emotion", "").strip())
        if label is None:
            skipped["without a known label"] += 1
            continue
        where = f"line {number} of {base_name(name)}"
        samples.append(Sample(where, label, partial(_from_pixels, row.get("pixels", ""), where)))
    return DataSet(tuple(samples), skipped, chosen)


def _from_pixels(text: str, where: str) -> UInt8Array:
    try:
        values = np.array(text.split(), np.uint8)
    except (ValueError, OverflowError):
        values = np.empty(0, np.uint8)
    side = math.isqrt(len(values))
    if side == 0 or side * side != len(values):
        raise MediaError(f"{where} holds no square picture: get another copy of the file.")
    return np.repeat(values.reshape(side, side, 1), 3, axis=2)


def read_rafdb(source: Source, split: str | None = None) -> DataSet[str]:
    """Reads the aligned faces of RAF-DB's basic expressions.

    Li, Deng and Du, "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression
    Recognition in the Wild", CVPR 2017.

    Args:
        source: The folder or zip: {train,test}/{1..7}/*.jpg, or the pictures with
            {train,test}_labels.csv (columns image, label) or list_patition_label.txt.
        split: "train" or "test"; None for "test".

    Returns:
        100 px faces, labelled with `EMOTIONS`.

    Raises:
        MediaError: If the layout is another, or there is no such split.
    """
    rows = _label_folders(source, _RAFDB_NUMBERS) or _rafdb_lists(source)
    if not rows:
        raise _wrong_layout(source, "{train,test}/{1..7}/*.jpg, train_labels.csv or list_patition_label.txt")
    return _pick(source, rows, split)


def _rafdb_lists(source: Source) -> list[_Row]:
    # The official archive holds the whole photos too, in a folder beside the aligned faces.
    by_name = {base_name(name): name for name in source.pictures if "original" not in name.split("/")}
    lines: list[tuple[str, str, str]] = []
    for name in source.names:
        if base_name(name).lower() in _RAFDB_LISTS:
            for line in source.read(name).decode("utf-8", "replace").splitlines():
                picture, _, number = line.partition(" ")
                lines.append((picture.partition("_")[0], picture, number))
    for name in source.names if not lines else ():
        if base_name(name).lower() in _RAFDB_TABLES:
            prefix = base_name(name).lower().partition("_")[0]
            lines += [(prefix, row.get("image", ""), row.get("label", "")) for row in source.rows(name)]
    rows = []
    for split, picture, number in lines:
        stem, dot, suffix = picture.strip().rpartition(".")
        there = by_name.get(f"{stem}_aligned{dot}{suffix}") or by_name.get(picture.strip())
        rows.append(_Row(split, there, _RAFDB_NUMBERS.get(number.strip())))
    return rows


def read_utkface(source: Source) -> DataSet[Person]:
    """Reads UTKFace, whose labels are in the file names: age_gender_race_date.jpg.

    Zhang, Song and Qi, "Age Progression/Regression by Conditional Adversarial Autoencoder", CVPR 2017.

    Args:
        source: The folder or zip.

    Returns:
        Faces with age, gender and race. Broken names, and second copies of a file in another
        folder, are skipped and counted.

    Raises:
        MediaError: If no file has such a name.
    """
    skipped: Counter[str] = Counter()
    samples: dict[str, Sample[Person]] = {}
    for name in source.pictures:
        labels = _UTKFACE_NAME.match(base_name(name))
        if labels is None:
            skipped["file name is not age_gender_race_date"] += 1
        elif base_name(name) in samples:
            skipped["second copy of a file"] += 1
        else:
            age, gender, race = map(int, labels.groups())
            person = Person(age, GENDERS[gender], RACES[race])
            samples[base_name(name)] = Sample(name, person, partial(source.picture, name))
    if not samples:
        raise _wrong_layout(source, "files named age_gender_race_date.jpg")
    return DataSet(tuple(samples.values()), skipped)


def read_detection(source: Source) -> DataSet[Reference]:
    """Reads pictures with a JSON list of {"name", "boxes": [[x1, y1, x2, y2, score], ...], "kps"}.

    Args:
        source: The folder or zip with the pictures and the list, which is called labels.json or is
            the only JSON file. Boxes without a score count as 1; "kps" may be left out.

    Returns:
        Pictures with reference boxes; what is listed and not there is skipped and counted.

    Raises:
        MediaError: If there is no such list, or an entry is no such object.
    """
    lists = [name for name in source.names if name.lower().endswith(".json")]
    named = [name for name in lists if base_name(name) == "labels.json"] or lists
    if len(named) != 1 or not source.pictures:
        raise _wrong_layout(source, "pictures and a list of their boxes in labels.json")
    try:
        entries = json.loads(source.read(named[0]))
    except ValueError as error:
        raise MediaError(f"{named[0]} is not valid JSON ({error}): correct it.") from error
    if not isinstance(entries, list):
        raise MediaError(f"{named[0]} holds no list of pictures: make it [{{'name': ..., 'boxes': [...]}}, ...].")
    by_name = {base_name(name): name for name in source.pictures} | {name: name for name in source.pictures}
    skipped: Counter[str] = Counter()
    samples = []
    for number, entry in enumerate(entries):
        try:
            name, reference = str(entry["name"]), _reference(entry)
        except (KeyError, TypeError, ValueError) as error:
            raise MediaError(
                f"Entry {number} of {named[0]} is no picture with boxes of four or five numbers: correct it."
            ) from error
        there = by_name.get(name) or by_name.get(base_name(name))
        if there is None:
            skipped["listed but not there"] += 1
        else:
            samples.append(Sample(there, reference, partial(source.picture, there)))
    return DataSet(tuple(samples), skipped)


def _reference(entry: dict[str, Any]) -> Reference:
    boxes: list[list[float]] = [[*box, 1.0] if len(box) == 4 else box for box in entry["boxes"]]
    points = entry.get("kps")
    return Reference(
        np.array(boxes, np.float64).reshape(len(boxes), 5),
        None if points is None else np.array(points, np.float64).reshape(len(boxes), 5, 2),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """A picture's split, name (None where it is not there) and label (None where it is unknown)."""

    split: str | None
    name: str | None
    label: str | None


def _label_folders(source: Source, numbers: dict[str, str]) -> list[_Row]:
    """Returns a row a picture, its label the name of its folder; none at all where no label is known."""
    rows = []
    for name in source.pictures:
        *above, folder, _ = ("", "", *name.split("/"))
        if folder.isdecimal() and folder not in numbers:
            raise _wrong_layout(source, f"no folder {folder}, but {', '.join(numbers)}")
        label = numbers.get(folder) or _ALIASES.get(folder.lower())
        split = above[-1] if _plain(above[-1]) in _SPLITS else None
        rows.append(_Row(split, name, label))
    return rows if any(row.label for row in rows) else []


def _pick(source: Source, rows: Sequence[_Row], wanted: str | None) -> DataSet[str]:
    """Returns the samples of one split."""
    split = _choose_split(source, {row.split or "" for row in rows}, wanted)
    skipped: Counter[str] = Counter()
    samples = []
    for row in rows:
        if split is not None and row.split != split:
            continue
        if row.name is None:
            skipped["listed but not there"] += 1
        elif row.label is None:
            skipped["without a known label"] += 1
        else:
            samples.append(Sample(row.name, row.label, partial(source.picture, row.name)))
    return DataSet(tuple(samples), skipped, split)


def _choose_split(source: Source, names: Iterable[str], wanted: str | None) -> str | None:
    there = {_plain(name): name for name in sorted(names) if name}
    if not there and wanted is None:
        return None
    if not there:
        raise MediaError(f"{source.path} has no splits: ask for it without '{wanted}'.")
    for name in _DEFAULT_SPLITS if wanted is None else (_plain(wanted),):
        if name in there:
            return there[name]
    missing = "public test" if wanted is None else f"split '{wanted}'"
    raise MediaError(f"{source.path} has no {missing}: choose the split {' or '.join(there.values())}.")


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _wrong_layout(source: Source, expected: str) -> MediaError:
    return MediaError(f"{source.path} is not laid out as expected: it should hold {expected}.")
