"""Every layout of every data set, as a folder and as a zip."""

from __future__ import annotations

import hashlib
import json
from collections import Counter

import numpy as np
import pytest

from faceinsight.errors import MediaError
from faceinsight.evaluation.agesets import Subject, read_fairface, read_fgnet
from faceinsight.evaluation.datasets import Person, fold, read_detection, read_fer2013, read_rafdb, read_utkface
from faceinsight.evaluation.ferplus import VOTED, count_votes, read_ferplus
from faceinsight.evaluation.source import Source
from tests.evaluation.conftest import png, write_folder, write_zip

PICTURE = png((200, 100, 50))


def read(reader, path, *args):
    with Source(path) as source:
        data = reader(source, *args)
        for sample in data.samples:
            picture = sample.load()
            assert picture.dtype == np.uint8
            assert picture.shape[2] == 3
    return data


def labels(data):
    return Counter(sample.truth for sample in data.samples)


@pytest.mark.parametrize(
    ("folders", "split", "chosen", "expected"),
    [
        (["train/angry", "public_test/happy"], None, "public_test", ["Happiness"]),
        (["Training/0", "PublicTest/3", "PrivateTest/4"], None, "PublicTest", ["Happiness"]),
        (["Training/0", "PublicTest/3", "PrivateTest/4"], "private_test", "PrivateTest", ["Sadness"]),
        (["fer/train/Anger", "fer/test/Surprise"], None, "test", ["Surprise"]),
        (["fer/train/Anger", "fer/test/Surprise"], "TRAIN", "train", ["Anger"]),
        (["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"], None, None, None),
        (["0", "1", "2", "3", "4", "5", "6"], None, None, None),
    ],
)
def test_fer2013_folders(make, folders, split, chosen, expected):
    data = read(read_fer2013, make({f"{folder}/a.png": PICTURE for folder in folders}), split)
    assert data.split == chosen
    everything = ["Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Neutral"]
    assert labels(data) == Counter(expected or everything)


def test_hidden_and_unlabelled_files_are_no_samples(make):
    files = {"happy/a.png": PICTURE, "__MACOSX/happy/._a.png": b"", "happy/.b.png": b"", "odd/c.png": PICTURE}
    data = read(read_fer2013, make(files))
    assert len(data.samples) == 1
    assert data.skipped == {"without a known label": 1}


@pytest.mark.parametrize("header", ["emotion,pixels,Usage", "emotion, Usage, pixels"])
def test_fer2013_table(make, header):
    pixels = " ".join(str(n) for n in range(4))
    lines = [header]
    for emotion, usage in ((0, "Training"), (3, "PublicTest"), (6, "PublicTest"), (9, "PublicTest")):
        lines.append(f"{emotion},{pixels},{usage}" if header[8] == "p" else f"{emotion},{usage},{pixels}")
    path = make({"fer2013/fer2013.csv": "\n".join(lines).encode()})
    data = read(read_fer2013, path)
    assert (data.split, labels(data)) == ("PublicTest", {"Happiness": 1, "Neutral": 1})
    assert data.skipped == {"without a known label": 1}
    np.testing.assert_array_equal(data.samples[0].load()[..., 0], [[0, 1], [2, 3]])
    assert labels(read(read_fer2013, path, "training")) == {"Anger": 1}


@pytest.mark.parametrize("pixels", ["", "1 2 3", "1 2 300 4", "a b c d"])
def test_a_row_without_a_picture(tmp_path, pixels):
    table = tmp_path / "fer2013.csv"
    table.write_text(f"emotion,pixels\n0,{pixels}\n")
    with Source(table) as source:
        (sample,) = read_fer2013(source).samples
        with pytest.raises(MediaError, match=r"line 2 of fer2013.csv holds no square picture"):
            sample.load()


RAFDB = ("Surprise", "Fear", "Disgust", "Happiness", "Sadness", "Anger", "Neutral")


def test_rafdb_folders_win_over_the_tables_beside_them(make):
    files = {f"DATASET/test/{n}/test_{n}_aligned.jpg": PICTURE for n in range(1, 8)}
    files |= {"DATASET/train/1/train_1_aligned.jpg": PICTURE, "test_labels.csv": b"image,label\nx.jpg,1\n"}
    data = read(read_rafdb, make(files))
    assert (data.split, [sample.truth for sample in data.samples]) == ("test", list(RAFDB))


