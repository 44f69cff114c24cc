from __future__ import annotations

import pytest

from faceinsight.errors import PackError
from faceinsight.packs import load_spec
from faceinsight.packs.spec import parse_pack
from tests.toy_models import EMOTIONS_8, emotion_table, genderage_table

DETECTOR = '[detector]\nfile = "d.onnx"\n'
VERIFIER = '[detector.verifier]\nfile = "v.onnx"\nsize = [56, 56]\ncrop = "scaled_box"\ndoubt = [0.2, 0.7]\n'


def test_a_whole_pack_is_read():
    spec = parse_pack(
        'title = "Mine"\ndescription = "A test."\n'
        + DETECTOR
        + VERIFIER
        + genderage_table("a.onnx")
        + emotion_table("e.onnx", EMOTIONS_8, extra="temperature = 1.5\n")
        + '[heads.mask]\nfile = "m.onnx"\nsize = [64, 48]\n'
        + 'crop = "aligned"\nlabels = ["no", "yes"]\n',
        "mine",
        "mine.toml",
    )
    assert (spec.name, spec.title, spec.description) == ("mine", "Mine", "A test.")
    assert list(spec.files) == ["detector", "verifier", "attributes", "emotion", "mask"]
    assert spec.detector.verifier.doubt == (0.2, 0.7)
    models = dict(spec.face_models)
    assert models["attributes"].output == "genderage"
    assert models["emotion"].temperature == 1.5
    assert (models["mask"].size, models["mask"].crop) == ((64, 48), "aligned")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("title = ", "is not valid TOML"),
        ("[detector]\n", r"\[detector\] in p.toml lacks the key 'file'"),
        ("[detector]\nfile = 3\n", "wrong type of 'file'|'file' of the wrong type"),
        (DETECTOR + "speed = 3\n", r"keys that mean nothing here \(speed\)"),
        (DETECTOR + "bytes = true\n", "'bytes'"),
        (DETECTOR + "bytes = -1\n", "'bytes' above zero"),
        (DETECTOR + "input_sizes = [[640]]\n", r"\[\[width, height\], ...\]"),
        (DETECTOR + "input_sizes = [[640, 0]]\n", "whole pixels above zero"),
        (genderage_table("a.onnx").replace("scaled_box", "oval"), "crop = 'oval': use one of"),
        (genderage_table("a.onnx", "std = [1, 0, 1]\n"), "above zero"),
        (genderage_table("a.onnx", "mean = [1, 2]\n"), "3 numbers in 'mean'"),
        (genderage_table("a.onnx", 'output = "classes"\n'), "output = 'classes': use one of"),
        (emotion_table("e.onnx", ("one",)), "two 'labels' or more"),
        (DETECTOR + VERIFIER.replace("0.7", "0.1"), "'doubt' as two scores"),
        ('[heads.emotion]\nfile = "m.onnx"\n', "may not be called 'emotion'"),
        ("colour = 1\n", "keys that mean nothing here"),
    ],
)
def test_a_wrong_declaration_is_one_sentence(text, sentence):
    with pytest.raises(PackError, match=sentence) as caught:
        parse_pack(text, "p", "p.toml")
    assert "\n" not in str(caught.value).strip()


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "../../x",
        "sub/../../x",
        "/etc/x",
        "//host/share/x",
        "sub//x",
        "C:x",
        "C:/x",
        "c:\\\\x",
        "..\\\\x",
        "sub/.. /x",
        "x/...",
        "x\\u0000y",
        "pack.toml",
        "Pack.TOML.",
    ],
)
def test_no_file_name_leads_out_of_the_folder(name):
    for table in (
        f'[detector]\nfile = "{name}"\n',
        DETECTOR + VERIFIER.replace("v.onnx", name),
        genderage_table(name),
        f'[heads.mask]\nfile = "{name}"\nsize = [64, 48]\ncrop = "aligned"\nlabels = ["no", "yes"]\n',
    ):
        with pytest.raises(PackError, match="a file must lie within the pack's folder"):
            parse_pack(table, "p", "p.toml")


def test_a_file_may_lie_in_a_folder_of_the_pack():
    spec = parse_pack('[detector]\nfile = "sub/model v1.2.onnx"\n', "p", "p.toml")
    assert spec.detector.file.name == "sub/model v1.2.onnx"


@pytest.mark.parametrize("pack", ["buffalo_s", "buffalo_l"])
def test_the_catalogue_pins_every_file(pack):
    spec = load_spec(pack)
    assert list(spec.files) == ["detector", "attributes", "emotion"]
    for file in spec.files.values():
        assert (file.sha256 and len(file.sha256) == 64) or len(file.git_blob) == 40
        assert file.url.startswith("https://github.com/deepinsight/") or "/sb-ai-lab/" in file.url
    licences = [file.licence for file in spec.files.values()]
    assert "non-commercial" in licences[0]
    assert "Apache-2.0" in licences[2]
