"""Whatever dies while it writes, nothing whole is replaced by something broken, and what was finished stays.

`PULL_PLUGS` says how many tries each kind of death gets; `make pull-plugs` makes many.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceinsight.batch.folder import ResultFolder
from faceinsight.media.video import read_frames
from tests.evaluation.conftest import COLOURS, png, write_folder
from tests.plugs import Ended, Outlet
from tests.toy_media import toy_frames, write_clip
from tests.toy_models import toy_picture

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked on this system")

TRIES = int(os.environ.get("PULL_PLUGS", "2"))
# From SIGTERM to the end: twice the 3 seconds that are promised, and more where processes wait for their turn.
STOP_S = 6.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
MODEL = np.random.default_rng(0).bytes(1_500_000)
DEATHS = ("kill", "term", "full")


@pytest.fixture(scope="module")
def outlet(tmp_path_factory):
    started = Outlet(tmp_path_factory.mktemp("outlet"))
    yield started
    started.close()


@contextmanager
def small_disk(folder: Path, size: int):
    """Mounts a file system of so many bytes where we may; says whether it could."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


class Kind:
    """A kind of run that writes: its old results, a plug to pull, and what must be true of the folder after it."""

    def __init__(self, outlet: Outlet, out: Path, args: list, home: Path | None = None) -> None:
        self.out, self.run = out, partial(outlet.run, *args, home=home)
        out.mkdir(exist_ok=True)
        self.prepare()
        began = time.monotonic()
        done = self.run()
        self.seconds = time.monotonic() - began
        assert done.status == 0, done.err
        self.whole = {path.name: path.read_bytes() for path in out.iterdir()}
        self.bytes = sum(map(len, self.whole.values()))

    def prepare(self) -> None:
        """Puts what is not written into the folder."""

    def clear(self) -> None:
        """Empties the folder."""
        for path in sorted(self.out.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.prepare()

    def restore(self) -> None:
        """Puts the old results back, and nothing else."""
        self.clear()
        for name, content in self.whole.items():
            (self.out / name).write_bytes(content)

    def check(self, ended: Ended) -> None:
        """Looks at every file that bears a name."""
        assert "Traceback" not in ended.err, ended.err
        for name, old in self.whole.items():
            assert (self.out / name).is_file(), f"{name} is gone"
            content = (self.out / name).read_bytes()
            assert content == old or self.is_whole(name, content), f"{name} is broken"

    def is_whole(self, name: str, content: bytes) -> bool:
        if name.endswith((".jpg", ".png")):
            with Image.open(io.BytesIO(content)) as picture:
                picture.load()
                return content[-12:].endswith((b"\xff\xd9", b"IEND\xaeB`\x82"))
        if name.endswith(".json"):
            return bool(json.loads(content))
        return False


class Batch(Kind):
    """`analyze` with pictures and a clip."""

    FRAMES = 12

    def is_whole(self, name: str, content: bytes) -> bool:
        if name.endswith(".mp4"):
            return len(list(read_frames(self.out / name))) == self.FRAMES
        if name == "faces.csv":
            rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
            all_rows = list(csv.DictReader(io.StringIO(self.whole[name].decode("utf-8-sig"))))
            # A table of photos alone has no column for a clip's times, and only one with errors has one for them.
            return content.endswith(b"\r\n") and all(
                row.pop("error", "") or any(row.items() <= old.items() for old in all_rows) for row in rows
            )
        return super().is_whole(name, content)

    def check(self, ended: Ended) -> None:
        super().check(ended)
        so_far = [json.loads(path.read_text()) for path in self.out.glob("faces-so-far/[0-9]*.json")]
        table = json.loads((self.out / "faces.json").read_text())
        # They go first to last: where the first one has gone, the tables hold all.
        begun = (self.out / "faces-so-far" / "000001.json").exists()
        known = {record["file"] for record in (so_far if begun else table)}
        told = set(re.findall(r"^(\S.*?): \d", ended.out, flags=re.MULTILINE))
        assert told <= known, "a file that was told of as finished is lost"
        if ended.status == 143 and told:
            assert known == told == {record["file"] for record in table}
            assert f"{len(told)} of 4 files are finished" in ended.err


class Measured(Kind):
    """`evaluate` with --json and --plots."""


class Fetched(Kind):
    """`models fetch` over a good, old file that is not the declared one."""

    OLD = b"old and whole" * 1000

    def prepare(self) -> None:
        (self.out / "pack.toml").write_text(self.toml)
        (self.out / "model.onnx").write_bytes(self.OLD)
        (self.out / ".fetched.json").write_text("{}")

    def restore(self) -> None:
        self.clear()

    def is_whole(self, name: str, content: bytes) -> bool:
        if name == ".fetched.json":
            return isinstance(json.loads(content), dict)
        return name == "model.onnx" and content in (self.OLD, MODEL)


@pytest.fixture(scope="module")
def host():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(MODEL)))
            self.end_headers()
            with suppress(OSError):
                for start in range(0, len(MODEL), 50_000):
                    self.wfile.write(MODEL[start : start + 50_000])
                    time.sleep(0.005)

        def log_message(self, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/model.onnx"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module", params=["batch", "evaluate", "fetch"])
