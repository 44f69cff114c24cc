"""`faceinsight models`: what it lists, asks, checks and removes."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path

import pytest

from faceinsight.cli import main
from faceinsight.packs import home, store
from faceinsight.packs.locate import bundled_models

CONTENT = b"a model" * 1000


@pytest.fixture
def source(tmp_path, monkeypatch) -> Path:
    """A folder with the file of pack "mine", which is declared and not here."""
    monkeypatch.setenv("FACEINSIGHT_HOME", str(tmp_path / "fi"))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    folder = home() / "mine"
    folder.mkdir(parents=True)
    (folder / "pack.toml").write_text(
        'title = "Mine"\n[detector]\nfile = "model.onnx"\nurl = "http://models.invalid/model.onnx"\n'
        f'licence = "for tests only"\nsha256 = "{hashlib.sha256(CONTENT).hexdigest()}"\n'
    )
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / "model.onnx").write_bytes(CONTENT)
    return tmp_path / "stick"


@pytest.fixture
def models(capsys):
    """Runs the command; returns its status, and all that it says."""

    def run(*args: object) -> tuple[int, str]:
        status = main(["models", *map(str, args)])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def model() -> Path:
    return home() / "mine" / "model.onnx"


def test_without_a_verb_packs_are_listed_with_how_to_get_them(models, source):
    assert models() == models("list")
    status, said = models()
    assert status == 0
    assert "mine: Mine" in said
    assert "not here  [for tests only]" in said
    assert "To get it: faceinsight models fetch mine" in said


def test_a_licence_is_shown_and_accepted_first(models, source, monkeypatch):
    status, said = models("fetch", "mine", "--from", source)
    assert status == 1
    assert said.startswith("Licence: for tests only\n")
    assert "not accepted, so nothing was downloaded: accept them with --accept-licence." in said
    assert not model().exists()
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    for answer in ("n", "", "maybe"):
        monkeypatch.setattr(sys.stdin, "readline", lambda answer=answer: f"{answer}\n")
        status, said = models("fetch", "mine", "--from", source)
        assert status == 1
        assert "Do you accept this for the files of mine? [y/N]" in said
        assert not model().exists()
    monkeypatch.setattr(sys.stdin, "readline", lambda: "y\n")
    assert models("fetch", "mine", "--from", source)[0] == 0
    assert model().read_bytes() == CONTENT
    # What is here needs no licence.
    monkeypatch.setattr(sys.stdin, "readline", lambda: "n\n")
    assert models("fetch", "mine") == (0, "All files are here already.\n")


def test_verify_hashes_all_and_says_what_to_do(models, source):
    assert models("verify", "compact")[0] == 0
    assert models("verify")[0] == 0  # what was never fetched is no fault
    assert models("verify", "mine") == (
        1,
        "mine: model.onnx is missing: run `faceinsight models fetch mine`.\n",
    )
    models("fetch", "mine", "--from", source, "--accept-licence")
    assert models("verify", "mine") == (0, f"mine: {model()} is right.\n")
    model().write_bytes(b"spoilt")
    for args in (("verify",), ("verify", "mine")):
        status, said = models(*args)
        assert status == 1
        assert f"{model()} is wrong (sha256 " in said
        assert "run `faceinsight models fetch mine`" in said
    other = Path.home() / ".insightface" / "models" / "mine"
    other.mkdir(parents=True)
    (other / "model.onnx").write_bytes(CONTENT)
    status, said = models("verify", "mine")
    assert status == 1
    assert "it is not used, remove it" in said
    assert f"{other / 'model.onnx'} is right." in said
    assert "no model pack called 'x'" in models("verify", "x")[1]


def test_path_says_where_files_are(models, source):
    assert models("path") == (0, f"{home()}\n")
    status, said = models("path", "mine")
    assert status == 1
    assert "Pack mine is not whole: model.onnx is not here" in said
    models("fetch", "mine", "--from", source, "--accept-licence")
    assert models("path", "mine") == (0, f"{model()}\n")
    assert str(bundled_models() / "compact" / "detector.onnx") in models("path", "compact")[1].splitlines()


def test_remove_takes_what_was_fetched_and_nothing_else(models, source):
    assert models("remove", "mine") == (0, "Nothing of mine was downloaded.\n")
    other = Path.home() / ".insightface" / "models" / "mine" / "model.onnx"
    other.parent.mkdir(parents=True)
    models("fetch", "mine", "--from", source, "--accept-licence")
    other.write_bytes(CONTENT)
    (home() / "mine" / ".fetch-0123456789abcdef-model.onnx.part").write_bytes(b"half")
    (home() / "mine" / "notes.txt").write_text("the user's")
    assert models("remove", "mine") == (
        0,
        f"Removed {model()}\nLeft {other}: FaceInsight did not put it there.\n",
    )
    assert sorted(path.name for path in (home() / "mine").iterdir()) == ["notes.txt", "pack.toml"]
    assert other.read_bytes() == CONTENT


def test_remove_leaves_what_was_put_there_or_changed_by_others(models, source):
    model().write_bytes(CONTENT)
    assert models("remove", "mine") == (0, f"Left {model()}: FaceInsight did not put it there.\n")
    model().unlink()
    models("fetch", "mine", "--from", source, "--accept-licence")
    model().write_bytes(b"another one, on purpose")
    assert models("remove", "mine") == (0, f"Left {model()}: it was changed since it was fetched.\n")
    assert model().read_bytes() == b"another one, on purpose"


def test_remove_does_not_follow_what_a_receipt_was_made_to_say(models, source, tmp_path):
    (tmp_path / "precious").write_bytes(CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    (home() / "mine" / "link.onnx").symlink_to(tmp_path / "precious")
    receipt = {"../../precious": digest, str(tmp_path / "precious"): digest, "link.onnx": digest}
    (home() / "mine" / ".fetched.json").write_text(json.dumps(receipt))
    assert models("remove", "mine")[0] == 0
    assert (tmp_path / "precious").read_bytes() == CONTENT
    (home() / "mine" / ".fetched.json").write_text("not JSON")
    assert models("remove", "mine")[0] == 0


def test_a_catalogue_packs_folder_goes_with_its_last_file(models, source, monkeypatch):
    monkeypatch.setattr("faceinsight.packs.locate.check_file", lambda path, file: None)
    monkeypatch.setattr(store, "check_file", lambda path, file: None)
    folder = home() / "buffalo_s"
    folder.mkdir()
    for name in ("det_500m.onnx", "genderage.onnx"):
        (folder / name).write_bytes(CONTENT)
        store.note_fetched(folder, name, folder / name)
    assert models("remove", "buffalo_s")[1].count("Removed") == 2
    assert not folder.exists()
    assert "comes with FaceInsight: there is nothing to remove" in models("remove", "compact")[1]


def test_nothing_is_removed_while_it_is_fetched(models, source):
    models("fetch", "mine", "--from", source, "--accept-licence")
    with store.locked(store.load_spec("mine")):
        status, said = models("remove", "mine")
    assert status == 1
    assert "Another FaceInsight changes the files of pack mine: wait for it to end" in said
    assert model().exists()
