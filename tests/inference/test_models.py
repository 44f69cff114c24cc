from __future__ import annotations

import numpy as np
import pytest

from faceinsight import FaceAnalyzer
from faceinsight.errors import ModelFileError
from faceinsight.inference.detector import Detector
from faceinsight.inference.session import MAX_BATCH, create_session, run_batched
from faceinsight.packs.spec import DetectorSpec, FaceModelSpec, ModelFile, VerifierSpec
from tests.toy_models import (
    genderage_table,
    toy_age_distribution,
    toy_classifier,
    toy_colour_classifier,
    toy_detector,
    toy_picture,
)


@pytest.mark.parametrize("count", [1, 3, MAX_BATCH, MAX_BATCH + 5])
def test_batches_of_any_size_keep_their_order(tmp_path, count):
    session = create_session(toy_classifier(tmp_path / "m.onnx", 4, side=32))
    batch = np.random.default_rng(0).normal(size=(count, 3, 32, 32)).astype(np.float32)
    rows = run_batched(session, batch)
    assert rows.shape == (count, 4)
    for i in (0, count - 1):
        alone = session.run(None, {"input": batch[i : i + 1]})[0][0]
        np.testing.assert_allclose(rows[i], alone, rtol=1e-4, atol=1e-5)


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"\x00\x01")
    with pytest.raises(ModelFileError, match=r"m\.onnx is not a model"):
        create_session(tmp_path / "m.onnx")


def test_an_age_distribution_gives_age_and_range(tmp_path):
    toy_detector(tmp_path / "detector.onnx")
    toy_age_distribution(tmp_path / "age.onnx")
    (tmp_path / "pack.toml").write_text(
        '[detector]\nfile = "detector.onnx"\n'
        + genderage_table("age.onnx", 'output = "age_distribution"\n').replace("1.5", "0.9")
    )
    # With red = 255 the toy's logits are -(year - 100 green)^2 / 8 but for a constant:
    # a normal distribution with a standard deviation of 2 years.
    (face,) = FaceAnalyzer(tmp_path).analyze(toy_picture({(5, 5): (255, 128, 255)})).faces
    assert face.age == pytest.approx(50.2, abs=0.7)
    low, high = face.age_range
    assert (face.age - low, high - face.age) == pytest.approx((2.56, 2.56), abs=1)


def sized(tmp_path, line="input_sizes = [[320, 320], [640, 640]]\nfinds_from = 20\n"):
    toy_detector(tmp_path / "detector.onnx")
    (tmp_path / "pack.toml").write_text(f'[detector]\nfile = "detector.onnx"\n{line}')
    return FaceAnalyzer(tmp_path)


@pytest.mark.parametrize(
    ("shape", "smallest", "sizes"),
    [
        ((640, 480), 0, ((320, 256), (640, 480))),
        ((640, 480), 20, ((320, 256), (640, 480))),
        ((640, 480), 30, ((320, 256), (448, 352))),
        ((640, 480), 40, ((320, 256),)),
        ((1280, 720), 80, ((320, 192),)),
        ((1280, 720), 40, ((320, 192), (640, 384))),
        ((480, 640), 400, ((96, 96),)),
        ((120, 100), 60, ((96, 96),)),
    ],
)
def test_the_input_shrinks_to_what_the_smallest_face_asks_for(tmp_path, shape, smallest, sizes):
    assert sized(tmp_path)._detector.input_sizes(*shape, smallest) == sizes


def test_an_input_without_a_promise_keeps_its_sizes(tmp_path):
    detector = sized(tmp_path, "input_sizes = [[320, 320]]\n")._detector
    assert detector.input_sizes(640, 480, 100) == ((320, 320),)


def test_a_region_is_searched_alone(tmp_path):
    analyzer = sized(tmp_path)
    picture = toy_picture({(1, 1): (255,) * 3, (10, 8): (255,) * 3})
    everywhere = analyzer.detect(picture)
    # 160 pixels shown at 160: the grid of the toy detector keeps its place.
    there = analyzer.detect(picture, min_face=20, region=(256, 224, 416, 384))
    assert len(everywhere) == 2
    assert [face.bbox for face in there] == [pytest.approx((320, 256, 352, 288), abs=0.01)]
    np.testing.assert_allclose(there[0].kps, next(f for f in everywhere if f.bbox[0] > 200).kps, atol=0.01)
    assert analyzer.detect(picture, region=(-50, -50, 20, 20)) == ()
    assert len(analyzer.detect(picture, min_face=20, region=(-999, -999, 9999, 9999))) == 2


