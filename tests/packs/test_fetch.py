"""Downloads over real HTTP, from a host on this machine that does what hosts do on bad days."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from faceinsight import FaceInsightError, FetchError, PackError
from faceinsight.packs import fetch, home, resolve, store, transfer
from faceinsight.packs.fetch import fetch_pack, missing_files
from faceinsight.packs.transfer import Watcher
from faceinsight.packs.web import Patience
from faceinsight.writing import beside
from tests.conftest import ROOT
from tests.packs.conftest import CONTENT, HASTY, WAYS, WHOLE, declare, names, zipped
from tests.packs.host import FAULTS

# What comes of a fault that does not end: a phrase of the sentence, or "" for the right file. By way where it differs.
OUTCOMES: dict[str, str | tuple[str, str]] = {
    "": "",
    "ignores ranges": "",
    "wrong range": "another part of the file",
    "impossible range": "part of the file it sends",
    "no range said": "which part of the file it sends",
    "more than the range": "another part of the file",
    "cut": "cut short",
    "cut at once": "cut short",
    "no answer": "broken or cut short",
    "stalls": "far too slowly",
    "silent": "does not answer",
    "drips headers": "does not answer",
    "drips": "far too slowly",
    "says less": "cut short",
    "says more": "",
    "endless": "sends|more than|cut short|is something else",
    "boasts": "more than|cut short|bytes instead of|too large",
    "ignores ranges and cuts": "cut short",
    "wrong file": ("is something else than model.onnx", "no zip archive"),
    "shorter file": ("5000 bytes instead of", "no zip archive"),
    "web page": "a web page instead",
    "web page as a file": ("bytes instead of", "no zip archive"),
    "packed": "sends the file packed",
    "404": "is not there",
    "403": "the server answered 403",
    "416": "shorter than it was",
    "429": "the server answered 429",
    "429 for an hour": "try again in 60 min",
    "500": "the server answered 500",
    "503": "the server answered 503",
    "not HTTP": "broken",
    "circle": "in circles",
    "to file": r"not followed \(file:",
    "to ftp": r"not followed \(ftp:",
    "to nowhere": "the connection failed",
    "to elsewhere": "",
    "redirects with a flood": "",
    "other version": ("", "changed while it was downloaded"),
}


def test_every_fault_has_an_outcome():
    assert set(OUTCOMES) == {"", *FAULTS}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", OUTCOMES)
def test_a_fault_that_does_not_end_leaves_the_right_file_or_a_sentence(host, folder, fault, way):
    target = declare(folder, host, way)
    host.always = fault
    outcome = OUTCOMES[fault]
    phrase = outcome if isinstance(outcome, str) else outcome[WAYS.index(way)]
    if phrase:
        with pytest.raises(FetchError, match=phrase) as caught:
            fetch_pack("mine", patience=HASTY)
        assert "\n" not in str(caught.value)
        assert not target.exists()
    else:
        assert fetch_pack("mine", patience=HASTY) == [target]
        assert target.read_bytes() == CONTENT
        assert names(folder) == WHOLE
    # A flood is not read to its end: what the sockets hold has been sent as well.
    assert host.sent < 20_000_000


FINAL = ("404", "403", "429 for an hour", "circle", "to file", "to ftp", "packed", "wrong file", "shorter file")
FINAL += ("web page", "web page as a file", "endless", "boasts", "more than the range")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in FINAL])
def test_after_a_fault_that_passes_the_file_is_right(host, folder, fault, way):
    target = declare(folder, host, way)
    # Whatever is asked for: what the file is, an archive's directory, the content.
    host.plan = [fault, ""] * (2 if way == "file" else 3)
    fetch_pack("mine", patience=HASTY)
    assert target.read_bytes() == CONTENT
    assert names(folder) == WHOLE


TELLING = ("cut", "cut at once", "drips", "says less", "says more", "endless", "wrong file", "ignores ranges and cuts")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", [*TELLING, "other version"])
def test_nothing_unpinned_is_taken_for_whole_that_is_not(host, folder, fault, way):
    """Without a hash, a file of the server's own is all that can be had, but never half of one."""
    target = declare(folder, host, way, pinned=False)
    host.plan = ["", "", fault] if way == "archive" else ["", fault]
    try:
        fetch_pack("mine", patience=HASTY)
    except FetchError:
        assert not target.exists()
    else:
        other = bytes(255 - byte for byte in CONTENT)
        assert target.read_bytes() in (CONTENT, other)


