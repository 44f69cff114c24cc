from __future__ import annotations

import subprocess
import threading

import numpy as np
import pytest
from PIL import Image

from faceinsight import FaceAnalyzer, MediaError, ModelFileError, PackError, load_image
from tests.conftest import ROOT
from tests.material import both, photo
from tests.toy_models import (
    BLOCK,
    EMOTIONS_8,
    TOY_KPS,
    emotion_table,
    genderage_table,
    toy_classifier,
    toy_detector,
    toy_genderage,
    toy_picture,
)


def test_every_face_gets_its_own_answers(toy_analyzer, two_faces):
    result = toy_analyzer.analyze(two_faces)
    assert (result.width, result.height, result.pack) == (640, 480, "toy")
    assert result.stages == ("detector", "attributes", "emotion")
    assert result.missing == ()
    first, second = result.faces
    assert first.bbox == pytest.approx((96, 64, 128, 96), abs=0.01)
    assert second.bbox == pytest.approx((320, 256, 352, 288), abs=0.01)
    assert first.det_score > second.det_score > 0.5
    np.testing.assert_allclose(first.kps, TOY_KPS * BLOCK + (96, 64), atol=0.01)
    assert first.age == pytest.approx(94, abs=2.5)
    assert second.age == pytest.approx(39, abs=2.5)
    assert (first.gender.label, second.gender.label) == ("female", "male")
    assert first.emotion.labels == EMOTIONS_8
    assert sum(first.emotion.probabilities) == pytest.approx(1, abs=1e-5)
    assert first.emotion != second.emotion


def test_the_order_of_colours_matters(toy_analyzer, two_faces):
    swapped = toy_analyzer.analyze(np.ascontiguousarray(two_faces[..., ::-1]))
    genders = {round(f.bbox[0]): f.gender.label for f in swapped.faces}
    assert genders == {96: "male", 320: "female"}


def test_threshold_and_smallest_face(toy_analyzer, two_faces):
    sure = toy_analyzer.analyze(two_faces).faces[1].det_score + 1e-4
    assert len(toy_analyzer.analyze(two_faces, det_threshold=sure).faces) == 1
    assert len(toy_analyzer.analyze(two_faces, min_face=BLOCK - 1).faces) == 2
    assert toy_analyzer.analyze(two_faces, min_face=BLOCK + 1).faces == ()


def test_no_face(toy_analyzer):
    result = toy_analyzer.analyze(toy_picture({}))
    assert result.faces == ()
    assert result.largest is None
    assert result.elapsed_ms > 0


def test_a_hundred_faces_in_one_picture(toy_analyzer):
    cells = [(column, row) for row in range(0, 20, 2) for column in range(0, 20, 2)]
    colors = {cell: (255, 130 + n, 200) for n, cell in enumerate(cells)}
    result = toy_analyzer.analyze(toy_picture(colors, size=(640, 640)))
    assert len(result.faces) == 100
    ages = {(round(f.bbox[0]) // 32, round(f.bbox[1]) // 32): f.age for f in result.faces}
    # Greens, and so ages, rise from cell to cell: a mixed-up batch would break the order.
    in_order = [ages[cell] for cell in cells]
    assert in_order == sorted(in_order)
    assert in_order[0] == pytest.approx(130 / 2.55, abs=2.5)
    assert in_order[-1] == pytest.approx(229 / 2.55, abs=2.5)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (7, 5)])
def test_tiny_and_thin_pictures_hold_no_face(toy_analyzer, size):
    assert toy_analyzer.analyze(np.zeros((*size, 3), np.uint8)).faces == ()


@pytest.mark.parametrize(
    "image",
    [
        None,
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_image_is_refused(toy_analyzer, image):
    with pytest.raises(MediaError, match="give an array of shape"):
        toy_analyzer.analyze(image)


def test_a_stage_without_its_file_is_left_out_and_said(tmp_path):
    toy_detector(tmp_path / "detector.onnx")
    toy_genderage(tmp_path / "genderage.onnx")
    (tmp_path / "pack.toml").write_text(
        '[detector]\nfile = "detector.onnx"\n'
        + genderage_table("genderage.onnx")
        + emotion_table("absent.onnx", EMOTIONS_8)
    )
    result = FaceAnalyzer(tmp_path).analyze(toy_picture({(1, 1): (255, 255, 255)}))
    assert result.stages == ("detector", "attributes")
    assert dict(result.missing)["emotion"].startswith("absent.onnx is not here")
    (face,) = result.faces
    assert face.emotion is None
    assert face.age is not None


def test_a_pack_without_detector_is_refused(tmp_path):
    toy_genderage(tmp_path / "genderage.onnx")
    (tmp_path / "pack.toml").write_text(genderage_table("genderage.onnx"))
    with pytest.raises(PackError, match="cannot find faces.*choose another pack"):
        FaceAnalyzer(tmp_path)


def test_a_further_head_needs_no_code(tmp_path, two_faces):
    toy_detector(tmp_path / "detector.onnx")
    toy_classifier(tmp_path / "glasses.onnx", 2, side=64)
    (tmp_path / "pack.toml").write_text(
        '[detector]\nfile = "detector.onnx"\n'
        '[heads.glasses]\nfile = "glasses.onnx"\nsize = [64, 64]\ncrop = "aligned"\n'
        'labels = ["none", "glasses"]\ntemperature = 2.0\n'
    )
    result = FaceAnalyzer(tmp_path).analyze(two_faces)
    assert result.stages == ("detector", "glasses")
    for face in result.faces:
        ((name, answer),) = face.heads
        assert name == "glasses"
        assert answer.labels == ("none", "glasses")


def test_a_fixed_batch_axis_changes_no_answer(tmp_path, toy_analyzer, two_faces):
    toy_detector(tmp_path / "detector.onnx")
    toy_genderage(tmp_path / "genderage.onnx", batch=1)
    (tmp_path / "pack.toml").write_text(
        '[detector]\nfile = "detector.onnx"\n' + genderage_table("genderage.onnx").replace("1.5", "1.0")
    )
    ages = [face.age for face in FaceAnalyzer(tmp_path).analyze(two_faces).faces]
    assert ages == pytest.approx([f.age for f in toy_analyzer.analyze(two_faces).faces], abs=1e-3)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ('[detector]\nfile = "genderage.onnx"\n', "is no SCRFD detector"),
        (
            '[detector]\nfile = "detector.onnx"\n' + genderage_table("genderage.onnx").replace("[96, 96]", "[80, 80]"),
            "not faces of 80x80 pixels",
        ),
        (
            '[detector]\nfile = "detector.onnx"\n' + emotion_table("emotion.onnx", EMOTIONS_8),
            "gives 3 values a face, and the pack declares 8",
        ),
        ('[detector]\nfile = "text.onnx"\n', "not a model that ONNX Runtime can run"),
    ],
)
def test_a_model_that_does_not_fit_its_declaration(tmp_path, table, sentence):
    toy_detector(tmp_path / "detector.onnx")
    toy_genderage(tmp_path / "genderage.onnx")
    toy_classifier(tmp_path / "emotion.onnx", 3)
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "pack.toml").write_text(table)
    with pytest.raises(ModelFileError, match=sentence):
        FaceAnalyzer(tmp_path)