def kind(request, outlet, toy_pack, host, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    out = folder / "out"
    if request.param == "batch":
        rng = np.random.default_rng(1)
        files = [folder / f"{n}.png" for n in range(3)]
        for n, path in enumerate(files):
            noise = rng.integers(0, 60, (480, 640, 3), np.uint8)
            Image.fromarray(np.maximum(noise, toy_picture({(n + 1, 2): (255, 240, 200)}))).save(path)
        files.insert(2, write_clip(folder / "clip.mp4", toy_frames(Batch.FRAMES), sound=True))
        return Batch(outlet, out, ["analyze", *files, "--pack", toy_pack, "--out", out, "--overwrite"])
    if request.param == "evaluate":
        pictures = {
            f"test/{name}/{n}.png": png(COLOURS[answer])
            for name, answer in (("angry", "Anger"), ("happy", "Happiness"), ("sad", "Sadness"))
            for n in range(4)
        }
        data = write_folder(folder, pictures)
        options = ["--split", "test", "--json", out / "report.json", "--plots", out]
        return Measured(outlet, out, ["evaluate", "fer2013", data, "--pack", toy_pack, *options])
    Fetched.toml = (
        f'[detector]\nfile = "model.onnx"\nbytes = {len(MODEL)}\n'
        f'sha256 = "{hashlib.sha256(MODEL).hexdigest()}"\nurl = "{host}"\n'
    )
    out = folder / "home" / "mine"
    out.mkdir(parents=True)
    return Fetched(outlet, out, ["models", "fetch", "mine", "--accept-licence"], home=folder / "home")


@pytest.mark.parametrize("death", DEATHS)
def test_nothing_whole_is_replaced_by_something_broken(kind, death, tmp_path):
    chance = random.Random(f"{type(kind).__name__} {death}")
    for _ in range(TRIES):
        if death == "full":
            die_of_a_full_disk(kind, chance)
        else:
            pull(kind, signal.SIGKILL if death == "kill" else signal.SIGTERM, chance)


def pull(kind: Kind, number: int, chance: random.Random) -> None:
    kind.restore()
    moment = chance.uniform(0, kind.seconds)
    size = chance.choice((None, 0, 10_000, 200_000))

    def when(seconds: float) -> bool:
        """At a moment, or some time after it while a file is being written that has so many bytes already."""
        if seconds < moment or size is None:
            return seconds >= moment
        with suppress(OSError):
            return any(part.stat().st_size >= size for part in kind.out.rglob("*.part"))
        return False

    ended = kind.run(number=number, when=when)
    assert ended.status in ((-number, 0) if number == signal.SIGKILL else (143, -number, 0)), ended
    if number == signal.SIGTERM:
        assert ended.seconds < STOP_S
    kind.check(ended)


def die_of_a_full_disk(kind: Kind, chance: random.Random) -> None:
    kind.restore()
    # What is there already, in pages of 4 KiB, and part of what a run needs beside it.
    size = sum(-(-path.stat().st_size // 4096) * 4096 for path in kind.out.iterdir())
    with small_disk(kind.out, size + 4096 + chance.randrange(kind.bytes)) as mounted:
        kind.restore()
        # Where no file system can be mounted, and now and then where one can: no file may grow so large.
        limit = None if mounted and chance.random() < 0.7 else chance.randrange(max(map(len, kind.whole.values())))
        ended = kind.run(largest=limit)
        assert ended.status in (0, 1), ended
        assert ended.status == 0 or re.search("the disk is full|file too large|no space left", ended.err, re.IGNORECASE)
        kind.check(ended)
        assert not list(kind.out.rglob("*.part"))


def test_the_next_run_clears_up(kind):
    kind.restore()
    for name in (".faceinsight-0011223344556677.part", ".faceinsight-8899aabbccddeeff.part"):
        (kind.out / name).write_bytes(b"half")
    assert kind.run().status == 0
    assert not list(kind.out.rglob("*.part"))
    assert {path.name for path in kind.out.iterdir()} == set(kind.whole)


@pytest.fixture
def batch(outlet, toy_pack, tmp_path):
    """Pictures, a clip that takes seconds, and an old result of it; returns a runner of `analyze`."""
    (tmp_path / "out").mkdir()
    files = [tmp_path / f"{n}.png" for n in range(3)]
    for n, path in enumerate(files):
        Image.fromarray(toy_picture({(n + 1, 2): (255, 240, 200)})).save(path)
    files.append(write_clip(tmp_path / "clip.mp4", toy_frames(600)))

    def run(*options: object, **death: object) -> Ended:
        return outlet.run("analyze", *files, "--pack", toy_pack, "--out", tmp_path / "out", *options, **death)

    return run


def in_the_clip(tmp_path: Path, seconds: float) -> bool:
    return len(list(tmp_path.glob("out/faces-so-far/*.json"))) == 3


def test_ctrl_c_keeps_what_was_finished_and_the_old_clip(batch, tmp_path):
    (tmp_path / "out" / "clip-faces.mp4").write_bytes(b"an old clip")
    ended = batch("--overwrite", number=signal.SIGINT, when=partial(in_the_clip, tmp_path))
    assert ended.status == 130
    assert ended.err == f"faceinsight: stopped: 3 of 4 files are finished, their results are in {tmp_path / 'out'}.\n"
    assert [line for line in ended.out.splitlines() if line[0] != " "] == [
        f"{tmp_path / f'{n}.png'}: 1 faces" for n in range(3)
    ]
    assert (tmp_path / "out" / "clip-faces.mp4").read_bytes() == b"an old clip"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "0-faces.jpg",
        "1-faces.jpg",
        "2-faces.jpg",
        "clip-faces.mp4",
        "faces.csv",
        "faces.json",
    }
    assert len(json.loads((tmp_path / "out" / "faces.json").read_text())) == 3
    assert len((tmp_path / "out" / "faces.csv").read_text().splitlines()) == 4


def test_what_a_killed_run_had_finished_is_there_and_the_next_run_makes_its_tables(batch, tmp_path):
    assert batch(when=partial(in_the_clip, tmp_path)).status == -signal.SIGKILL
    kept = [json.loads(path.read_text())["file"] for path in sorted(tmp_path.glob("out/faces-so-far/*.json"))]
    assert kept == [str(tmp_path / f"{n}.png") for n in range(3)]
    ended = batch()
    assert ended.status == 1
    assert "was cut off, and its 3 finished files are now in faces.csv and faces.json" in ended.err
    assert [record["file"] for record in json.loads((tmp_path / "out" / "faces.json").read_text())] == kept
    assert not list(tmp_path.glob("out/.*"))


def test_one_run_at_a_time_writes_into_a_folder(batch, tmp_path):
    with ResultFolder(tmp_path / "out", []):
        ended = batch("--overwrite")
    assert ended.status == 1
    assert ended.err == (
        f"faceinsight: Another run is writing into {tmp_path / 'out'}: wait for it to end, or choose another name.\n"
    )
    assert list((tmp_path / "out").iterdir()) == []
