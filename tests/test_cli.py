"""The command line, run as a user runs it: a process of its own."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from datetime import UTC, datetime

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import faceinsight
from faceinsight.cli import main
from faceinsight.errors import FaceInsightError
from faceinsight.media.video import probe
from tests.conftest import ROOT
from tests.material import PHOTOS, SHARED, both
from tests.toy_media import toy_frames, write_clip
from tests.toy_models import toy_picture


def run(*args: object, code: int = 0) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, "-m", "faceinsight", *map(str, args)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONWARNINGS": "error"},
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def photo(tmp_path, two_faces):
    path = tmp_path / "photo.png"
    Image.fromarray(two_faces).save(path)
    return path


def test_json(photo, toy_pack):
    (record,) = json.loads(run("analyze", photo, "--json", "--pack", toy_pack).stdout)
    assert record["file"] == str(photo)
    assert record["stages"] == ["detector", "attributes", "emotion"]
    assert [face["gender"] for face in record["faces"]] == ["female", "male"]
    assert all(face["emotion"] for face in record["faces"])


def test_csv_of_photos_and_clips(photo, toy_pack, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", toy_frames(4))
    out = run("analyze", photo, clip, "--csv", "--pack", toy_pack).stdout
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["file"] for row in rows] == [str(photo)] * 2 + [str(clip)] * 4
    assert [row["time"] for row in rows] == ["", "", "0.0", "0.1", "0.2", "0.3"]


def test_smoothing_of_clips(toy_pack, tmp_path):
    # A room behind the face: in the dark, a face that jumps so far would pass for a cut.
    room = np.kron(np.random.default_rng(0).integers(0, 90, (12, 16, 1)), np.ones((40, 40, 3))).astype(np.uint8)
    clip = write_clip(tmp_path / "clip.mp4", [np.maximum(frame, room) for frame in toy_frames(4)], fps=5)

    def left_sides(percent):
        out = run("analyze", clip, "--csv", "--pack", toy_pack, "--smoothing", percent).stdout
        rows = list(csv.DictReader(io.StringIO(out)))
        assert {row["track_id"] for row in rows} == {"1"}
        return [float(row["x1"]) for row in rows]

    raw, steady = left_sides(0), left_sides(100)
    np.testing.assert_allclose(np.diff(raw), 32, atol=1)
    assert 0.5 < raw[-1] - steady[-1] < 16
    for option, value, sentence in (
        ("--smoothing", 101, "101 is not a number from 0 to 100"),
        ("--smoothing", "much", "much is not a number from 0 to 100"),
        ("--threshold", 0, "0 is not a number from 0.05 to 1"),
        ("--threshold", 5, "5 is not a number from 0.05 to 1"),
        ("--threshold", "nan", "nan is not a number from 0.05 to 1"),
        ("--rate", -1, "-1 is not a number from 0 to 1000"),
        ("--rate", "inf", "inf is not a number from 0 to 1000"),
        ("--min-face", -4, "-4 is not a number from 0 to 10000"),
    ):
        assert sentence in run("analyze", clip, option, value, code=2).stderr


def test_text_says_each_face(photo, toy_pack):
    lines = run("analyze", photo, "--pack", toy_pack).stdout.splitlines()
    assert lines[0] == f"{photo}: 2 faces"
    assert lines[1].startswith("  #1 · 9")
    assert "female" in lines[1]


def test_out_writes_annotated_files_beside_the_tables(photo, toy_pack, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", toy_frames(4))
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(toy_picture({})).save(other / "photo.png")
    out = tmp_path / "new" / "out"
    run("analyze", photo, other / "photo.png", clip, "--pack", toy_pack, "--out", out)
    assert sorted(path.name for path in out.iterdir()) == [
        "clip-faces.mp4",
        "faces.csv",
        "faces.json",
        "photo-2-faces.jpg",
        "photo-faces.jpg",
    ]
    assert probe(out / "clip-faces.mp4").frames == 4
    drawn = np.asarray(Image.open(out / "photo-faces.jpg"))
    assert drawn[80, 96].max() > 150
    assert len(json.loads((out / "faces.json").read_text())) == 3
    assert len((out / "faces.csv").read_text("utf-8-sig").splitlines()) == 1 + 2 + 1 + 4


def test_one_bad_file_does_not_lose_the_others(photo, toy_pack, tmp_path):
    (tmp_path / "notes.jpg").write_text("not a picture")
    done = run("analyze", tmp_path / "notes.jpg", photo, "--pack", toy_pack, "--json", code=1)
    bad, good = json.loads(done.stdout)
    assert (bad["file"], f"faceinsight: {bad['error']}\n") == (str(tmp_path / "notes.jpg"), done.stderr)
    assert len(good["faces"]) == 2
    assert done.stderr.startswith(f"faceinsight: {tmp_path / 'notes.jpg'} is not an image that can be read")
    assert len(done.stderr.splitlines()) == 1


def test_json_says_how_its_answers_came_about(photo, toy_pack):
    began = datetime.now(UTC).replace(microsecond=0)
    options = ("--threshold", "0.4", "--min-face", "20")
    (record,) = json.loads(run("analyze", photo, "--json", "--pack", toy_pack, *options).stdout)
    head = {"version": faceinsight.__version__, "pack": "toy", "det_threshold": 0.4, "min_face": 20}
    assert record | head == record
    assert began <= datetime.fromisoformat(record["date"]) <= datetime.now(UTC)


def test_a_folder_is_looked_through_and_tables_are_named_by_their_ending(photo, toy_pack, tmp_path):
    folder = tmp_path / "photos"
    for name in ("b/deep.PNG", "a.png", ".hidden.png", ".trash/old.png", "results/old-faces.png", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(photo.read_bytes())
    Image.fromarray(toy_picture({})).save(folder / "none.png")
    (folder / "broken.png").write_bytes(photo.read_bytes()[:200])
    (tmp_path / "empty").mkdir()
    tables = [tmp_path / "new" / f"faces{ending}" for ending in (".csv", ".json", ".jsonl", ".parquet")]
    options = [option for table in tables for option in ("--table", table)]
    paths = (folder, folder / "a.png", tmp_path / "empty")
    run_it = ("analyze", *paths, "--pack", toy_pack, *options, "--out", folder / "results")
    done = run(*run_it, code=1)
    assert f"The folder {tmp_path / 'empty'} holds no photo or clip: choose another one." in done.stderr
    assert "broken.png is damaged" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    files = [str(folder / name) for name in ("a.png", "broken.png", "none.png", "b/deep.PNG")]
    records = json.loads(tables[1].read_bytes())
    assert records == [json.loads(line) for line in tables[2].read_text().splitlines()]
    assert records == json.loads((folder / "results" / "faces.json").read_bytes())
    assert [record["file"] for record in records] == files
    assert [len(record.get("faces", "error")) for record in records] == [2, 5, 0, 2]
    rows = list(csv.DictReader(io.StringIO(tables[0].read_text("utf-8-sig"))))
    assert [row["file"] for row in rows] == [files[0]] * 2 + files[1:3] + [files[3]] * 2
    assert [row["face"] for row in rows] == ["1", "2", "", "", "1", "2"]
    assert [bool(row["error"]) for row in rows] == [False, False, True, False, False, False]
    assert pq.read_table(tables[3])["file"].to_pylist() == [files[0]] * 2 + [files[3]] * 2
    assert pq.read_table(tables[3].with_stem("faces-errors"))["file"].to_pylist() == [files[1]]
    assert pq.read_table(tables[3].with_stem("faces-files"))["faces"].to_pylist() == [2, None, 0, 2]
    sizes = [os.path.getsize(name) for name in files]
    assert pq.read_table(tables[3].with_stem("faces-files"))["bytes"].to_pylist() == sizes
    assert len(list(tables[0].parent.iterdir())) == 3 + 4


def test_a_table_is_not_replaced_unasked_and_has_to_be_one(photo, toy_pack, tmp_path):
    table = tmp_path / "faces.csv"
    run("analyze", photo, "--pack", toy_pack, "--table", table)
    before = table.read_bytes()
    again = ("analyze", photo, "--pack", toy_pack, "--table", table, "--threshold", "0.99")
    assert f"{table} is there already" in run(*again, code=1).stderr
    assert table.read_bytes() == before
    run(*again, "--overwrite")
    assert table.read_bytes() != before
    done = run("analyze", photo, "--pack", toy_pack, "--table", tmp_path / "faces.xlsx", code=1)
    assert "is no name for a table" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.csv", "home", "photo.png"]


def test_without_models_it_says_how_to_get_them(photo, monkeypatch, tmp_path):
    done = run("analyze", photo, "--pack", "buffalo_s", code=1)
    assert "det_500m.onnx (2.5 MB) is not here" in done.stderr
    assert "`faceinsight models fetch buffalo_s`" in done.stderr


def test_debug_shows_the_traceback(photo):
    done = subprocess.run(
        [sys.executable, "-m", "faceinsight", "analyze", photo, "--pack", "nope", "--debug"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "analyze photo.png --pack nope",
        "batch nope --out r.parquet",
        "report nope.parquet",
        "evaluate fgnet nope --pack nope",
        "models path nope",
        "models verify nope",
    ],
)
def test_every_command_heeds_debug_wherever_it_stands(command, monkeypatch, capsys):
    monkeypatch.delenv("FACEINSIGHT_DEBUG", raising=False)
    first, *others = command.split()
    assert main([first, *others]) == 1
    assert capsys.readouterr().err.startswith("faceinsight: ")
    for argv in ([first, *others, "--debug"], [first, "--debug", *others]):
        with pytest.raises(FaceInsightError):
            main(argv)
    monkeypatch.setenv("FACEINSIGHT_DEBUG", "1")
    with pytest.raises(FaceInsightError):
        main([first, *others])
    assert main([first, *others, "--no-debug"]) == 1


def test_a_second_run_into_a_folder_is_refused_or_replaces_the_first(photo, toy_pack, tmp_path):
    out = tmp_path / "out"
    other = tmp_path / "other.png"
    Image.fromarray(toy_picture({(5, 5): (255, 240, 200)})).save(other)
    run("analyze", photo, "--pack", toy_pack, "--out", out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    done = run("analyze", other, "--pack", toy_pack, "--out", out, code=1)
    assert done.stderr == (
        f"faceinsight: {out} holds the results of an earlier run: "
        "choose another name, or replace what is there with --overwrite.\n"
    )
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    run("analyze", other, "--pack", toy_pack, "--out", out, "--overwrite")
    assert sorted(path.name for path in out.iterdir()) == ["faces.csv", "faces.json", "other-faces.jpg"]
    assert [record["file"] for record in json.loads((out / "faces.json").read_text())] == [str(other)]


def test_no_file_to_analyse_and_no_picture_of_others_is_replaced(photo, toy_pack, tmp_path):
    (tmp_path / "photo-faces.jpg").write_text("somebody's own")
    done = run("analyze", photo, "--pack", toy_pack, "--out", tmp_path, code=1)
    assert f"{tmp_path / 'photo-faces.jpg'} is there already" in done.stderr
    both = ("analyze", photo, tmp_path / "photo-faces.jpg", "--pack", toy_pack, "--out", tmp_path, "--overwrite")
    assert "would replace a file to analyse" in run(*both, code=1).stderr
    assert (tmp_path / "photo-faces.jpg").read_text() == "somebody's own"


def test_an_earlier_copy_that_is_analysed_now_is_not_cleared_away(photo, toy_pack, tmp_path):
    out = tmp_path / "out"
    run("analyze", photo, "--pack", toy_pack, "--out", out)
    run("analyze", out / "photo-faces.jpg", "--pack", toy_pack, "--out", out, "--overwrite")
    assert sorted(path.name for path in out.iterdir()) == [
        "faces.csv",
        "faces.json",
        "photo-faces-faces.jpg",
        "photo-faces.jpg",
    ]


def test_the_version_and_help_without_a_command():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert faceinsight.__version__ == version
    assert run("--version").stdout == f"faceinsight {version}\n"
    assert run().stdout.startswith("usage: faceinsight")
    assert "130 after Ctrl+C" in run("--help").stdout


def test_models_lists_the_packs():
    out = run("models").stdout
    for text in ("compact", "buffalo_s", "buffalo_l", "det_10g.onnx", "Apache-2.0", "not here"):
        assert text in out


def test_fetch_of_an_unknown_pack_is_one_sentence():
    assert "no model pack called 'x'" in run("models", "fetch", "x", code=1).stderr


@pytest.mark.parametrize("command", [[], ["analyze"], ["evaluate"], ["app"], ["models", "fetch"]])
def test_help(command):
    assert "usage: faceinsight" in run(*command, "--help").stdout


def test_output_into_a_closed_pipe_is_no_error(photo, toy_pack):
    command = f"{sys.executable} -m faceinsight analyze {photo} --json --pack {toy_pack} | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, check=False)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize(("where", "count"), both([("own", 8)], [("shared", 25)]))
def test_real_photos(request, where, count):
    photos, pack = list(PHOTOS.values()), "compact"
    if where == "shared":
        photos = sorted((SHARED / "photos").glob("*.jpg"))
        pack = request.getfixturevalue("real_pack")()
    records = json.loads(run("analyze", *photos, "--json", "--threshold", "0.6", "--pack", pack).stdout)
    assert len(records) == len(photos)
    faces = [face for record in records for face in record["faces"]]
    assert len(faces) >= count
    assert all(face["age"] is not None and face["gender"] for face in faces)


@pytest.mark.skipif(os.name == "nt", reason="no such names on Windows")
def test_names_give_a_terminal_no_orders(toy_pack, photo, tmp_path):
    names = ["one\ntwo.png", "red\x1b[31m.png", "gone\x1b]0;title\x07.png"]
    for name in names[:2]:
        shutil.copy(photo, tmp_path / name)
    done = run("analyze", *(tmp_path / name for name in names), "--pack", toy_pack, code=1)
    assert f"{tmp_path}/one\\ntwo.png: 2 faces" in done.stdout
    assert f"{tmp_path}/red\\x1b[31m.png: 2 faces" in done.stdout
    assert done.stderr.startswith(f"faceinsight: {tmp_path}/gone\\x1b]0;title\\x07.png cannot be read")
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_of_which_a_library_makes_an_error_of_a_file_is_one(
    photo, toy_pack, monkeypatch, capsys, number, status
):
    def broken(*_: object) -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise FaceInsightError("It is not a video.") from None

    monkeypatch.setattr("faceinsight.batch.run.analyze_file", broken)
    assert main(["analyze", str(photo), "--pack", str(toy_pack)]) == status
    assert capsys.readouterr().err == "faceinsight: stopped: 0 of 1 files are finished.\n"