def test_of_an_archive_only_what_is_needed_is_fetched(host, folder, tmp_path):
    """The sizes of buffalo_s: 4 MB, which cannot be packed, of an archive of much more."""
    sizes = {"det_500m.onnx": 2_524_817, "genderage.onnx": 1_322_532}
    models = {name: random.Random(name).randbytes(size) for name, size in sizes.items()}
    filler = bytes(30_000_000)
    packed = zipped(("1k3d68.onnx", filler), *models.items(), ("w600k_mbf.onnx", filler), kind=zipfile.ZIP_STORED)
    host.files["/buffalo_s.zip"] = packed
    tables = [
        f'[{table}]\nfile = "{name}"\nmember = "{name}"\nurl = "{host.url("/buffalo_s.zip")}"\n'
        f'sha256 = "{hashlib.sha256(models[name]).hexdigest()}"\n'
        for table, name in zip(("detector", "attributes"), models, strict=True)
    ]
    (folder / "pack.toml").write_text("\n".join([*tables, 'size = [96, 96]\ncrop = "aligned"']))
    fetch_pack("mine", patience=HASTY)
    assert {name: (folder / name).read_bytes() for name in models} == models
    needed = sum(sizes.values())
    print(f"{host.sent} bytes were sent for files of {needed} bytes, out of an archive of {len(packed)}")
    assert needed < host.sent < needed + 20_000
    assert host.sent <= 5_000_000


def test_progress_is_told_and_only_ours_is_said_of_us(host, folder):
    declare(folder, host)
    seen: list[tuple[str, int, int | None]] = []
    fetch_pack("mine", Watcher(lambda *step: seen.append(step)), patience=HASTY)
    assert seen[-1] == ("model.onnx", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert all(agent.startswith("faceinsight/") for _, _, agent in host.requests)


@pytest.mark.parametrize("way", WAYS)
def test_a_cut_download_goes_on_where_it_stopped_in_the_same_run_and_the_next(host, folder, way):
    declare(folder, host, way)
    host.plan = ["", "", "cut", "", "500", "500", "500"] if way == "archive" else ["", "cut", "500", "500", "500"]
    said: list[str] = []
    if way == "archive":
        fetch_pack("mine", Watcher(say=said.append), patience=HASTY)
    else:
        with pytest.raises(FetchError, match="goes on where it stopped"):
            fetch_pack("mine", Watcher(say=said.append), patience=HASTY)
        fetch_pack("mine", patience=HASTY)
    assert (folder / "model.onnx").read_bytes() == CONTENT
    assert said[0].startswith("The server's answer is broken or cut short: another try in 1 s")
    # Nothing came twice.
    assert host.sent < len(CONTENT) + 20_000
    assert names(folder) == WHOLE


def fetching(*more: str, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "faceinsight", "models", "fetch", "mine", "--accept-licence", *more]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, env=os.environ | environment)


def parts(folder: Path) -> list[Path]:
    return list(folder.glob(".*.part"))


