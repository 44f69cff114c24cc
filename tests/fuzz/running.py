"""Gives broken files and values to every reader, and gathers what ends with neither a result nor a sentence."""

from __future__ import annotations

import asyncio
import base64
import random
import re
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceinsight import ClipOptions, FaceAnalyzer, analyze_clip, load_image
from faceinsight.errors import FaceInsightError
from faceinsight.media.reader import Reader
from faceinsight.media.sound import sound_of
from faceinsight.media.video import VideoLimits, probe, read_frames
from faceinsight.packs import load_spec, resolve
from faceinsight.resources import asset
from faceinsight.ui import Engine
from faceinsight.ui.live import Visitors, decode
from tests.fuzz import seeds
from tests.fuzz.mutate import broken, broken_lines, broken_value

# One that begins with what it is about, says what is wrong and ends as sentences do; nothing of Python's.
_SENTENCE = re.compile(r"[^\n]{10,6000}[.!]")
# Frames beyond these cost a fuzzer's time and show nothing new.
_LIMITS = VideoLimits(decoded=4_000_000, frames=60)


@dataclass(slots=True)
class Outcome:
    """How a run went: how many cases gave a result or a sentence, and what else there was."""

    results: int = 0
    sentences: int = 0
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0
    slowest_case: str = ""

    def attempt(self, case: str, work: Callable[[], object]) -> None:
        """Runs one case."""
        began = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                answer = work()
            if isinstance(answer, str):
                self.sentence(case, answer)
            else:
                self.results += 1
        except FaceInsightError as error:
            self.sentence(case, str(error))
        except Exception:
            self.wrong.append(f"{case}: {traceback.format_exc(limit=-3)}")
        took = time.perf_counter() - began
        if took > self.slowest:
            self.slowest, self.slowest_case = took, case

    def sentence(self, case: str, text: str) -> None:
        """Counts an answer in words."""
        if _SENTENCE.fullmatch(text) and "Something unexpected" not in text:
            self.sentences += 1
        else:
            self.wrong.append(f"{case}: no sentence: {text!r}")


def _cases(files: dict[str, bytes], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    contents = list(files.values())
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        name = rng.choice(list(files))
        yield f"{number} {name}", broken(files[name], contents, rng)


def pictures(count: int, seed: int = 0) -> Outcome:
    """Reads broken pictures."""
    outcome = Outcome()
    for case, data in _cases(seeds.pictures(), count, seed):
        outcome.attempt(case, lambda data=data: load_image(data, "it", largest=1_000_000))
    return outcome


class _Reader(Reader):
    def probe(self, path: Path, name: str) -> Any:
        return probe(path, name, _LIMITS)

    def frames(self, path: Path, start: float, end: float | None, name: str) -> Any:
        return read_frames(path, start, end, name, _LIMITS)

    def sound(self, path: Path, start: float) -> Any:
        return sound_of(path, start)


def clips(count: int, analyzer: FaceAnalyzer, folder: Path, seed: int = 0) -> Outcome:
    """Reads, analyses and writes broken clips."""
    outcome = Outcome()
    # What is in the pictures is not the point.
    nobody = ClipOptions(det_threshold=1.0)
    path, out = folder / "it.mp4", folder / "out.mp4"
    for case, data in _cases(seeds.clips(), count, seed):
        path.write_bytes(data)
        outcome.attempt(case, lambda: analyze_clip(analyzer, path, out, nobody, reader=_Reader()))
    return outcome


def packs(count: int, folder: Path, seed: int = 0) -> Outcome:
    """Reads broken declarations of packs."""
    texts = {path.name: path.read_text() for path in asset("models").glob("*/pack.toml")}
    texts |= {
        path.name: path.read_text() for path in Path(load_spec.__code__.co_filename).parent.glob("catalog/*.toml")
    }
    contents = [text.encode() for text in texts.values()]
    outcome = Outcome()
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        name = rng.choice(list(texts))
        data = broken_lines(texts[name], rng).encode() if number % 4 else broken(texts[name].encode(), contents, rng)
        (folder / "pack.toml").write_bytes(data)
        outcome.attempt(f"{number} {name}", lambda: resolve(folder))
    return outcome


def frames(count: int, engine: Engine, seed: int = 0) -> Outcome:
    """Sends broken frames, and frames with broken values beside them."""
    whole = seeds.frames()
    visitors = Visitors(engine)
    outcome = Outcome()
    with asyncio.Runner() as runner:
        for number in range(count):
            rng = random.Random(f"{seed} {number}")
            picture = rng.choice(whole)
            if number % 2:
                picture = broken(picture, whole, rng)
            data: Any = {
                "picture": base64.b64encode(picture).decode(),
                "time": number / 30,
                "settings": ["", 0.5, 0, ["Number", "Age"], False, 50],
                "record": rng.choice((0, 1)),
            }
            if not number % 2:
                data = broken_value(data, rng)
            outcome.attempt(f"{number} decode", lambda picture=picture: decode(base64.b64encode(picture).decode()))

            def send(data: Any = data) -> object:
                answer = runner.run(visitors.frame("ann", data))
                return answer.get("problem", answer)

            outcome.attempt(f"{number} {'picture' if number % 2 else data}"[:300], send)
    return outcome
