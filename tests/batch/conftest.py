"""Fixtures: archives of toy photos, and the command over them in a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from faceinsight.media.image import encode_image
from faceinsight.tables import TablePaths
from tests.conftest import ROOT
from tests.toy_models import toy_picture

LIMIT_S = 240.0
# Of the runs that are killed on the way; `make kill-batches` takes 2,000.
PHOTOS = int(os.environ.get("PHOTOS", "160"))
BAD = PHOTOS // 100 if PHOTOS >= 1000 else 8


def write_photos(folder: Path, count: int, bad: int = 0) -> list[Path]:
    """Writes photos with one to three toy faces each, some of them cut short."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = []
    for faces in (1, 2, 3):
        picture = toy_picture({(3 * n + 1, 1): (255, 240, 200) for n in range(faces)}, size=(640, 96))
        kinds.append(encode_image(picture))
    paths = [folder / f"{number:05}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        # Cut short, and all over the archive.
        broken = bad and number % (count // bad) == count // bad // 2
        content = kinds[number % 3]
        path.write_bytes(content[: len(content) // 2] if broken else content)
    return paths


@dataclass
class Tables:
    """What the four tables of a run hold."""

    faces: list[dict]
    people: list[dict]
    files: list[dict]
    errors: list[dict]

    @classmethod
    def read(cls, path: Path) -> Tables:
        paths = TablePaths.of(path)
        return cls(
            *(pq.read_table(getattr(paths, name)).to_pylist() for name in ("faces", "people", "files", "errors"))
        )


class Command:
    """`faceinsight batch` in a process of its own."""

    def __init__(self, *args: object, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "faceinsight", "batch", *map(str, args)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )

    def wait_until(self, true: Callable[[], bool]) -> bool:
        """Waits for something; says whether it came before the command has ended."""
        until = time.monotonic() + LIMIT_S
        while not true():
            assert time.monotonic() < until, "it never comes"
            if self.process.poll() is not None:
                return False
            time.sleep(0.005)
        return True

    def end(self, number: int | None = None) -> tuple[int, str, str]:
        """Sends a signal, if any, and returns the exit status and what was written."""
        if number is not None:
            self.process.send_signal(number)
        try:
            out, err = self.process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode, out, err

    def kill(self) -> None:
        self.end(signal.SIGKILL)


def check_killed(tables: Tables, photos: list[Path]) -> None:
    """Checks that the tables of killed runs tell of each of the photos once, and of their faces."""
    assert sorted(row["file"] for row in tables.files) == [str(path) for path in photos]
    assert len(tables.errors) == BAD
    assert all("damaged or cut short" in row["error"] for row in tables.errors)
    good = {row["file"] for row in tables.files if row["status"] == "ok"}
    assert len(good) == PHOTOS - BAD
    expected = {str(path): number % 3 + 1 for number, path in enumerate(photos) if str(path) in good}
    assert Counter(row["file"] for row in tables.faces) == expected


def workers_of(pid: int) -> list[int]:
    """Returns the processes that a command has started to analyse."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


@pytest.fixture
def run(toy_pack) -> Callable[..., tuple[int, str, str]]:
    """Runs the command with toy models to its end."""
    return lambda *args, **environment: Command(*args, "--pack", toy_pack, **environment).end()