def test_rafdb_tables(make):
    files = {
        "train_labels.csv": b"image,label\ntrain_00001_aligned.jpg,4\n",
        "test_labels.csv": b"image,label\ntest_0001_aligned.jpg,6\ntest_0002_aligned.jpg,6\ntest_0003_aligned.jpg,8\n",
        "pictures/train_00001_aligned.jpg": PICTURE,
        "pictures/test_0001_aligned.jpg": PICTURE,
        "pictures/test_0003_aligned.jpg": PICTURE,
    }
    path = make(files)
    data = read(read_rafdb, path)
    assert (data.split, labels(data)) == ("test", {"Anger": 1})
    assert data.skipped == {"listed but not there": 1, "without a known label": 1}
    assert labels(read(read_rafdb, path, "train")) == {"Happiness": 1}


def test_rafdb_list_takes_the_aligned_face_not_the_photo(make):
    files = {
        "EmoLabel/list_patition_label.txt": b"train_00001.jpg 5\ntest_0001.jpg 7\n",
        "Image/aligned/test_0001_aligned.jpg": PICTURE,
        "Image/aligned/train_00001_aligned.jpg": PICTURE,
        "Image/original/test_0001.jpg": PICTURE,
    }
    (sample,) = read(read_rafdb, make(files)).samples
    assert (sample.name, sample.truth) == ("Image/aligned/test_0001_aligned.jpg", "Neutral")


def test_utkface(make):
    files = {
        "UTKFace/26_1_2_20170116184024662.jpg.chip.jpg": PICTURE,
        "UTKFace/100_0_0_20170112213500903.jpg.jpg": PICTURE,
        "UTKFace/1_0_4_20161219140623097.jpg": PICTURE,
        "again/1_0_4_20161219140623097.jpg": PICTURE,
        "UTKFace/39_1_20170116174525125.jpg.chip.jpg": PICTURE,
    }
    data = read(read_utkface, make(files))
    assert {sample.truth for sample in data.samples} == {
        Person(26, "female", "Asian"),
        Person(100, "male", "White"),
        Person(1, "male", "Other"),
    }
    assert data.skipped == {"second copy of a file": 1, "file name is not age_gender_race_date": 1}


@pytest.mark.parametrize(
    ("emotions", "others", "majority", "shares"),
    [
        # anger contempt disgust fear happiness neutral sadness surprise; unknown, no_face
        ([10, 0, 0, 0, 0, 0, 0, 0], [0, 0], "Anger", [1, 0, 0, 0, 0, 0, 0, 0]),
        # Single votes are dropped before the half is taken: 5 of 9 with them, 5 of 7 without.
        ([0, 1, 0, 0, 5, 2, 1, 0], [0, 0], "Happiness", [0, 0, 0, 0, 5 / 7, 2 / 7, 0, 0]),
        ([0, 0, 0, 0, 4, 0, 0, 1], [3, 1], "Happiness", [0, 0, 0, 0, 1, 0, 0, 0]),
        # Exactly half is no majority; unknown and no_face are among the votes.
        ([0, 0, 0, 0, 5, 5, 0, 0], [0, 0], None, None),
        ([0, 0, 0, 0, 4, 0, 0, 0], [4, 0], None, None),
        ([0, 0, 0, 0, 4, 0, 0, 0], [2, 2], None, None),
        ([0, 0, 0, 0, 2, 0, 0, 0], [0, 8], None, None),
        ([1, 1, 1, 1, 1, 1, 1, 1], [1, 1], None, None),
        ([0, 0, 0, 0, 0, 0, 0, 0], [0, 0], None, None),
        # Twice the same picture: twenty votes, and still one alone is noise.
        ([0, 11, 0, 0, 1, 8, 0, 0], [0, 0], "Contempt", [0, 11 / 19, 0, 0, 0, 8 / 19, 0, 0]),
    ],
)
def test_votes_of_one_picture(emotions, others, majority, shares):
    votes = count_votes(emotions, others)
    assert (votes and votes.majority) == majority
    if votes:
        assert votes.shares == pytest.approx(shares)


COLUMNS = [name.lower() for name in VOTED]


def votes_row(name, **votes):
    return ",".join([name, *(str(votes.get(column, 0)) for column in (*COLUMNS, "unknown", "no_face"))])


