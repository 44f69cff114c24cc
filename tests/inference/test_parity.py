"""Our batched results equal those of the packages whose models we run, face by face."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from hsemotion_onnx.facial_emotions import HSEmotionRecognizer
from insightface.app import FaceAnalysis

from benchmarks.pipeline import for_insightface
from faceinsight import FaceAnalyzer, load_image
from faceinsight.inference.crops import box_pixels
from faceinsight.packs import resolve
from tests.material import PHOTOS, SHARED, both, photo
from tests.toy_models import (
    EMOTIONS_7,
    EMOTIONS_8,
    emotion_table,
    genderage_table,
    toy_classifier,
    toy_detector,
    toy_genderage,
    toy_picture,
    write_toy_pack,
)

SHARED_PHOTOS = ("2007_007763.jpg", "2008_001322.jpg", "2008_002506.jpg", "group_selfie.jpg", "meeting.jpg")


def oracle(folder: Path) -> FaceAnalysis:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app = FaceAnalysis(name=str(folder), providers=["CPUExecutionProvider"])
        app.prepare(ctx_id=-1, det_thresh=0.5)
    return app


def assert_equal_faces(ours, theirs):
    assert len(ours) == len(theirs) > 0
    # Theirs come the surest first, ours as one reads them.
    ours, theirs = (sorted(faces, key=lambda face: tuple(np.round(face.bbox))) for faces in (ours, theirs))
    for face, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(face.bbox, wanted.bbox, atol=1e-3)
        np.testing.assert_allclose(face.kps, wanted.kps, atol=1e-3)
        assert face.det_score == pytest.approx(wanted.det_score, abs=1e-5)
        assert round(face.age) == wanted.age
        assert face.gender.label[0].upper() == wanted.sex


@pytest.mark.parametrize("detector", both(["compact"], ["scrfd_500m_kps.onnx", "scrfd_2.5g_kps.onnx"]))
def test_real_models_equal_insightface(tmp_path, detector):
    names, sizes = SHARED_PHOTOS, ""
    if detector == "compact":
        # Of free size, so in the two passes that FaceAnalysis makes; with a model of genderage.onnx's contract.
        names, sizes = tuple(PHOTOS), "input_sizes = [[128, 128], [640, 640]]\n"
        for_insightface(resolve("compact").paths["detector"], tmp_path / "detector.onnx")
        toy_genderage(tmp_path / "genderage.onnx")
    else:
        shutil.copy(SHARED / "models" / detector, tmp_path / "detector.onnx")
        shutil.copy(SHARED / "models" / "genderage.onnx", tmp_path)
    (tmp_path / "pack.toml").write_text(
        'title = "Real"\n[detector]\nfile = "detector.onnx"\n' + sizes + genderage_table("genderage.onnx")
    )
    app, analyzer = oracle(tmp_path), FaceAnalyzer(tmp_path)
    for name in names:
        rgb = load_image(photo(name)).pixels
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        assert_equal_faces(analyzer.analyze(rgb).faces, app.get(bgr))


def test_a_detector_of_free_size_equals_insightface(tmp_path, two_faces):
    """The two passes that FaceAnalysis makes by default, as the buffalo packs declare them."""
    toy_detector(tmp_path / "a" / "detector.onnx")
    toy_genderage(tmp_path / "a" / "genderage.onnx")
    pack = write_toy_pack(tmp_path / "b")
    text = (pack / "pack.toml").read_text()
    text = text.replace("[attributes]", "input_sizes = [[128, 128], [640, 640]]\n[attributes]").replace(
        "crop_scale = 1.0", "crop_scale = 1.5"
    )
    (pack / "pack.toml").write_text(text)
    # A block of 160 pixels is one cell of the grid in the pass at 128 pixels.
    two_faces[320:480, 160:320] = (255, 255, 255)
    ours = FaceAnalyzer(pack).analyze(two_faces).faces
    assert max(face.width for face in ours) == pytest.approx(160, abs=0.5)
    assert_equal_faces(ours, oracle(tmp_path / "a").get(two_faces[..., ::-1].copy()))


@pytest.mark.parametrize(
    ("name", "side", "labels", "output"),
    [
        ("enet_b0_8_best_vgaf", 224, EMOTIONS_8, "classes"),
        ("enet_b0_7_toy", 224, EMOTIONS_7, "classes"),
        ("enet_b2_8", 260, EMOTIONS_8, "classes"),
        ("enet_b0_8_va_mtl", 224, EMOTIONS_8, "classes_valence_arousal"),
    ],
)
def test_emotions_equal_hsemotion(isolated_home, tmp_path, name, side, labels, output):
    extra = 2 * (output != "classes")
    toy_classifier(isolated_home / ".hsemotion" / f"{name}.onnx", len(labels) + extra, side)
    recognizer = HSEmotionRecognizer(name)
    toy_detector(tmp_path / "detector.onnx")
    (tmp_path / "pack.toml").write_text(
        '[detector]\nfile = "detector.onnx"\n' + emotion_table(f"{name}.onnx", labels, side, f'output = "{output}"\n')
    )
    picture = toy_picture({(3, 2): (255, 240, 200), (10, 8): (200, 100, 255), (0, 0): (255,) * 3})
    picture = cv2.GaussianBlur(picture, (0, 0), 5)  # something to see within a crop
    faces = FaceAnalyzer(tmp_path).analyze(picture, det_threshold=0.3).faces
    assert len(faces) == 3
    for face in faces:
        x1, y1, x2, y2 = box_pixels(picture, face.bbox)
        label, scores = recognizer.predict_emotions(picture[y1:y2, x1:x2], logits=False)
        assert face.emotion.label == label
        np.testing.assert_allclose(face.emotion.probabilities, scores[: len(labels)], atol=1e-5)
        if extra:
            np.testing.assert_allclose((face.valence, face.arousal), scores[-2:], atol=1e-4)


@pytest.mark.parametrize("pack", ["buffalo_s", "buffalo_l"])
def test_the_catalogue_declares_hsemotion_as_the_package_runs_it(pack, isolated_home):
    from faceinsight.packs import load_spec

    spec = dict(load_spec(pack).face_models)["emotion"]
    name = spec.file.name.removesuffix(".onnx")
    toy_classifier(isolated_home / ".hsemotion" / spec.file.name, 8, side=spec.size[0])
    recognizer = HSEmotionRecognizer(name)
    assert (recognizer.img_size, recognizer.img_size) == spec.size
    assert tuple(recognizer.idx_to_class.values()) == spec.labels
    grey = np.full((50, 40, 3), 130, np.uint8)
    wanted = recognizer.preprocess(grey)[0]
    ours = (130 - np.array(spec.mean)) / np.array(spec.std)
    np.testing.assert_allclose(wanted[:, 0, 0], ours, atol=1e-5)
