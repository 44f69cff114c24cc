"""The emotion network's data, start and schedule, on pictures of chance; skipped where PyTorch is not installed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage

torch = pytest.importorskip("torch", reason="PyTorch is not installed: only training needs it")
pytest.importorskip("onnx", reason="onnx is not installed: only training needs it")

from faceinsight import FaceAnalyzer  # noqa: E402
from faceinsight.inference.crops import scaled_box_crop  # noqa: E402
from faceinsight.inference.session import create_session, run_batched  # noqa: E402
from faceinsight.packs.locate import bundled_models  # noqa: E402
from training import emotion, loop, warm  # noqa: E402
from training.data import EMOTIONS, TEST_FOLD, fold, read_expressions  # noqa: E402
from training.loop import Loop, Plan, answers  # noqa: E402
from training.muon import orthogonal  # noqa: E402
from training.networks import Classifier, Mirrored  # noqa: E402
from training.networks import emotion as network_of_emotions  # noqa: E402
from training.spoiling import SIZE, alignment, as_rgb, augmented, middle  # noqa: E402
from training.warm import stored_layers  # noqa: E402
from training.wild import Wild, read_wild  # noqa: E402

SHIPPED = bundled_models() / "compact" / "emotion.onnx"


def jpeg(seed):
    picture = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE), np.uint8)
    return cv2.imencode(".jpg", picture)[1].tobytes()


@pytest.fixture
def fer2013(tmp_path):
    """A FER2013 of a few pictures, and what ten people said about them."""
    files = {
        "public_test/happy/PublicTest_1.jpg": jpeg(0),
        "train/angry/Training_1.jpg": jpeg(1),  # clear
        "train/sad/Training_2.jpg": jpeg(2),  # disputed
        "train/fear/Training_3.jpg": jpeg(0),  # in the test split
        "train/angry/Training_4.jpg": jpeg(4),  # twice, with two labels
        "train/fear/Training_5.jpg": jpeg(4),
        "train/happy/Training_6.jpg": jpeg(6),  # nobody knows
        "train/happy/Training_7.jpg": jpeg(7),  # nobody voted
    }
    votes = {  # anger, contempt, disgust, fear, happiness, neutral, sadness, surprise, unknown, no_face
        "test/happy/PublicTest_1.jpg": [0, 0, 0, 0, 9, 1, 0, 0, 0, 0],
        "train/angry/Training_1.jpg": [1, 6, 0, 0, 0, 2, 0, 0, 1, 0],
        "train/sad/Training_2.jpg": [0, 0, 0, 0, 0, 5, 5, 0, 0, 0],
        "train/fear/Training_3.jpg": [0, 0, 0, 10, 0, 0, 0, 0, 0, 0],
        "train/angry/Training_4.jpg": [18, 0, 0, 2, 0, 0, 0, 0, 0, 0],
        "train/fear/Training_5.jpg": [18, 0, 0, 2, 0, 0, 0, 0, 0, 0],
        "train/happy/Training_6.jpg": [0, 0, 0, 0, 3, 0, 0, 0, 6, 1],
    }
    with zipfile.ZipFile(tmp_path / "fer2013.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    lines = ["file," + ",".join(emotion.EMOTIONS).lower() + ",unknown,no_face"]
    lines += [",".join([name, *map(str, row)]) for name, row in votes.items()]
    (tmp_path / "ferplus.csv").write_text("\n".join(lines))
    return tmp_path


def test_votes_become_shares_without_slips_of_one(fer2013):
    data = read_expressions(fer2013 / "fer2013.zip", fer2013 / "ferplus.csv")
    assert [name[-5] for name in data.names] == ["1", "4", "2"]
    shares = {
        name[-5]: dict(zip(EMOTIONS, row, strict=True)) for name, row in zip(data.names, data.shares, strict=True)
    }
    assert shares["1"]["Contempt"] == 0.75
    assert shares["1"]["Neutral"] == 0.25
    assert shares["1"]["Anger"] == 0
    assert shares["2"]["Neutral"] == shares["2"]["Sadness"] == 0.5
    assert shares["4"]["Anger"] == pytest.approx(0.9)
    assert [EMOTIONS[i] if i >= 0 else None for i in data.labels] == ["Contempt", "Anger", None]


def test_without_votes_the_own_label_is_the_only_vote(fer2013):
    data = read_expressions(fer2013 / "fer2013.zip")
    # Neither what is in the test split nor what carries two labels; disputed pictures have one label all the same.
    assert [name[-5] for name in data.names] == ["1", "6", "7", "2"]
    assert [EMOTIONS[i] for i in data.labels] == ["Anger", "Happiness", "Happiness", "Sadness"]
    assert data.shares.sum() == len(data.names)
    assert data.shares.max() == 1


def test_a_network_read_from_the_8_bit_file_answers_as_the_file_does():
    pictures = as_rgb(np.random.default_rng(0).integers(0, 256, (32, SIZE, SIZE), np.uint8))
    wanted = run_batched(create_session(SHIPPED, threads=1), pictures)
    for blocks in ((1, 2, 2, 1), (2, 3, 2, 2)):  # further blocks change nothing
        network = Classifier(8, (48, 96, 192, 192), blocks, stem=24, grey=True).eval()
        emotion.begin(network, SHIPPED, pictures)
        got = answers(Mirrored(network), pictures)
        assert np.abs(got - wanted).mean() < 0.1 * np.abs(wanted).mean()


def test_rows_of_a_file_without_contempt_go_to_their_places(monkeypatch):
    layers, (weight, bias) = stored_layers(SHIPPED)
    rows = [0, 2, 3, 4, 5, 6, 7]
    monkeypatch.setattr(warm, "stored_layers", lambda _: (layers.copy(), (weight[rows], bias[rows])))
    monkeypatch.setattr(emotion, "stored_layers", warm.stored_layers)
    network = network_of_emotions()
    fresh = network.last.weight[1].clone()
    emotion.begin(network, SHIPPED, np.zeros((2, SIZE, SIZE, 3), np.uint8))
    torch.testing.assert_close(network.last.weight[rows], weight[rows])
    torch.testing.assert_close(network.last.weight[1], fresh)


def test_augmented_faces_keep_size_and_mirror_half_of_the_time():
    rng = np.random.default_rng(0)
    picture = np.zeros((72, 72), np.uint8)
    picture[:, 36:] = 200
    points = np.array([[28, 30], [44, 30], [36, 38], [30, 46], [42, 46]], np.float32)
    for five in (None, points):
        crops = [augmented(picture, rng, points=five) for _ in range(200)]
        assert {crop.shape for crop in crops} == {(SIZE, SIZE)}
        mirrored = sum(float(crop[:, : SIZE // 2].mean()) > crop[:, SIZE // 2 :].mean() for crop in crops)
        assert 70 < mirrored < 130
    assert middle(picture[None]).shape == (1, SIZE, SIZE)


def test_alignment_puts_eyes_and_mouth_where_they_belong_whatever_the_mouth_does():
    for down in (40, 60):
        points = np.array([[20, 20], [40, 22], [30, 30], [22, down], [38, down]], np.float32)
        left, right, mouth = (
            alignment(points) @ [x, y, 1] for x, y in (points[0], points[1], (points[3] + points[4]) / 2)
        )
        assert left[1] == pytest.approx(right[1])
        assert (left[0] + right[0]) / 2 == pytest.approx(SIZE / 2)
        assert (right[0] - left[0]) / (mouth[1] - left[1]) == pytest.approx(1.25)


def test_rare_emotions_come_more_often():
    targets = np.eye(8, dtype=np.float32)[[0] * 900 + [1] * 100]
    times = emotion.repeats(targets, np.random.default_rng(0))
    assert times.mean() == pytest.approx(2, rel=0.05)
    assert times[900:].mean() == pytest.approx(3 * times[:900].mean(), rel=0.15)


def test_a_label_of_the_web_moves_the_teachers_opinion_as_far_as_it_is_worth(monkeypatch):
    names = ["sad/a.jpg"] * 50 + ["angry/b.jpg"] * 50 + ["c.jpg"]
    seen = np.full((101, 8), 0.02, np.float32)
    seen[:50, 6], seen[50:100, 0], seen[100, 5] = 0.86, 0.86, 0.86
    seen[0, [0, 6]] = 0.44, 0.44  # torn between anger and sadness, found as sad
    monkeypatch.setattr(emotion, "opinions", lambda *_: seen)
    web = Wild(np.zeros((101, 72, 72), np.uint8), np.zeros((101, 5, 2), np.float32), names)
    said = emotion.web_opinions([], web)
    np.testing.assert_allclose(said.sum(1), 1, rtol=1e-5)
    assert said[0, 6] > 0.8 > 0.2 > said[0, 0]
    assert said[100].argmax() == 5


def test_real_faces_are_cut_as_the_app_cuts_them_and_only_once(tmp_path):
    photo = cv2.imread(str(Path(skimage.__file__).parent / "data" / "astronaut.png"))[:, :480]
    names = [f"sad/{i}.jpg" for i in range(30)]
    held_back = next(name for name in names if fold(name.removeprefix("sad/")) == TEST_FOLD)
    taken = next(name for name in names if fold(name.removeprefix("sad/")) != TEST_FOLD)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in (held_back, taken):
            archive.writestr(name, cv2.imencode(".jpg", photo)[1].tobytes())
    web = read_wild([tmp_path / "photos.zip"], tmp_path / "wild.npz")
    assert web.names == [taken]
    assert [EMOTIONS[label] for label in web.labels] == ["Sadness"]
    (tmp_path / "photos.zip").unlink()
    again = read_wild([tmp_path / "photos.zip"], tmp_path / "wild.npz")
    np.testing.assert_array_equal(again.pictures, web.pictures)
    rgb = np.ascontiguousarray(photo[..., ::-1])
    (face,) = FaceAnalyzer("compact", threads=1).detect(rgb, det_threshold=0.6)
    wanted = cv2.cvtColor(scaled_box_crop(rgb, face.bbox, (SIZE, SIZE), 1.0), cv2.COLOR_RGB2GRAY)
    assert np.abs(middle(web.pictures)[0].astype(int) - wanted).mean() < 4
    left, right, _, left_mouth, right_mouth = web.points[0]
    assert 12 < left[0] < right[0] < 60
    assert left[1] < left_mouth[1] < 60 > right_mouth[1]


@pytest.mark.parametrize("labels", ["votes", "own"])
def test_a_short_training_leaves_a_checkpoint_and_goes_on(tmp_path, labels, monkeypatch):
    names = [f"train/{folder}/Training_{i}.jpg" for i in range(60) for folder in ("happy", "sad")]
    with zipfile.ZipFile(tmp_path / "fer2013.zip", "w") as archive:
        for i, name in enumerate(names):
            archive.writestr(name, jpeg(i))
    rows = [[0] * 4 + ([9, 1, 0] if "happy" in name else [0, 2, 8]) + [0] * 3 for name in names]
    lines = ["file," + ",".join(EMOTIONS).lower() + ",unknown,no_face"]
    lines += [",".join([name, *map(str, row)]) for name, row in zip(names, rows, strict=True)]
    (tmp_path / "ferplus.csv").write_text("\n".join(lines))
    assert any(fold(name) == 1 for name in names)
    options = ["--data", str(tmp_path / "fer2013.zip"), "--votes", str(tmp_path / "ferplus.csv"), "--batch", "8"]
    options += ["--labels", labels, "--out", str(tmp_path / "run"), "--every", "2", "--threads", "1"]
    for steps, more in (("2", []), ("4", ["--resume"])):
        monkeypatch.setattr("sys.argv", ["emotion", *options, "--steps", steps, *more])
        emotion.main()
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 4
    assert (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0].startswith("step,minutes,cross,right")


def test_votes_must_be_given(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["emotion", "--data", "x.zip", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        emotion.main()
    assert "ferplus.csv" in capsys.readouterr().err


@pytest.mark.parametrize("slow", [torch.bfloat16, torch.float32])
def test_training_computes_in_what_the_processor_is_faster_in(slow, monkeypatch, tmp_path, capsys):
    clock = iter(
        [t for d in (torch.float32, torch.bfloat16) for i in range(5) for t in (i, i + (2 if d is slow else 1))]
    )
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(clock, 99.0))
    fastest = {torch.bfloat16: torch.float32, torch.float32: torch.bfloat16}[slow]
    training = Loop(network_of_emotions(), Plan(steps=1, rate=1e-3), tmp_path)
    assert training.dtype is fastest
    assert f"computing in {fastest}" in capsys.readouterr().out
    seen = []
    monkeypatch.setattr("training.muon.orthogonal", lambda m, dtype: seen.append(dtype) or orthogonal(m, dtype))
    training.update({"sum": training.model(torch.zeros(2, 3, SIZE, SIZE)).sum()})
    assert set(seen) == {fastest}