def test_ferplus_by_file_name(make, tmp_path):
    names = ["fer/public_test/angry/a.png", "fer/public_test/happy/b.png", "fer/public_test/sad/c.png"]
    path = make(dict.fromkeys([*names, "fer/train/sad/d.png"], PICTURE))
    rows = [
        votes_row("public_test/angry/a.png", fear=9, anger=1),
        votes_row("public_test/happy/b.png", happiness=5, unknown=5),
        votes_row("train/sad/d.png", sadness=10),
    ]
    table = tmp_path / "ferplus.csv"
    table.write_text("\n".join([",".join(["file", *COLUMNS, "unknown", "no_face"]), *rows]))
    data = read(read_ferplus, path, table)
    # The folder's label counts for nothing.
    assert [(s.name, s.truth.majority) for s in data.samples] == [(names[0], "Fear")]
    assert (data.split, data.skipped) == ("public_test", {"no majority of its votes": 1, "without votes": 1})
    assert [s.truth.majority for s in read(read_ferplus, path, table, "train").samples] == ["Sadness"]


def test_ferplus_as_published(tmp_path):
    (tmp_path / "fer2013.csv").write_text(
        "emotion,pixels,Usage\n0,1 2 3 4,Training\n3,1 2 3 4,PublicTest\n4,1 2 3 4,PublicTest\n"
    )
    table = tmp_path / "fer2013new.csv"
    table.write_text(
        "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
        "Training,fer0000000.png,10,0,0,0,0,0,0,0,0,0\n"
        "PublicTest,fer0028638.png,0,0,10,0,0,0,0,0,0,0\n"
        "PublicTest,,0,0,0,0,0,0,0,0,0,10\n"
    )
    data = read(read_ferplus, tmp_path / "fer2013.csv", table)
    assert [(s.name, s.truth.majority) for s in data.samples] == [("line 3 of fer2013.csv", "Surprise")]
    assert data.skipped == {"no majority of its votes": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,anger\nhappy/a.png,10\n", "is no table of votes: it should have the columns anger, contempt"),
        ("", "is no table of votes"),
        ("file,{}\n{}\n", "Line 2 of .*votes.csv is not all numbers of votes"),
        ("file,{}\n" + votes_row("b.png", anger=10) + "\n", "votes.csv has no majority for any picture of .*set"),
    ],
)
def test_no_votes(tmp_path, text, message):
    path = write_folder(tmp_path, {"happy/a.png": PICTURE})
    table = tmp_path / "votes.csv"
    table.write_text(text.format(",".join([*COLUMNS, "unknown", "no_face"]), votes_row("happy/a.png", anger="many")))
    with pytest.raises(MediaError, match=message):
        read(read_ferplus, path, table)


FAIRFACE = "file,age,gender,race,service_test\n"


def test_fairface(make):
    rows = [
        "val/1.jpg,3-9,Male,East Asian,True",
        "val/2.jpg,more than 70,Female,Latino_Hispanic,False",
        "val/3.jpg,20-29,Female,Black,False",
        "val/4.jpg,unknown,Female,Black,False",
    ]
    files = {
        "fairface/fairface_label_val.csv": (FAIRFACE + "\n".join(rows)).encode(),
        "fairface/fairface_label_train.csv": (FAIRFACE + "train/1.jpg,0-2,Male,White,True\n").encode(),
    }
    files |= {f"fairface/{name}.jpg": PICTURE for name in ("val/1", "val/2", "val/4", "train/1")}
    path = make(files)
    data = read(read_fairface, path)
    assert {sample.name: sample.truth for sample in data.samples} == {
        "fairface/val/1.jpg": Subject("3-9", "male", "East Asian"),
        "fairface/val/2.jpg": Subject("more than 70", "female", "Latino_Hispanic"),
    }
    assert (data.split, data.skipped) == ("val", {"listed but not there": 1, "without a known label": 1})
    (sample,) = read(read_fairface, path, "train").samples
    assert (sample.name, sample.truth) == ("fairface/train/1.jpg", Subject("0-2", "male", "White"))


