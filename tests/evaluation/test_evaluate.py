"""Whole evaluations: a pack of known answers on small data sets, and the pack that ships on real ones."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from faceinsight import FaceAnalyzer
from faceinsight.cli import build_parser, main
from faceinsight.errors import FaceInsightError, MediaError, PackError
from faceinsight.evaluation import KINDS, evaluate
from faceinsight.evaluation.datasets import fold
from faceinsight.evaluation.plots import check_plots
from faceinsight.evaluation.running import largest, surest
from faceinsight.results import Face
from tests.conftest import ROOT
from tests.evaluation.conftest import COLOURS, png, write_folder, write_zip
from tests.material import BOXES, SHARED, both, photo
from tests.toy_models import TOY_KPS, toy_picture

# Of two angry faces one looks happy, and one file is no picture.
EXPRESSIONS = {
    "test/angry/a.png": png(COLOURS["Anger"]),
    "test/angry/b.png": png(COLOURS["Happiness"], (30, 60)),
    "test/happy/a.png": png(COLOURS["Happiness"]),
    "test/sad/a.png": png(COLOURS["Sadness"]),
    "test/sad/b.png": b"no picture",
    "test/fear/a.png": png(COLOURS["Sadness"]),
    "train/sad/a.png": png(COLOURS["Anger"]),
}


def test_expressions(make, analyzer):
    shares = []
    report = evaluate("fer2013", make(EXPRESSIONS), analyzer, on_progress=shares.append)
    assert (report.split, report.size, report.pack) == ("test", 4, "colour")
    assert report.skipped == {"Fear, which the pack does not know": 1, "picture cannot be read": 1}
    assert "left out of the pack's answers: Contempt." in report.notes[1]
    assert list(report.emotion.classes) == ["Anger", "Happiness", "Sadness"]
    assert report.emotion.accuracy == 3 / 4
    assert report.emotion.confusion == ((1, 1, 0), (0, 1, 0), (0, 0, 1))
    assert shares[-1] == 1
    # Contempt's share is given to the others: e^4 against e^0 twice.
    sure = np.exp(4) / (np.exp(4) + 2)
    assert report.emotion.ece == pytest.approx(sure - 3 / 4, rel=1e-4)


def test_contempt_counts_where_both_have_it(tmp_path, analyzer):
    files = EXPRESSIONS | {"test/contempt/a.png": png(COLOURS["Anger"])}
    report = evaluate("fer2013", write_folder(tmp_path, files), analyzer)
    assert report.emotion.confusion[1] == (1, 0, 0, 0)


def test_rafdb(tmp_path, analyzer):
    files = {"test/6/a.png": png(COLOURS["Anger"]), "test/4/a.png": png(COLOURS["Anger"])}
    assert evaluate("rafdb", write_folder(tmp_path, files), analyzer).emotion.accuracy == 1 / 2


def write_votes(folder):
    path = folder / "ferplus.csv"
    path.write_text(
        "file,anger,contempt,disgust,fear,happiness,neutral,sadness,surprise,unknown,no_face\n"
        "test/angry/a.png,9,1,0,0,0,0,0,0,0,0\n"
        "test/angry/b.png,8,2,0,0,0,0,0,0,0,0\n"
        "test/happy/a.png,5,0,0,0,5,0,0,0,0,0\n"
        "test/sad/a.png,0,6,0,0,0,0,4,0,0,0\n"
        "test/sad/b.png,0,0,0,0,0,0,10,0,0,0\n"
        "test/fear/a.png,0,0,0,10,0,0,0,0,0,0\n"
    )
    return path


def test_votes(make, analyzer, tmp_path):
    report = evaluate("ferplus", make(EXPRESSIONS), analyzer, votes=write_votes(tmp_path))
    assert (report.split, report.size) == ("test", 4)
    assert report.skipped == {"no majority of its votes": 1, "picture cannot be read": 1}
    # All eight classes count, though the pack knows four: fear is always wrong. Contempt is what votes say of sad/a.
    assert list(report.emotion.classes)[:2] == ["Anger", "Contempt"]
    assert len(report.emotion.classes) == 8
    assert report.notes[1] == "Unknown to the pack, so never its answer: Disgust, Fear, Neutral, Surprise."
    assert report.emotion.accuracy == 1 / 4
    # F1: Anger 2/3; Contempt, Fear, Happiness and Sadness, all labels or answers, none.
    assert report.emotion.macro_f1 == pytest.approx(2 / 3 / 5)
    red = np.exp([4, 3, 0, 0]) / np.exp([4, 3, 0, 0]).sum()
    other = np.exp(4) / (np.exp(4) + 3)
    none = -np.log((1 - other) / 3)
    parts = [-np.log(red[0]), none, 0.6 * none - 0.4 * np.log(other), -np.log(1e-4)]
    assert report.cross_entropy == pytest.approx(np.mean(parts), rel=1e-3)


def test_attributes(make, analyzer):
    # The toy models: a face is where it is bright, woman where red is above blue, as old as 100 times green.
    files = {
        "40_1_0_2017.png": png((255, 102, 204), (64, 64)),
        "50_0_1_2017.png": png((204, 102, 255), (64, 64)),
        "5_0_1_2018.png": png((60, 0, 20), (64, 64)),
        "x.png": png((0, 0, 0)),
    }
    report = evaluate("utkface", make(files), analyzer)
    assert (report.size, report.skipped) == (3, {"file name is not age_gender_race_date": 1})
    assert report.found == pytest.approx(2 / 3)
    assert list(report.age) == ["all", "0-9", "40-59"]
    assert report.age["all"].mae == pytest.approx((0 + 10 + 5) / 3, abs=0.1)
    assert report.age["40-59"].bias == pytest.approx(-5, abs=0.1)
    assert report.age["all"].coverage is None
    assert list(report.gender) == ["all", "0-9", "40-59", "White", "Black"]
    assert report.gender["all"].accuracy == pytest.approx(2 / 3)
    assert report.gender["Black"].accuracy == 1 / 2
    assert report.gender["0-9"].confusion == ((0, 0), (1, 0))


def test_fairface(make, analyzer):
    rows = [
        "val/1.png,40-49,Female,Black,True",
        "val/2.png,20-29,Male,White,False",
        "val/3.png,3-9,Male,White,False",
    ]
    files = {
        "fairface_label_val.csv": ("file,age,gender,race,service_test\n" + "\n".join(rows)).encode(),
        "val/1.png": png((255, 102, 204), (64, 64)),
        "val/2.png": png((204, 102, 255), (64, 64)),
        "val/3.png": png((60, 0, 20), (64, 64)),
    }
    report = evaluate("fairface", make(files), analyzer)
    assert (report.split, report.size, report.found) == ("val", 3, pytest.approx(2 / 3))
    assert list(report.age_bucket) == ["all", "3-9", "20-29", "40-49", "White", "Black"]
    assert list(report.gender) == list(report.age_bucket)
    # Answers: 40, 40 and 0 years.
    assert report.age_bucket["all"].accuracy == 1 / 3
    assert report.age_bucket["20-29"].distance == pytest.approx(10, abs=0.1)
    assert report.age_bucket["3-9"].bias == pytest.approx(-3, abs=0.1)
    assert report.age_bucket["White"].count == 2
    assert report.gender["all"].accuracy == pytest.approx(2 / 3)
    text = report.as_text()
    assert "age bucket  pictures  accuracy" in text
    assert "fairface: set" in text


def test_fgnet_looks_at_pictures_as_they_are(make, analyzer, tmp_path):
    files = {}
    # Where it is bright is a face as old as 100 times green; a picture without any counts for nothing else.
    for name, faces in {"001A38.png": {(3, 2): (200, 102, 255)}, "002A05.png": {}}.items():
        Image.fromarray(toy_picture(faces)).save(tmp_path / "one.png")
        files[name] = (tmp_path / "one.png").read_bytes()
    report = evaluate("fgnet", make(files), analyzer)
    assert (report.size, report.found, report.skipped) == (1, 1 / 2, {"no face found": 1})
    assert list(report.age) == ["all", "20-39"]
    assert report.age["all"].bias == pytest.approx(2, abs=1)
    assert report.gender is None


def test_the_largest_face_and_the_surest():
    small, large = Face((0, 0, 9, 9), 0.9), Face((0, 0, 8, 20), 0.6)
    assert (largest((small, large)), surest((small, large))) == (large, small)
    assert (largest(()), surest(())) == (None, None)


def test_fgnet_folds_are_of_people(tmp_path, analyzer):
    names = [f"{person:03}A{age:02}.png" for person in range(1, 21) for age in (10, 40)]
    path = write_folder(tmp_path, dict.fromkeys(names, png((204, 102, 255), (64, 64))))
    chosen = next(n for n in range(10) if any(fold(f"{person:03}") == n for person in range(1, 21)))
    people = sum(fold(f"{person:03}") == chosen for person in range(1, 21))
    assert evaluate("fgnet", path, analyzer, fold=chosen).age["10-19"].count == people


def test_fgnet_without_any_face(tmp_path, analyzer):
    path = write_folder(tmp_path, {"001A38.png": png((0, 0, 0))})
    with pytest.raises(MediaError, match="finds no face in set"):
        evaluate("fgnet", path, analyzer)


def scenes():
    picture = toy_picture({(3, 2): (255, 240, 200), (10, 8): (200, 100, 255)})
    box, missed, doubtful = [96, 64, 128, 96, 1.0], [500, 10, 600, 110, 0.9], [0, 0, 50, 50, 0.4]
    points = (TOY_KPS * 32 + [96, 64]).tolist()
    entries = [
        {"name": "two.png", "boxes": [box, missed, doubtful], "kps": [points, points, points]},
        {"name": "none.png", "boxes": []},
    ]
    files = {"labels.json": json.dumps(entries).encode()}
    return files, {"images/two.png": picture, "images/none.png": toy_picture({(0, 0): (255, 255, 255)})}


def write_scenes(parent, write=write_folder):
    files, pictures = scenes()
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(parent / "one.png")
        files[name] = (parent / "one.png").read_bytes()
    return write(parent, files)


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_detection(tmp_path, analyzer, write):
    report = evaluate("detection", write_scenes(tmp_path, write), analyzer)
    found = report.detection
    assert (report.size, found.faces, found.at.found, found.at.false_alarms) == (2, 2, 1, 2)
    assert (found.at.recall, found.at.precision) == (1 / 2, 1 / 3)
    assert (found.empty_pictures, found.false_alarms_in_empty) == (1, 1)
    assert found.recall_by_size["32-64"].recall == 1
    assert found.recall_by_size["64-128"].recall == 0
    assert found.keypoint_error == pytest.approx(0, abs=1e-3)


def test_fold_and_limit(tmp_path, analyzer):
    names = [f"{age}_0_0_2017.png" for age in range(1, 41)]
    path = write_folder(tmp_path, dict.fromkeys(names, png((0, 0, 0), (8, 8))))
    assert evaluate("utkface", path, analyzer, fold=3).size == sum(fold(name) == 3 for name in names)
    reports = [evaluate("utkface", path, analyzer, limit=8) for _ in range(2)]
    assert reports[0].size == 8
    assert reports[0].age == reports[1].age
    assert len(reports[0].age) >= 4  # not just the first ones


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("other", {}, "use one of fer2013, ferplus, rafdb, utkface, fairface, fgnet, detection"),
        ("utkface", {"split": "test"}, "utkface has no splits"),
        ("fgnet", {"split": "test"}, "fgnet has no splits"),
        ("fairface", {"fold": 0}, "choose a split instead"),
        ("ferplus", {}, "give the file of them, ferplus.csv"),
        ("fer2013", {"votes": "ferplus.csv"}, "fer2013 is not measured against votes"),
        ("fer2013", {"fold": 0}, "choose a split instead"),
        ("utkface", {"fold": 10}, "choose 0 to 9 instead"),
        ("utkface", {"limit": 0}, "choose a limit above zero"),
    ],
)
def test_options_that_make_no_sense(tmp_path, analyzer, kind, options, message):
    with pytest.raises(MediaError, match=message):
        evaluate(kind, tmp_path, analyzer, **options)


def test_nothing_left_or_readable(tmp_path, analyzer):
    path = write_folder(tmp_path, {"happy/a.png": b"", "1_0_0_1.png": b""})
    with pytest.raises(MediaError, match="None of the pictures of set can be read"):
        evaluate("fer2013", path, analyzer)
    other = next(n for n in range(10) if n != fold("1_0_0_1.png"))
    with pytest.raises(MediaError, match="No picture of set is left"):
        evaluate("utkface", path, analyzer, fold=other)


def test_a_pack_without_the_stage(tmp_path, toy_pack):
    folder = tmp_path / "bare"
    folder.mkdir()
    shutil.copy(toy_pack / "detector.onnx", folder)
    (folder / "pack.toml").write_text('[detector]\nfile = "detector.onnx"\n')
    path = write_folder(tmp_path, EXPRESSIONS)
    with pytest.raises(PackError, match="Pack bare cannot be measured on this data set: it declares no emotion"):
        evaluate("fer2013", path, FaceAnalyzer(folder))


def run(*args, code=0):
    assert main(["evaluate", *map(str, args)]) == code


def test_command_prints_tables_and_writes_json_and_charts(tmp_path, colour_pack):
    path = write_folder(tmp_path, EXPRESSIONS)
    command = [sys.executable, "-W", "error", "-m", "faceinsight", "evaluate", "fer2013", path, "--pack", colour_pack]
    options = ["--json", tmp_path / "r.json", "--plots", tmp_path / "new" / "plots"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "fer2013: set, split test, 4 pictures, pack colour"
    assert "1 skipped: picture cannot be read" in lines
    assert "accuracy 75.0%, macro F1 77.8%, calibration error 21.5%" in lines
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["emotion"]["classes"]["Anger"] == {"count": 2, "precision": 1.0, "recall": 0.5, "f1": 0.6667}
    assert {"date", "version", "fold", "limit"} <= report.keys()
    assert not {"age", "curves"} & report.keys()
    with Image.open(tmp_path / "new" / "plots" / "fer2013-confusion.png") as chart:
        assert chart.width > 500


def test_command_prints_json_alone(tmp_path, colour_pack, capsys):
    run("detection", write_scenes(tmp_path), "--pack", colour_pack, "--json", "-", "--plots", tmp_path)
    report = json.loads(capsys.readouterr().out)
    assert report["detection"]["recall_by_size"]["128+"] == {"count": 0, "recall": None}
    assert len(report["detection"]["pareto"]) == 9
    assert (tmp_path / "detection-precision-recall.png").is_file()


def test_command_on_ages(tmp_path, colour_pack, capsys):
    path = write_folder(tmp_path, {"40_1_0_2017.png": png((255, 102, 204), (64, 64))})
    run("utkface", path, "--pack", colour_pack, "--plots", tmp_path, "--limit", 1)
    out = capsys.readouterr().out
    assert "The detector finds 100.0% of the faces." in out
    assert {file.name for file in tmp_path.glob("*.png")} == {"utkface-age.png", "utkface-age-bands.png"}


def test_command_offers_every_kind(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["evaluate", "--help"])
    assert "{" + ",".join(KINDS) + "}" in capsys.readouterr().out.replace("\n", "").replace(" ", "")


def test_command_on_votes(tmp_path, colour_pack, capsys):
    path = write_folder(tmp_path, EXPRESSIONS)
    run("ferplus", path, "--votes", write_votes(tmp_path), "--pack", colour_pack, "--json", "-", "--plots", tmp_path)
    report = json.loads(capsys.readouterr().out)
    assert report["cross_entropy"] > 0
    assert report["emotion"]["accuracy"] == 0.25
    assert (tmp_path / "ferplus-confusion.png").is_file()


def test_command_on_buckets(tmp_path, colour_pack, capsys):
    files = {
        "fairface_label_val.csv": b"file,age,gender,race,service_test\nval/1.png,40-49,Female,Black,True\n",
        "val/1.png": png((255, 102, 204), (64, 64)),
    }
    run("fairface", write_folder(tmp_path, files), "--pack", colour_pack, "--json", "-", "--plots", tmp_path)
    report = json.loads(capsys.readouterr().out)
    assert report["age_bucket"]["40-49"] == {"count": 1, "accuracy": 1.0, "distance": 0.0, "bias": 0.0}
    assert (tmp_path / "fairface-age-buckets.png").is_file()


@pytest.mark.parametrize("path", ["nope", "empty", "bad.zip"])
def test_command_says_in_one_line_what_is_wrong(tmp_path, colour_pack, capsys, path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    run("fer2013", tmp_path / path, "--pack", colour_pack, code=1)
    error = capsys.readouterr().err
    assert error.startswith("faceinsight: ")
    assert len(error.splitlines()) == 1


def test_charts_need_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(FaceInsightError, match="install matplotlib"):
        check_plots()


# What the pack's model card says, with room for the scatter of few pictures.
def test_real_expressions(shared, compact):
    report = evaluate("fer2013", shared / "data" / "fer2013.zip", compact, limit=200)
    assert (report.split, report.size, report.skipped) == ("public_test", 200, {})
    # The pack learned ten people's votes, with which this one label agrees in two of three pictures.
    assert report.emotion.accuracy > 0.5


def test_real_expressions_by_votes(shared, compact):
    data = shared / "data"
    report = evaluate("ferplus", data / "fer2013.zip", compact, votes=data / "ferplus.csv", limit=200)
    assert report.emotion.accuracy > 0.8


def test_real_ages(shared, compact):
    report = evaluate("utkface", shared / "data" / "utkface.zip", compact, fold=0, limit=40)
    assert report.found >= 0.9
    assert report.age["all"].mae < 9
    assert report.age["all"].coverage > 0.5
    assert report.gender["all"].accuracy > 0.75


def test_real_votes(shared, compact):
    data = shared / "data"
    if not (data / "ferplus.csv").exists():
        pytest.skip("ferplus.csv is not in ../shared")
    report = evaluate("ferplus", data / "fer2013.zip", compact, votes=data / "ferplus.csv", limit=200)
    assert (report.split, report.size) == ("public_test", 200)
    assert report.emotion.accuracy > 0.6


def test_real_childhoods(shared, compact):
    if not (shared / "data" / "fgnet.zip").exists():
        pytest.skip("fgnet.zip is not in ../shared")
    report = evaluate("fgnet", shared / "data" / "fgnet.zip", compact, fold=0)
    assert report.found >= 0.9
    assert report.age["all"].mae < 4.5
    assert abs(report.age["all"].bias) < 1.5


@pytest.fixture
def own_boxes(tmp_path):
    for name in BOXES:
        shutil.copy(photo(name), tmp_path)
    entries = [{"name": name, "boxes": boxes} for name, boxes in BOXES.items()]
    (tmp_path / "labels.json").write_text(json.dumps(entries))
    return tmp_path


@pytest.mark.parametrize("where", both(["own"], ["shared"]))
def test_real_boxes(request, compact, where):
    if where == "own":
        report = evaluate("detection", request.getfixturevalue("own_boxes"), compact)
    else:
        report = evaluate("detection", SHARED / "data" / "scenes.zip", compact, fold=0, limit=30)
        assert report.detection.keypoint_error < 0.15
    assert report.detection.recall_by_size["32+"].recall > 0.6
    assert report.detection.at.precision > 0.8