def test_threads_share_one_analyzer(toy_analyzer):
    pictures = [toy_picture({(n, 3): (255, 120 + 8 * n, 210)}) for n in range(12)]
    alone = [toy_analyzer.analyze(picture).faces for picture in pictures]
    together: dict[int, object] = {}

    def work(n: int) -> None:
        together[n] = toy_analyzer.analyze(pictures[n]).faces

    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[n] for n in range(12)] == alone


# Real models and photos from here on.

OWN_PHOTO_FACES = {"astronaut.png": 1, "grace_hopper.jpg": 1, "t1.jpg": 6}
PHOTO_FACES = {
    "2007_007763.jpg": 7,
    "2008_001322.jpg": 3,
    "2008_002506.jpg": 3,
    "group_selfie.jpg": 5,
    "meeting.jpg": 5,
    "obama_and_biden.jpg": 2,
}


@pytest.mark.parametrize(("name", "count"), both([*OWN_PHOTO_FACES.items()], [*PHOTO_FACES.items()]))
def test_real_photos(analyzer_for, name, count):
    result = analyzer_for(name).analyze(load_image(photo(name)).pixels, det_threshold=0.6)
    # A further person on a screen or in the crowd may be seen as well.
    assert count <= len(result.faces) <= count + 1
    for face in result.faces:
        assert 0 < face.age < 100
        assert face.gender.confidence > 0.5
        assert (face.emotion is None) == ("emotion" not in result.stages)


@pytest.mark.parametrize(("name", "age"), both([("t1.jpg", 18)], [("obama_and_biden.jpg", 40)]))
def test_known_people_in_a_real_photo(analyzer_for, name, age):
    result = analyzer_for(name).analyze(load_image(photo(name)).pixels)
    grown_men = [f for f in result.faces if f.gender.label == "male" and f.age > age]
    assert len(grown_men) >= 2


ONE_OF_THEM = both(
    [("astronaut.png", (145, 35, 305, 215))],
    [("obama_and_biden.jpg", (1080, 300, 1400, 660))],
)


@pytest.mark.parametrize(("name", "box"), ONE_OF_THEM)
def test_a_real_crowd_of_a_hundred(analyzer_for, name, box):
    tile = np.asarray(Image.fromarray(load_image(photo(name)).pixels).crop(box).resize((96, 108)))
    result = analyzer_for(name).analyze(np.tile(tile, (10, 10, 1)))
    assert 95 <= len(result.faces) <= 105
    assert np.std([face.age for face in result.faces]) < 15


def test_no_weights_of_others_are_in_the_repository():
    listed = subprocess.run(
        ["git", "ls-files", "*.onnx", "*.jpg", "*.mp4"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    ours = ("assets/models/compact/", "assets/screenshots/")
    assert [name for name in listed if not name.startswith(ours)] == []


def test_many_images_are_answered_as_each_alone(toy_analyzer, two_faces):
    images = [two_faces, np.zeros((64, 64, 3), np.uint8), two_faces[:240]]
    together = toy_analyzer.analyze_many(images)
    assert [len(analysis.faces) for analysis in together] == [2, 0, 1]
    for image, analysis in zip(images, together, strict=True):
        assert analysis.faces == toy_analyzer.analyze(image).faces
        assert (analysis.width, analysis.height) == (image.shape[1], image.shape[0])
    assert toy_analyzer.analyze_many([]) == []


def test_a_path_is_read(toy_analyzer, two_faces, tmp_path):
    Image.fromarray(two_faces).save(tmp_path / "a.png")
    wanted = toy_analyzer.analyze(two_faces).faces
    assert toy_analyzer.analyze(tmp_path / "a.png").faces == wanted
    assert toy_analyzer.analyze(str(tmp_path / "a.png")).faces == wanted
    with pytest.raises(MediaError, match=f"{tmp_path / 'nothing.png'} cannot be read"):
        toy_analyzer.analyze(tmp_path / "nothing.png")