def wait_for(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("way", WAYS)
def test_what_a_killed_process_had_is_gone_on_from(host, folder, way):
    target = declare(folder, host, way)
    host.pause_s, host.piece = 0.1, 5000
    with fetching() as process:
        wait_for(lambda: any(part.stat().st_size > 100_000 for part in parts(folder)))
        process.send_signal(signal.SIGKILL)
    (part,) = parts(folder)
    held = part.stat().st_size
    assert not target.exists()
    wait_for(lambda: host.open == 0)
    host.pause_s, host.sent = 0.0, 0
    fetch_pack("mine", patience=HASTY)
    assert target.read_bytes() == CONTENT
    assert host.sent < len(CONTENT) - held + 20_000
    assert names(folder) == WHOLE


def test_two_processes_fetch_a_pack_once(host, folder):
    target = declare(folder, host)
    host.pause_s, host.piece = 0.5, 5000
    with fetching() as first:
        wait_for(lambda: parts(folder))
        with fetching() as second:
            assert second.stderr.readline() == "Another FaceInsight fetches mine now: it is waited for.\n"
            host.pause_s = 0
            outputs = [process.communicate(timeout=60) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    assert str(target) in outputs[0][0]
    assert "All files are here already." in outputs[1][0]
    assert host.sent == len(CONTENT) + 1  # one byte to hear what it is
    assert target.read_bytes() == CONTENT


def test_a_download_ends_when_it_is_cancelled_whatever_the_host_does(host, folder):
    declare(folder, host)
    for fault in ("silent", "stalls", "drips headers"):
        host.plan = ["", fault] if fault == "stalls" else [fault]
        cancelled = threading.Event()
        threading.Timer(0.2, cancelled.set).start()
        began = time.monotonic()
        with pytest.raises(FetchError, match="was cancelled: what has come stays"):
            fetch_pack("mine", Watcher(cancelled=cancelled), patience=Patience())
        assert time.monotonic() - began < 5
    fetch_pack("mine", patience=HASTY)
    assert host.sent < len(CONTENT) + 20_000


def test_ctrl_c_ends_a_download_and_keeps_what_came(host, folder):
    declare(folder, host)
    host.pause_s, host.piece = 0.05, 5000
    with fetching() as process:
        wait_for(lambda: any(part.stat().st_size > 20_000 for part in parts(folder)))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "faceinsight: stopped.\n"
    assert parts(folder)[0].stat().st_size > 20_000


def test_parts_of_other_versions_go_and_spoilt_ones_do_no_harm(host, folder):
    target = declare(folder, host)
    (folder / ".fetch-0123456789abcdef-model.onnx.part").write_bytes(b"half of another version")
    (folder / ".faceinsight-0123456789abcdef.part").write_bytes(b"half written")
    (folder / "mine.part").write_bytes(b"not ours")
    host.plan = ["", "cut", "403"]
    with pytest.raises(FetchError, match="403"):
        fetch_pack("mine", patience=HASTY)
    (part,) = parts(folder)
    part.write_bytes(bytes(part.stat().st_size))
    with beside(folder / "other.onnx") as living:
        living.write_bytes(b"being written")
        fetch_pack("mine", patience=HASTY)
    assert target.read_bytes() == CONTENT
    assert names(folder) == sorted([*WHOLE, "mine.part", "other.onnx"])


def test_a_host_is_asked_again_only_as_often_and_as_soon_as_it_wants(host, folder):
    declare(folder, host)
    host.always = "500"
    with pytest.raises(FetchError):
        fetch_pack("mine", patience=HASTY)
    assert len(host.requests) == HASTY.tries
    host.requests.clear()
    host.always = "429 for an hour"
    with pytest.raises(FetchError, match="try again in 60 min"):
        fetch_pack("mine", patience=HASTY)
    assert len(host.requests) == 1


def test_a_good_file_is_not_replaced_by_a_bad_one_and_a_bad_one_is_by_a_good_one(host, folder):
    target = declare(folder, host)
    target.write_bytes(b"old")
    host.always = "wrong file"
    with pytest.raises(FetchError, match="is something else than"):
        fetch_pack("mine", patience=HASTY)
    assert target.read_bytes() == b"old"
    host.always = ""
    assert fetch_pack("mine", patience=HASTY) == [target]
    assert resolve("mine").paths["detector"].read_bytes() == CONTENT
    assert fetch_pack("mine", patience=HASTY) == []
    assert missing_files("mine") == {}


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_member_larger_than_it_may_be_is_not_unpacked(host, folder, monkeypatch, size):
    monkeypatch.setattr(transfer, "MAX_BYTES", 2_000_000)
    host.files["/pack.zip"] = zipped(("model.onnx", bytes(50_000_000)))
    target = declare(folder, host, "archive", pinned=False)
    if size:
        with (folder / "pack.toml").open("a") as out:
            out.write(f"\nbytes = {size}")
    with pytest.raises(FetchError, match="has more than the"):
        fetch_pack("mine", patience=HASTY)
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (zipped(("other.onnx", CONTENT)), "holds no file called model.onnx"),
        (zipped(("model.onnx", CONTENT), kind=zipfile.ZIP_LZMA), "in a way that cannot be read"),
        (zipped(("model.onnx", CONTENT))[:-30], "no zip archive"),
        (zipped(("model.onnx", CONTENT)).replace(b"PK\1\2", b"PK\1\3"), "no zip archive"),
        (zipped(("model.onnx", CONTENT)).replace(b"PK\3\4", b"PK\3\5"), "no zip archive"),
        (b"", "no zip archive"),
        (bytes(6_000_000) + b"PK\5\6" + bytes(8) + b"\xff" * 10 + bytes(2), "no zip archive"),
    ],
)
def test_archives_that_are_none_or_hold_no_such_file(host, folder, content, phrase):
    target = declare(folder, host, "archive")
    host.files["/pack.zip"] = content
    with pytest.raises(FetchError, match=phrase):
        fetch_pack("mine", patience=HASTY)
    assert not target.exists()
    assert host.sent < 5_500_000


def test_no_link_leads_a_download_out_of_its_folder(host, folder, tmp_path):
    (tmp_path / "outside").mkdir()
    (folder / "sub").symlink_to(tmp_path / "outside")
    (folder / "link.onnx").symlink_to(tmp_path / "outside" / "new.onnx")
    for name in ("sub/model.onnx", "link.onnx"):
        declare(folder, host, name=name)
        with pytest.raises(FetchError, match="leads out of .* through a link"):
            fetch_pack("mine", patience=HASTY)
    # The name of the pack's folder is the user's own, a link too.
    (home() / "linked").symlink_to(tmp_path / "outside")
    declare(tmp_path / "outside", host)
    fetch_pack("linked", patience=HASTY)
    assert names(tmp_path / "outside") == WHOLE


def test_what_cannot_be_written_is_told_of_and_not_kept(host, folder, monkeypatch):
    declare(folder, host)
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(FaceInsightError, match=r"cannot be written .*\(the disk is full\)"):
        fetch_pack("mine", patience=HASTY)
    assert parts(folder) == []


def test_a_pack_without_addresses_cannot_be_fetched(toy_pack):
    with pytest.raises(PackError, match="has no download address"):
        fetch_pack(str(toy_pack))


def test_nothing_is_downloaded_unasked(monkeypatch):
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a download was started")

    monkeypatch.setattr(fetch, "Web", refuse)
    assert len(resolve("buffalo_l").missing) == 3
    assert len(store.inspect_pack("buffalo_l")) == 3
