from __future__ import annotations

import hashlib
import os
import shutil

import pytest

from faceinsight import FaceAnalyzer, ModelFileError, PackError
from faceinsight.packs import home, load_spec, locate, pack_hash, pack_names, resolve
from faceinsight.packs.locate import check_file
from faceinsight.packs.spec import ModelFile
from tests.material import SHARED, both


@pytest.fixture
def no_bundle(monkeypatch, tmp_path):
    monkeypatch.setattr(locate, "bundled_models", lambda: tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_file_is_known_by_size_sha256_or_git_blob_id(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"hello\n")
    sha = hashlib.sha256(b"hello\n").hexdigest()
    # The id that `git hash-object` prints for this content.
    blob = "ce013625030ba8dba906f756967f9e9ca394464a"
    assert check_file(path, ModelFile("f")) is None
    assert check_file(path, ModelFile("f", 6, sha256=sha)) is None
    assert check_file(path, ModelFile("f", git_blob=blob)) is None
    assert check_file(path, ModelFile("f", 7)) == "6 bytes instead of 7"
    assert "sha256" in check_file(path, ModelFile("f", sha256="0" * 64))
    assert "git blob id" in check_file(path, ModelFile("f", git_blob="0" * 40))


@pytest.mark.parametrize("whose", both(["any"], ["insightface's"]))
def test_files_that_people_already_have_are_found(isolated_home, tmp_path, monkeypatch, whose):
    source = SHARED / "models" / "genderage.onnx"
    if whose == "any":
        # Where the file itself cannot be had, one of its name stands for it.
        source = tmp_path / "genderage.onnx"
        source.write_bytes(b"model")
        monkeypatch.setattr(locate, "check_file", lambda path, file: None)
    places = [
        isolated_home / ".insightface" / "models" / "buffalo_s",
        isolated_home / ".hsemotion",
        isolated_home / ".faceinsight" / "buffalo_s",
        tmp_path / "explicit" / "buffalo_s",
        tmp_path / "explicit",
    ]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)
        found = resolve("buffalo_s", tmp_path / "explicit").paths
        assert list(found) == ["attributes"]
        if place != places[1]:  # ~/.insightface goes before ~/.hsemotion
            assert found["attributes"] == place / "genderage.onnx"
    monkeypatch.setenv("FACEINSIGHT_HOME", str(tmp_path / "fi"))
    assert home() == tmp_path / "fi"
    (tmp_path / "fi" / "buffalo_s").mkdir(parents=True)
    shutil.copy(source, tmp_path / "fi" / "buffalo_s")
    assert resolve("buffalo_s").paths["attributes"].is_relative_to(tmp_path / "fi")


def test_a_wrong_hash_is_refused_with_what_to_do(isolated_home):
    folder = isolated_home / ".insightface" / "models" / "buffalo_s"
    folder.mkdir(parents=True)
    (folder / "genderage.onnx").write_bytes(b"x" * 1322532)
    with pytest.raises(ModelFileError, match="remove it and run `faceinsight models fetch"):
        resolve("buffalo_s")


def test_a_good_copy_goes_before_a_wrong_one(toy_pack, tmp_path):
    pack = shutil.copytree(toy_pack, tmp_path / "p")
    (pack / "detector.onnx").write_bytes(b"broken")
    with pytest.raises(ModelFileError, match="6 bytes instead of"):
        resolve(pack)
    good = tmp_path / "good"
    good.mkdir()
    shutil.copy(toy_pack / "detector.onnx", good)
    assert resolve(pack, good).paths["detector"] == good / "detector.onnx"


def test_what_is_missing_says_how_to_get_it():
    missing = resolve("buffalo_s").missing
    assert set(missing) == {"detector", "attributes", "emotion"}
    assert "det_500m.onnx (2.5 MB) is not here: run `faceinsight models fetch" in missing["detector"]


def test_auto_takes_the_first_pack_that_is_here(no_bundle, toy_pack, isolated_home):
    with pytest.raises(PackError, match="No model pack is on this machine.*models fetch buffalo_s"):
        resolve()
    shutil.copytree(toy_pack, isolated_home / ".faceinsight" / "zebra")
    assert resolve().spec.name == "zebra"
    assert pack_names() == ("compact", "buffalo_s", "buffalo_l", "zebra")
    shutil.copytree(toy_pack, no_bundle / "compact")
    assert resolve().spec.name == "compact"
    assert FaceAnalyzer().pack.name == "compact"


@pytest.mark.parametrize("name", ["no_such_pack", "./no/such/folder", "~/nowhere"])
def test_an_unknown_pack_is_one_sentence(name):
    with pytest.raises(PackError, match="no_such_pack|pack.toml in"):
        load_spec(name)


def test_a_pack_folder_that_cannot_be_read(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(PackError, match="cannot be read .*check its path and permissions"):
        load_spec(str(loop))
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / "pack.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PackError, match="no UTF-8 text"):
        load_spec(tmp_path / "binary")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_a_pack_folder_without_permission(toy_pack, tmp_path):
    pack = shutil.copytree(toy_pack, tmp_path / "p")
    pack.chmod(0)
    try:
        with pytest.raises(PackError, match="permission denied|Permission denied"):
            load_spec(pack)
    finally:
        pack.chmod(0o755)


def test_a_model_file_that_cannot_be_read(toy_pack, tmp_path):
    pack = shutil.copytree(toy_pack, tmp_path / "p")
    (pack / "emotion.onnx").unlink()
    (pack / "emotion.onnx").symlink_to(pack / "emotion.onnx")
    assert "emotion" in resolve(pack).missing


def test_the_hash_of_a_pack_changes_with_its_files(toy_pack, tmp_path):
    folder = shutil.copytree(toy_pack, tmp_path / "moved")
    assert pack_hash(resolve(folder)) == pack_hash(resolve(toy_pack)) == FaceAnalyzer(toy_pack).pack_hash
    with (folder / "pack.toml").open("a") as file:
        file.write("\n# a remark\n")
    assert pack_hash(resolve(folder)) != pack_hash(resolve(toy_pack))
