"""`faceinsight batch` in real processes: what is analysed, what is kept, and what a second run does."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceinsight import rows_of
from faceinsight.batch.archive import analyze_archive
from faceinsight.batch.job import Finished, Job, Shard
from faceinsight.batch.places import LocalPlace
from faceinsight.batch.pool import ProcessPool
from faceinsight.batch.worker import Worker
from faceinsight.errors import FaceInsightError, MediaError
from faceinsight.tables import KEYPOINTS
from tests.batch.conftest import BAD, PHOTOS, Command, Tables, check_killed, workers_of, write_photos
from tests.toy_media import toy_frames, write_clip


def inline(job: Job, shards: Sequence[Shard]) -> Iterator[Finished]:
    """An engine without processes."""
    worker = Worker(job)
    yield from map(worker.do, shards)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """A folder of photos in two folders, a clip, a broken photo and something else."""
    folder = tmp_path_factory.mktemp("archive")
    write_photos(folder / "one", 3)
    write_photos(folder / "two" / "three", 9, bad=1)
    (folder / "two" / "notes.txt").write_text("no photo")
    (folder / ".hidden.jpg").write_bytes(b"")
    write_clip(folder / "clip.mp4", toy_frames(10))
    return folder


def test_an_archive_becomes_four_tables(run, archive, tmp_path, toy_analyzer):
    out = tmp_path / "results.parquet"
    status, told, err = run(archive, "--out", out, "--jobs", 2)
    assert status == 1  # one of them is broken
    tables = Tables.read(out)
    names = sorted(
        str(path) for path in archive.rglob("*.*") if path.suffix in (".jpg", ".mp4") and path.name[0] != "."
    )
    assert sorted(row["file"] for row in tables.files) == names
    assert f"13 files analysed: {len(tables.faces)} faces." in told
    assert "1 files could not be analysed: see" in told
    assert "Traceback" not in err
    (error,) = tables.errors
    assert error["file"].endswith("three/00004.jpg")
    assert "damaged or cut short" in error["error"]
    assert [row["file"] for row in tables.files if row["status"] == "error"] == [error["file"]]
    counted = {row["file"]: row["faces"] for row in tables.files if row["status"] == "ok"}
    for name, faces in counted.items():
        assert faces == sum(row["file"] == name for row in tables.faces), name
    photo = archive / "one" / "00001.jpg"
    found = [row for row in tables.faces if row["file"] == str(photo)]
    for row, expected in zip(found, rows_of(toy_analyzer.analyze(photo)), strict=True):
        assert {name: row[name] for name in expected} == pytest.approx(expected)
        assert all(row[f"{name}_x"] is not None for name in KEYPOINTS)
        assert (row["pack"], row["pack_hash"]) == ("toy", toy_analyzer.pack_hash)
    clip = str(archive / "clip.mp4")
    times = [row["time"] for row in tables.faces if row["file"] == clip]
    assert times == sorted(times)
    assert len(set(times)) == 10
    assert [row["file"] for row in tables.people] == [clip] * len(tables.people)
    assert tables.people
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "results-errors.parquet",
        "results-files.parquet",
        "results-people.parquet",
        "results.parquet",
    ]
    assert not (tmp_path / "results.parquet.parts").exists()


def test_a_second_run_does_what_is_new_or_changed_and_nothing_else(toy_pack, archive, tmp_path):
    folder = shutil.copytree(archive, tmp_path / "archive")
    out = str(tmp_path / "results.parquet")

    def again(**options):
        *_, last = analyze_archive([str(folder)], out, inline, 1, toy_pack, **options)
        return last.known, last.done.files

    assert again() == (0, 13)
    before = Tables.read(Path(out))
    assert again() == (13, 0)
    assert Tables.read(Path(out)) == before
    (folder / "two" / "three" / "00004.jpg").write_bytes((folder / "one" / "00000.jpg").read_bytes())
    write_photos(folder / "four", 2)
    assert again() == (12, 3)
    after = Tables.read(Path(out))
    assert len(after.files) == len({row["file"] for row in after.files}) == 15
    assert after.errors == []
    (folder / "five.jpg").write_bytes(b"no picture")
    assert again() == (15, 1)
    assert again() == (16, 0)
    assert again(retry=True) == (15, 1)
    assert len(Tables.read(Path(out)).errors) == 1


def test_other_settings_are_refused_and_overwrite_begins_anew(toy_pack, archive, tmp_path):
    out = tmp_path / "results.parquet"

    def again(what: str, pack: Path = toy_pack, **options: Any) -> None:
        list(analyze_archive([str(archive / "one" / what)], str(out), inline, 1, pack, **options))

    again("")
    with pytest.raises(MediaError) as refused:
        again("", det_threshold=0.6)
    assert str(refused.value) == (
        f"{out} was begun with other settings (det_threshold 0.5 instead of 0.6): use the same ones, "
        "choose another name, or begin anew with --overwrite."
    )
    other = shutil.copytree(toy_pack, tmp_path / "toy")
    (other / "pack.toml").write_text((toy_pack / "pack.toml").read_text() + "\n# changed\n")
    with pytest.raises(MediaError, match="other files of the pack"):
        again("", other)
    again("00000.jpg", det_threshold=0.6, overwrite=True)
    assert [row["file"] for row in Tables.read(out).files] == [str(archive / "one" / "00000.jpg")]
    again("00001.jpg", det_threshold=0.6)
    assert len(Tables.read(out).files) == 2


def test_a_new_beginning_that_is_cut_off_is_gone_on_with(toy_pack, archive, tmp_path):
    out = tmp_path / "results.parquet"

    def begin(what: str, **options: Any) -> Generator:
        return analyze_archive([str(archive / "one" / what)], str(out), inline, 4, toy_pack, **options)

    list(begin(""))
    steps = begin("", det_threshold=0.6, overwrite=True)
    assert [next(steps).done.files for _ in range(2)] == [0, 1]
    steps.close()
    assert len(Tables.read(out).files) == 3  # the old ones, until the new ones are whole
    *_, last = begin("00000.jpg", det_threshold=0.6)
    assert (last.known, last.done.files) == (1, 0)
    assert [row["file"] for row in Tables.read(out).files] == [str(archive / "one" / "00000.jpg")]


def test_a_new_beginning_that_dies_while_its_parts_go_has_its_tables(toy_pack, archive, tmp_path, monkeypatch):
    out = tmp_path / "results.parquet"
    remove = LocalPlace.remove

    def dies(place: LocalPlace, name: str) -> None:
        if name.endswith(".parquet"):
            raise KeyboardInterrupt
        remove(place, name)

    photos = [str(archive / "one" / name) for name in ("00000.jpg", "00001.jpg")]
    monkeypatch.setattr(LocalPlace, "remove", dies)
    with pytest.raises(KeyboardInterrupt):
        list(analyze_archive(photos, str(out), inline, 1, toy_pack, overwrite=True))
    monkeypatch.setattr(LocalPlace, "remove", remove)
    *_, last = analyze_archive(photos[:1], str(out), inline, 1, toy_pack)
    assert (last.known, last.done.files) == (1, 0)
    assert len(Tables.read(out).files) == 2


def test_a_worker_that_outlives_its_run_writes_into_no_later_one(toy_pack, archive, tmp_path):
    out = tmp_path / "results.parquet"
    photos = [str(archive / "one" / name) for name in ("00000.jpg", "00001.jpg")]

    def stray(job: Job, shards: Sequence[Shard]) -> Generator:
        """Works as `inline` does, after a part of a run that was killed has come."""
        for part in kept.glob("*.parquet"):
            shutil.copy(part, out.parent / f"{out.name}.parts" / f"0001-{'f' * 8}-00000.parquet")
        yield from inline(job, shards)

    kept = tmp_path / "kept"
    steps = analyze_archive(photos[:1], str(out), inline, 1, toy_pack, det_threshold=0.6)
    assert [next(steps).done.files for _ in range(2)] == [0, 1]
    shutil.copytree(out.parent / f"{out.name}.parts", kept)
    steps.close()
    list(analyze_archive(photos[1:], str(out), stray, 1, toy_pack, overwrite=True))
    assert [row["file"] for row in Tables.read(out).files] == photos[1:]


def test_of_nothing_no_table_is_told(run, tmp_path):
    (tmp_path / "empty").mkdir()
    status, told, err = run(tmp_path / "empty", "--out", tmp_path / "results.parquet")
    assert (status, told) == (1, "")
    assert err == f"faceinsight: The folder {tmp_path / 'empty'} holds no photo or clip: choose another one.\n"
    assert not list(tmp_path.glob("results*"))


def test_what_is_no_table_of_ours_is_not_replaced(toy_pack, archive, tmp_path):
    out = tmp_path / "results.parquet"
    out.write_bytes(b"something else")
    with pytest.raises(MediaError, match="is there already and no table of ours"):
        list(analyze_archive([str(archive)], str(out), inline, 1, toy_pack))
    assert out.read_bytes() == b"something else"
    with pytest.raises(MediaError, match="choose one that ends with .parquet"):
        list(analyze_archive([str(archive)], "results.csv", inline, 1, toy_pack))


def cut_short(content: bytes) -> bytes:
    return content[:-100]


def spoiled_within(content: bytes) -> bytes:
    """Leaves all that says where what is, and spoils what is there."""
    size = int.from_bytes(content[-8:-4], "little") + 8
    return content[:4] + bytes(byte ^ 0x55 for byte in content[4:-size]) + content[-size:]


def other_table(content: bytes) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"something": ["else"]}), out)
    return out.getvalue()


@pytest.fixture
def half_done(toy_pack, archive, tmp_path) -> Callable[..., None]:
    """Runs over three photos, of which a first run has finished one, and goes on."""

    def begin(**options: Any) -> Generator:
        return analyze_archive(
            [str(archive / "one")], str(tmp_path / "r.parquet"), one_each, 1, toy_pack, retry=True, **options
        )

    def one_each(job: Job, shards: Sequence[Shard]) -> Iterator[Finished]:
        singles = [Shard(f"{shard.name}-{n}", (s,)) for shard in shards for n, s in enumerate(shard.sources)]
        yield from inline(job, singles)

    steps = begin()
    next(steps), next(steps)
    steps.close()
    return lambda **options: list(begin(**options))


@pytest.mark.parametrize("spoil", [cut_short, spoiled_within, other_table, lambda content: b""])
def test_a_part_that_is_damaged_is_told_of(half_done, tmp_path, spoil):
    (part,) = tmp_path.glob("r.parquet.parts/*.parquet")
    part.write_bytes(spoil(part.read_bytes()))
    with pytest.raises(MediaError, match=f"{part.name} is damaged .*: remove it and run the same command again"):
        half_done()
    part.unlink()
    half_done()
    assert len(Tables.read(tmp_path / "r.parquet").files) == 3


def test_a_part_that_is_damaged_on_the_way_is_told_of(toy_pack, archive, tmp_path):
    def spoils(job: Job, shards: Sequence[Shard]) -> Generator:
        yield from inline(job, shards)
        part = min((out.parent / f"{out.name}.parts").glob("*.parquet"))
        part.write_bytes(spoiled_within(part.read_bytes()))

    out = tmp_path / "r.parquet"
    with pytest.raises(MediaError, match=r"00000\d.parquet is damaged .*: remove it and run the same command again"):
        list(analyze_archive([str(archive / "one")], str(out), spoils, 1, toy_pack))
    assert not out.exists()


@pytest.mark.parametrize("name", ["r.parquet", "r-files.parquet", "r.parquet.parts/run.json"])
def test_a_table_or_note_that_is_damaged_is_told_of(half_done, archive, tmp_path, name):
    if name != "r.parquet.parts/run.json":
        half_done()
        write_photos(archive / "one", 3)  # they have changed
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MediaError, match=f"{path.name} is (damaged .*|there already and .*) --overwrite"):
        half_done()
    half_done(overwrite=True)
    assert len(Tables.read(tmp_path / "r.parquet").files) == 3


def test_killed_runs_lose_nothing_and_write_nothing_twice(toy_pack, tmp_path):
    photos = write_photos(tmp_path / "photos", PHOTOS, BAD)
    out = tmp_path / "results.parquet"
    parts = tmp_path / "results.parquet.parts"

    def finished() -> set[str]:
        return {path.name for path in parts.glob("*.parquet")}

    for share in (0.2, 0.6):
        command = Command(tmp_path / "photos", "--out", out, "--jobs", 2, "--pack", toy_pack)
        enough = int(share * 8) if PHOTOS < 1000 else int(share * PHOTOS / 32)
        assert command.wait_until(lambda enough=enough: len(finished()) > enough)
        kept = finished()
        command.kill()
        assert not out.exists()
    status, told, _ = Command(tmp_path / "photos", "--out", out, "--jobs", 2, "--pack", toy_pack).end()
    assert status == 1
    assert kept
    known = int(re.search(r"(\d+) were done before", told)[1])
    assert 0 < known < PHOTOS
    check_killed(Tables.read(out), photos)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_says_how_to_go_on(toy_pack, tmp_path, number, status):
    write_photos(tmp_path / "photos", 30)
    write_clip(tmp_path / "photos" / "clip.mp4", toy_frames(900))
    command = Command(tmp_path / "photos", "--out", tmp_path / "r.parquet", "--jobs", 2, "--pack", toy_pack)
    assert command.wait_until(lambda: len(list(tmp_path.glob("r.parquet.parts/*.parquet"))) > 3)
    workers = workers_of(command.process.pid)
    ended, out, err = command.end(number)
    assert (ended, out) == (status, "")
    assert re.fullmatch(
        r"faceinsight: stopped: \d+ of 31 files are finished; the same command goes on from there\.\n", err
    )
    assert workers
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert not (tmp_path / "r.parquet").exists()
    assert list(tmp_path.glob("r.parquet.parts/*.parquet"))


def test_ctrl_c_while_workers_begin_is_one_sentence(toy_pack, tmp_path):
    write_photos(tmp_path / "photos", 4)
    command = Command(tmp_path / "photos", "--out", tmp_path / "r.parquet", "--jobs", 2, "--pack", toy_pack)
    assert command.wait_until(lambda: len(workers_of(command.process.pid)) == 2)
    time.sleep(0.2)  # they import what they need
    # As a terminal does.
    for pid in workers_of(command.process.pid):
        os.kill(pid, signal.SIGINT)
    status, _, err = command.end(signal.SIGINT)
    assert (status, err) == (
        130,
        "faceinsight: stopped: 0 of 4 files are finished; the same command goes on from there.\n",
    )


@pytest.mark.parametrize("overwrite", [False, True])
def test_one_run_at_a_time_writes_a_table(toy_pack, archive, tmp_path, overwrite):
    steps = analyze_archive([str(archive)], str(tmp_path / "r.parquet"), inline, 1, toy_pack, overwrite=overwrite)
    next(steps)
    status, _, err = Command(archive, "--out", tmp_path / "r.parquet", "--pack", toy_pack).end()
    steps.close()
    assert status == 1
    assert re.fullmatch("faceinsight: Another run is writing into .*: wait for it to end, or .*\n", err)


POISON = """
import os, signal
import faceinsight.media.image as image
whole = image.load_image
def load_image(source, *args, **options):
    if str(source).endswith(os.environ["POISON"]):
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(source, *args, **options)
image.load_image = load_image
"""


def test_a_file_that_kills_who_reads_it_has_an_error_and_the_others_rows(toy_pack, tmp_path, monkeypatch):
    photos = write_photos(tmp_path / "photos", 24)
    (tmp_path / "hook").mkdir()
    # Python runs it when it starts: a decoder that crashes, in the workers alone.
    (tmp_path / "hook" / "sitecustomize.py").write_text(
        "import sys\nif '--multiprocessing-fork' in sys.argv:" + POISON.replace("\n", "\n    ")
    )
    status, _, err = Command(
        tmp_path / "photos",
        "--out",
        tmp_path / "r.parquet",
        "--jobs",
        2,
        "--pack",
        toy_pack,
        PYTHONPATH=str(tmp_path / "hook"),
        POISON="00007.jpg",
    ).end()
    assert (status, err) == (1, "")
    tables = Tables.read(tmp_path / "r.parquet")
    assert sorted(row["file"] for row in tables.files) == [str(path) for path in photos]
    (error,) = tables.errors
    assert error["file"] == str(photos[7])
    assert "ended the process that read it, twice" in error["error"]


def test_workers_that_never_begin_are_told_of(toy_pack, archive, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import os, sys\nif '--multiprocessing-fork' in sys.argv: os._exit(3)")
    status, _, err = Command(
        archive, "--out", tmp_path / "r.parquet", "--pack", toy_pack, PYTHONPATH=str(tmp_path)
    ).end()
    assert status == 1
    assert "end before they begin" in err


def test_a_pack_that_changes_on_the_way_is_not_used(toy_pack, archive, tmp_path, monkeypatch):
    from faceinsight.batch import archive as module

    monkeypatch.setattr(module.Settings, "of", classmethod(lambda cls, *_, **__: cls("toy", "other", ("Joy",))))
    with pytest.raises(FaceInsightError, match="has other files on this machine"):
        list(analyze_archive([str(archive)], str(tmp_path / "r.parquet"), ProcessPool(1), 1, toy_pack))
