"""The pack that comes with the repository: real faces, real answers, with nothing beside it."""

from __future__ import annotations

from pathlib import Path

import insightface
import pytest
import skimage

from benchmarks.sessions import SHAPES, measure
from faceinsight import FaceAnalyzer, load_image
from faceinsight.packs import resolve
from tests.material import BOXES, SHARED, both, photo

MAX_BYTES = 12_000_000


@pytest.fixture(scope="module")
def analyzer():
    return FaceAnalyzer("compact")


@pytest.fixture(scope="module")
def astronaut():
    return load_image(Path(skimage.__file__).parent / "data" / "astronaut.png").pixels


@pytest.fixture(scope="module")
def friends():
    return load_image(Path(insightface.__file__).parent / "data" / "images" / "t1.jpg").pixels


def test_it_is_whole_small_and_the_default():
    pack = resolve()
    assert pack.spec.name == "compact"
    assert pack.missing == {}
    assert set(pack.paths) == {"detector", "verifier", "attributes", "emotion"}
    assert sum(path.stat().st_size for path in pack.paths.values()) < MAX_BYTES
    for file in pack.spec.files.values():
        assert file.sha256
        assert "research" in file.licence.lower()


def test_one_face(analyzer, astronaut):
    (face,) = analyzer.analyze(astronaut).faces
    x1, y1, x2, y2 = face.bbox
    assert (x1 + x2) / 2 == pytest.approx(224, abs=15)
    assert (y1 + y2) / 2 == pytest.approx(120, abs=20)
    left_eye, right_eye, nose, left_mouth, right_mouth = face.kps
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_eye[1] < nose[1] < left_mouth[1]
    assert left_mouth[0] < right_mouth[0]
    assert 20 <= face.age <= 55  # she was 35
    assert face.age_range[0] <= face.age <= face.age_range[1]
    assert face.gender.label == "female"
    assert face.emotion.label == "Happiness"


def test_whatever_scores_enough_has_a_box(analyzer, friends):
    # The network makes no boxes where there is no score; what is no score, it is told.
    faces = analyzer.detect(friends, det_threshold=1e-4)
    assert min(face.det_score for face in faces) < 0.01
    for face in faces:
        x1, y1, x2, y2 = face.bbox
        assert min(x2 - x1, y2 - y1) > 4
        assert len(set(face.kps)) == 5


# Where the six people of the picture have their noses, and who they are.
PEOPLE = {
    (114, 329): "female",
    (320, 206): "female",
    (519, 341): "male",
    (796, 410): "male",
    (959, 129): "male",
    (1179, 335): "female",
}


def face_at(faces, x, y):
    return next((f for f in faces if f.bbox[0] < x < f.bbox[2] and f.bbox[1] < y < f.bbox[3]), None)


def test_six_faces(analyzer, friends):
    faces = analyzer.analyze(friends).faces
    assert 6 <= len(faces) <= 8
    found = {place: face_at(faces, *place) for place in PEOPLE}
    assert all(found.values())
    right = sum(found[place].gender.label == gender for place, gender in PEOPLE.items())
    assert right >= 5
    assert all(15 <= face.age <= 55 for face in found.values())


def people_by_eye(request):
    return [(photo(name), boxes) for name, boxes in BOXES.items()]


def people_by_a_larger_detector(request):
    larger = request.getfixturevalue("real_analyzer")
    photos = sorted((SHARED / "photos").glob("*.jpg"))
    return [
        (path, [f.bbox for f in larger.analyze(load_image(path).pixels, det_threshold=0.6).faces]) for path in photos
    ]


@pytest.mark.parametrize(("seen_by", "count"), both([(people_by_eye, 8)], [(people_by_a_larger_detector, 25)]))
def test_it_finds_the_faces_that_others_find(request, analyzer, seen_by, count):
    found = wanted = 0
    for path, boxes in seen_by(request):
        ours = analyzer.analyze(load_image(path).pixels).faces
        for x1, y1, x2, y2 in boxes:
            wanted += 1
            found += face_at(ours, (x1 + x2) / 2, (y1 + y2) / 2) is not None
    assert wanted >= count
    assert found >= 0.9 * wanted


def test_the_benchmark_of_sessions_feeds_its_models_what_they_take():
    times, _, _ = measure("as shipped", rounds=1)
    assert set(times) == set(SHAPES)
    assert all(ms > 0 for ms in times.values())