def test_fgnet(make):
    names = ["images/001A02.JPG", "images/078A07b.jpg", "images/cover.jpg", "small/001A02.JPG"]
    data = read(read_fgnet, make(dict.fromkeys(names, PICTURE)))
    assert {sample.name: sample.truth for sample in data.samples} == {names[0]: 2, names[1]: 7}
    assert data.skipped == {"file name is not person A age": 1, "second copy of a file": 1}


def test_detection(make):
    entries = [
        {"name": "a.png", "boxes": [[1, 2, 3, 4], [1, 2, 3, 4, 0.5]]},
        {"name": "b.png", "boxes": [], "kps": []},
        {"name": "gone.png", "boxes": []},
    ]
    files = {"labels.json": json.dumps(entries).encode(), "images/a.png": PICTURE, "images/b.png": PICTURE}
    data = read(read_detection, make(files))
    first, second = (sample.truth for sample in data.samples)
    np.testing.assert_array_equal(first.boxes, [[1, 2, 3, 4, 1], [1, 2, 3, 4, 0.5]])
    assert first.kps is None
    assert second.boxes.shape == (0, 5)
    assert second.kps.shape == (0, 5, 2)
    assert data.skipped == {"listed but not there": 1}


def test_fold_is_the_hash_of_the_name():
    names = [f"{n}_0_0_2017.jpg" for n in range(30)]
    assert [fold(name) for name in names] == [int(hashlib.sha1(n.encode()).hexdigest(), 16) % 10 for n in names]


@pytest.mark.parametrize(
    ("reader", "files", "message"),
    [
        (read_fer2013, {"a.png": PICTURE}, "should hold folders named after expressions"),
        (read_fer2013, {"a.csv": b"x,y\n1,2\n"}, "should hold folders named after expressions"),
        (read_fer2013, {"1/a.png": PICTURE, "7/a.png": PICTURE}, "no folder 7, but 0, 1"),
        (read_fer2013, {"train/happy/a.png": PICTURE}, "has no public test: choose the split train"),
        (read_rafdb, {"a.png": PICTURE}, "should hold {train,test}/{1..7}"),
        (read_utkface, {"a.png": PICTURE}, "should hold files named age_gender_race_date.jpg"),
        (read_fairface, {"val/1.jpg": PICTURE}, "should hold fairface_label_val.csv and the pictures"),
        (read_fairface, {"fairface_label_val.csv": FAIRFACE.encode()}, "should hold fairface_label_val.csv and"),
        (read_fgnet, {"a.png": PICTURE}, "should hold files named like 078A07.jpg"),
        (read_detection, {"a.png": PICTURE}, "should hold pictures and a list of their boxes"),
        (read_detection, {"a.png": PICTURE, "labels.json": b"{"}, "labels.json is not valid JSON"),
        (read_detection, {"a.png": PICTURE, "labels.json": b"{}"}, "holds no list of pictures"),
        (read_detection, {"a.png": PICTURE, "labels.json": b'[{"name": "a.png"}]'}, "Entry 0 of labels.json"),
        (read_detection, {"a.png": PICTURE, "labels.json": b'[{"name": "a.png", "boxes": [[1]]}]'}, "Entry 0"),
    ],
)
def test_wrong_layouts(make, reader, files, message):
    with pytest.raises(MediaError) as error:
        read(reader, make(files))
    assert message in str(error.value)


@pytest.mark.parametrize(("folders", "message"), [(["test", "train"], "test or train"), ([""], "has no splits")])
def test_unknown_split(tmp_path, folders, message):
    path = write_folder(tmp_path, {f"{folder}/happy/a.png".lstrip("/"): PICTURE for folder in folders})
    with pytest.raises(MediaError, match=message):
        read(read_fer2013, path, "nope")


def test_no_such_path(tmp_path):
    with pytest.raises(MediaError, match="give the folder or the zip"):
        Source(tmp_path / "nope")


def test_a_damaged_archive(tmp_path):
    path = write_zip(tmp_path, {"happy/a.png": PICTURE, "happy/b.png": PICTURE})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(MediaError, match="is not a whole zip archive"):
        Source(path)
    # One byte off within a picture: the archive is whole, the picture is not.
    path.write_bytes(content.replace(b"IDAT", b"IDAX", 1))
    with Source(path) as source:
        first, second = read_fer2013(source).samples
        with pytest.raises(MediaError, match=r"happy/a.png of the data set cannot be read"):
            first.load()
        assert second.load().shape == (48, 48, 3)
