from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from faceinsight.errors import DiskFullError, MediaError
from faceinsight.writing import beside, clear_leftovers, write_error, write_file
from tests.conftest import ROOT


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_a_file_bears_its_name_once_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with beside(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
        assert part.parent == tmp_path
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def pieces():
        yield b"new"
        raise error

    with pytest.raises((error, RuntimeError)):
        write_file(path, pieces())
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_has_the_permissions_of_any_other(tmp_path):
    path = tmp_path / "a.txt"
    write_file(path, b"1")
    other = tmp_path / "other"
    other.write_text("")
    assert path.stat().st_mode == other.stat().st_mode
    path.chmod(0o640)
    write_file(path, [b"2", b"3"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.read_bytes() == b"23"


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_file(tmp_path / "link.txt", b"new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="there is no /dev/null")
def test_a_device_stays_a_device():
    write_file(Path("/dev/null"), b"gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    code = "import pathlib, faceinsight.writing as w; w.write_file(pathlib.Path('/dev/stdout'), b'hi')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"hi"


def test_what_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(MediaError, match="nowhere/a.txt cannot be written .no such file or directory.: check"):
        write_file(tmp_path / "nowhere" / "a.txt", b"1")
    (tmp_path / "folder").mkdir()
    with pytest.raises(MediaError, match="cannot be written"):
        write_file(tmp_path / "folder", b"1")
    assert names(tmp_path) == []
    full = write_error(OSError(28, "No space left on device"), "a.txt")
    assert isinstance(full, DiskFullError)
    assert str(full) == "a.txt cannot be written (the disk is full): free some space and try again."


def test_leftovers_go_once_their_writer_is_dead(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from faceinsight.writing import beside\n"
        "with beside(Path(sys.argv[1])):\n    print('writing', flush=True); input()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "a.txt"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with writer:
        assert writer.stdout.readline() == b"writing\n"
        (tmp_path / "mine.part").write_text("")
        clear_leftovers(tmp_path)
        assert len(names(tmp_path)) == 2
        writer.kill()
        writer.wait()
    assert len(names(tmp_path)) == 2
    clear_leftovers(tmp_path)
    assert names(tmp_path) == ["mine.part"]