@pytest.mark.parametrize(("colour", "better"), [((255, 60, 60), True), ((60, 60, 255), False)])
def test_a_verifier_settles_the_doubtful_faces_only(tmp_path, colour, better):
    model = FaceModelSpec(ModelFile("v.onnx"), (8, 8), "scaled_box", "face_box", crop_scale=0.9)
    spec = DetectorSpec(ModelFile("d.onnx"), verifier=VerifierSpec(model, (0.1, 0.95)))
    # Evidence for what is red, and against what is blue; edges at 60 / 255 of half the crop's side, by the green.
    weights = np.array([[4, 0, 0, 0, 0], [0, -1, -1, 1, 1], [-4, 0, 0, 0, 0]])
    verifier = toy_colour_classifier(tmp_path / "v.onnx", weights)
    alone = Detector(spec, create_session(toy_detector(tmp_path / "d.onnx")))
    both = Detector(spec, alone.session, create_session(verifier))
    picture = toy_picture({(2, 2): colour, (10, 2): (255,) * 3})
    sure, doubtful = alone.detect(picture, 0.01)
    assert 0.3 < doubtful.det_score < 0.6 < 0.95 < sure.det_score
    first, second = both.detect(picture, 0.01)
    assert first == sure
    reach = 60 / 255 * 0.9 * 16
    assert second.bbox == pytest.approx((80 - reach, 80 - reach, 80 + reach, 80 + reach), abs=0.2)
    assert second.kps == doubtful.kps
    # The odds are multiplied by e to the power of the evidence, and stay below those of the sure.
    logit = 4 * (colour[0] - colour[2]) / 255
    score = 1 / (1 + (1 / doubtful.det_score - 1) * np.exp(-logit))
    assert second.det_score == pytest.approx(0.5 + 0.9 * (score - 0.5) if better else score, abs=0.01)
    assert len(both.detect(picture, 0.6)) == 1 + better


def test_describing_some_stages_keeps_what_others_said(toy_analyzer, two_faces):
    faces = toy_analyzer.detect(two_faces)
    assert {(face.age, face.emotion) for face in faces} == {(None, None)}
    aged = toy_analyzer.describe(two_faces, faces, ("attributes",))
    assert all(face.age and face.emotion is None for face in aged)
    assert toy_analyzer.describe(two_faces, aged, ("emotion",)) == toy_analyzer.analyze(two_faces).faces
    assert toy_analyzer.describe(two_faces, (), None) == ()
    # One image a face: pictures of one face each make one batch.
    others = [two_faces, np.ascontiguousarray(two_faces[:, ::-1])]
    batch = toy_analyzer.describe(others, (faces[0], faces[0]))
    for one, image in zip(batch, others, strict=True):
        (alone,) = toy_analyzer.describe(image, faces[:1])
        assert one.age == pytest.approx(alone.age)
        assert one.emotion.probabilities == pytest.approx(alone.emotion.probabilities, abs=1e-5)


def pixel_pack(folder, rest=""):
    toy_detector(folder / "detector.onnx")
    weights = np.array([[3, 0], [0, 3], [0, 1]])
    toy_colour_classifier(folder / "floats.onnx", weights)
    toy_colour_classifier(folder / "pixels.onnx", weights, pixels=True)
    model = 'size = [8, 8]\ncrop = "scaled_box"\nlabels = ["a", "b"]\n'
    heads = "".join(f'[heads.{name}]\nfile = "{name}.onnx"\n{model}{rest}' for name in ("floats", "pixels"))
    (folder / "pack.toml").write_text(f'[detector]\nfile = "detector.onnx"\n{heads}')
    return folder


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_a_model_that_takes_pixels_gets_them_as_they_are(tmp_path, color):
    analyzer = FaceAnalyzer(pixel_pack(tmp_path, f'color = "{color}"\n'))
    picture = toy_picture({(1, 1): (255, 180, 90), (10, 8): (180, 255, 255)})
    faces = analyzer.analyze(picture).faces
    assert len(faces) == 2
    for face in faces:
        heads = dict(face.heads)
        assert heads["pixels"].probabilities == pytest.approx(heads["floats"].probabilities, abs=1e-5)
    assert len({dict(face.heads)["pixels"].probabilities for face in faces}) == 2


@pytest.mark.parametrize("rest", ["mean = [127.5, 127.5, 127.5]\n", "std = [128.0, 128.0, 128.0]\n"])
def test_pixels_are_not_to_be_normalised(tmp_path, rest):
    with pytest.raises(ModelFileError, match="pixels.onnx takes pixels as they are: remove 'mean' and 'std'"):
        FaceAnalyzer(pixel_pack(tmp_path, rest))


def test_pixels_have_to_be_of_the_declared_size(tmp_path):
    pack = pixel_pack(tmp_path)
    toml = (pack / "pack.toml").read_text()
    start = toml.index("[heads.pixels]")
    (pack / "pack.toml").write_text(toml[:start] + toml[start:].replace("[8, 8]", "[9, 8]"))
    with pytest.raises(ModelFileError, match="not faces of 9x8 pixels"):
        FaceAnalyzer(pack)
