"""FER+: the votes of ten people on each picture of FER2013."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from faceinsight.errors import MediaError
from faceinsight.evaluation.datasets import DataSet, Sample, read_fer2013
from faceinsight.evaluation.source import Source, base_name

VOTED = ("Anger", "Contempt", "Disgust", "Fear", "Happiness", "Neutral", "Sadness", "Surprise")
_COLUMNS = tuple(name.lower() for name in VOTED)
# In the table that Microsoft publishes, and in tables by file name.
_OTHERS = (("unknown", "nf"), ("unknown", "no_face"))
_NAMES = ("file", "image name")


@dataclass(frozen=True, slots=True)
class Votes:
    """What people say of one picture.

    Attributes:
        majority: The emotion of `VOTED` with more than half of the votes.
        shares: (8,) the votes for `VOTED`, summing to 1.
    """

    majority: str
    shares: tuple[float, ...]


def count_votes(emotions: Sequence[int], others: Sequence[int]) -> Votes | None:
    """Returns what votes say, or None where no emotion has more than half of them.

    Votes that stand alone are noise and do not count (Barsoum et al., "Training deep networks for facial expression
    recognition with crowd-sourced label distribution", ICMI 2016).

    Args:
        emotions: Votes for `VOTED`.
        others: Votes for anything else: an unknown expression, no face.
    """
    kept = [count if count > 1 else 0 for count in emotions]
    everything = sum(kept) + sum(count for count in others if count > 1)
    most = max(kept)
    if 2 * most <= everything:
        return None
    return Votes(VOTED[kept.index(most)], tuple(count / sum(kept) for count in kept))


def read_ferplus(source: Source, votes: str | Path, split: str | None = None) -> DataSet[Votes]:
    """Reads FER2013 with the votes of FER+.

    Args:
        source: FER2013 as `read_fer2013` takes it.
        votes: A CSV file with a column for each of `VOTED`, unknown and no_face (or NF): by file name (column file),
            or FER+'s own fer2013new.csv (column Image name, a row for each row of fer2013.csv).
        split: As `read_fer2013` takes it.

    Returns:
        The pictures on which a majority agrees. The others are skipped and counted.

    Raises:
        MediaError: If a layout is another, there is no such split, or no picture has votes.
    """
    data = read_fer2013(source, split)
    with Source(votes) as table:
        rows = list(table.rows(table.names[0])) if len(table.names) == 1 else []
        other = next((names for names in _OTHERS if rows and {*_COLUMNS, *names} <= rows[0].keys()), None)
        if other is None:
            raise MediaError(f"{table.path} is no table of votes: it should have the columns {', '.join(_COLUMNS)}.")
        numbers = [_numbers(row, (*_COLUMNS, *other), table.path, line) for line, row in enumerate(rows, start=2)]
    by_name = {name: line for line, row in enumerate(rows) for name in _keys(row)}
    skipped = Counter(data.skipped)
    samples = []
    for sample in data.samples:
        line = by_name.get(sample.name, by_name.get(base_name(sample.name), _line(sample.name)))
        if line is None or line >= len(numbers):
            skipped["without votes"] += 1
        elif (counted := count_votes(numbers[line][:8], numbers[line][8:])) is None:
            skipped["no majority of its votes"] += 1
        else:
            samples.append(Sample(sample.name, counted, sample.load))
    if not samples:
        raise MediaError(f"{votes} has no majority for any picture of {source.path}: give its votes.")
    return DataSet(tuple(samples), skipped, data.split)


def _numbers(row: Mapping[str, str], columns: Sequence[str], path: Path, line: int) -> list[int]:
    cells = [row.get(column, "").strip() for column in columns]
    if not all(cell.isascii() and cell.isdigit() and len(cell) < 7 for cell in cells):
        raise MediaError(f"Line {line} of {path} is not all numbers of votes: get another copy of the file.")
    return [int(cell) for cell in cells]


def _keys(row: Mapping[str, str]) -> list[str]:
    names = [row[column].strip() for column in _NAMES if row.get(column, "").strip()]
    return [*names, *map(base_name, names)]


def _line(name: str) -> int | None:
    """Returns the index of the votes of a picture that is a line of fer2013.csv."""
    found = re.fullmatch(r"line (\d+) of .*", name)
    return None if found is None else int(found.group(1)) - 2
