"""The same work on a Ray cluster of this machine, with processes that are killed."""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from faceinsight.batch.job import shards_of
from faceinsight.batch.sources import find_sources
from tests.batch.conftest import BAD, LIMIT_S, PHOTOS, Command, Tables, check_killed, write_photos

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc"),
]


def descendants(pid: int) -> dict[int, str]:
    """Returns the processes that a process and its own have started, with their command lines."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, level = {}, {pid}
    while level := {child for child, parent in parents.items() if parent in level}:
        for child in level:
            try:
                found[child] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_worker(line: str) -> bool:
    return line.startswith("ray::") and "Map" in line


def come_to_an_end(pids: Iterable[int]) -> bool:
    until = time.monotonic() + LIMIT_S
    while alive := any(map(is_alive, pids)):
        if time.monotonic() > until:
            break
        time.sleep(0.1)
    return not alive


@pytest.fixture(scope="session")
def last_of_ray() -> Iterator[Callable[[Iterable[int]], object]]:
    """Takes processes that have to end by themselves, and waits for them when all other tests are through.

    What watches over Ray's own processes tells the dead server so for a minute before it goes.
    """
    with ThreadPoolExecutor() as pool:
        waiting = []
        yield lambda pids: waiting.append(pool.submit(come_to_an_end, pids))
        assert all(each.result() for each in waiting), "Ray is left behind"


def test_a_killed_run_and_a_killed_worker_cost_nothing(toy_pack, tmp_path, last_of_ray):
    photos = write_photos(tmp_path / "photos", PHOTOS, BAD)
    shards = len(list(shards_of(find_sources([str(tmp_path / "photos")], lambda error: None), "", 2)))
    args = (tmp_path / "photos", "--out", tmp_path / "r.parquet", "--jobs", 2, "--engine", "ray", "--pack", toy_pack)

    def parts() -> int:
        return len(list(tmp_path.glob("r.parquet.parts/*.parquet")))

    def begun() -> bool:
        return any(tmp_path.glob("r.parquet.parts/0002*.begun"))

    command = Command(*args)
    assert command.wait_until(lambda: parts() > 1)
    processes = descendants(command.process.pid)
    assert any("raylet" in line for line in processes.values())
    workers = [pid for pid, line in processes.items() if is_worker(line)]
    assert workers
    command.kill()
    last_of_ray(processes)
    assert come_to_an_end(workers)
    kept = parts()
    assert 1 < kept < shards

    command = Command(*args)
    # Before its first shard is finished, and of many photos another one half way.
    for share in (0.0, 0.5) if PHOTOS >= 1000 else (0.0,):
        enough = kept + share * (shards - kept)
        assert command.wait_until(lambda enough=enough: begun() and parts() >= enough)
        actors = [pid for pid, line in descendants(command.process.pid).items() if is_worker(line)]
        assert actors
        os.kill(actors[0], signal.SIGKILL)
    status, told, err = command.end()
    assert status == 1, (told, err)
    assert "Traceback" not in err
    assert "were done before" in told
    check_killed(Tables.read(tmp_path / "r.parquet"), photos)


def test_a_cluster_that_is_not_there_is_told_of(toy_pack, tmp_path):
    write_photos(tmp_path / "photos", 1)
    status, _, err = Command(
        tmp_path / "photos", "--out", tmp_path / "r.parquet", "--ray-address", "127.0.0.1:9", "--pack", toy_pack
    ).end()
    assert status == 1
    assert err.startswith("faceinsight: Ray cannot be reached at 127.0.0.1:9")
