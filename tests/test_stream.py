from __future__ import annotations

import statistics
from dataclasses import replace

import cv2
import numpy as np
import pytest

from faceinsight import Classification, Face, FaceAnalyzer, FaceStream, FrameAnalysis, MediaError, load_image
from faceinsight.media.video import read_frames
from faceinsight.stream import CutDetector
from tests.material import CUTS, both
from tests.material import photo as find_photo
from tests.toy_models import toy_picture

SIZE = 60
BLANK = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)


class ScriptedAnalyzer:
    """Stands for a FaceAnalyzer: finds the faces it is told of, and moves a clock by what that should cost."""

    stages = ("detector", "attributes", "emotion")

    def __init__(self, monkeypatch, full_ms=30.0, region_ms=3.0, face_ms=4.0):
        self.places = []
        self.clock = 0.0
        self.full_ms, self.region_ms, self.face_ms = full_ms, region_ms, face_ms
        self.searches, self.asked = [], []
        monkeypatch.setattr("faceinsight.stream.time.perf_counter", lambda: self.clock / 1000)

    def detect(self, image, *, det_threshold=0.5, min_face=0, region=None):
        self.clock += self.full_ms if region is None else self.region_ms
        self.searches.append(region)
        x1, y1, x2, y2 = region or (0, 0, 640, 480)
        half = SIZE / 2
        return tuple(
            Face((x - half, y - half, x + half, y + half), 0.9)
            for x, y in self.places
            if x1 <= x <= x2 and y1 <= y <= y2
        )

    def describe(self, image, faces, stages=None):
        self.clock += self.face_ms * len(faces)
        (stage,) = stages
        self.asked.append((stage, len(faces)))
        if stage == "attributes":
            sure = Classification(("female", "male"), (0.95, 0.05))
            return tuple(replace(face, age=30.0, gender=sure) for face in faces)
        calm = Classification(("Happiness", "Neutral"), (0.2, 0.8))
        return tuple(replace(face, emotion=calm) for face in faces)

    def result(self, image, faces, timings):
        return FrameAnalysis(640, 480, tuple(faces), "scripted", self.stages, timings=tuple(timings))


@pytest.fixture
def scripted(monkeypatch):
    return ScriptedAnalyzer(monkeypatch)


def play(stream, analyzer, seconds, places, fps=20, start=0.0):
    """Returns the analyses of a scripted film; `places` is the faces' centres, or makes them from the time."""
    results = []
    for n in range(round(seconds * fps)):
        now = start + n / fps
        analyzer.places = places(now) if callable(places) else places
        results.append(stream.process(BLANK, now))
    return results


def ids(results):
    return [[face.track_id for face in result.faces] for result in results]


def test_faces_are_followed_by_searching_around_them(scripted):
    stream = FaceStream(scripted)
    results = play(stream, scripted, 4, lambda t: [(60 + 40 * t, 200), (550, 100 + 40 * t)])
    assert ids(results) == [[1, 2]] * 80
    whole = [region for region in scripted.searches if region is None]
    assert 8 <= len(whole) <= 14
    assert len(scripted.searches) - len(whole) >= 2 * 60
    for region in filter(None, scripted.searches):
        assert region[2] - region[0] < 300


def test_faces_side_by_side_are_searched_for_together(scripted):
    play(FaceStream(scripted), scripted, 1, [(300, 200), (380, 200)])
    regions = [region for region in scripted.searches if region]
    assert len(regions) >= 15
    assert all(x1 < 250 and x2 > 430 for x1, _, x2, _ in regions)


def test_a_lost_face_is_searched_for_in_the_whole_frame_at_once(scripted):
    stream = FaceStream(scripted)
    play(stream, scripted, 0.2, [(100, 200)])
    scripted.searches.clear()
    (result,) = play(stream, scripted, 0.05, [(420, 300)], start=0.2)
    assert scripted.searches[-1] is None
    assert len(result.faces) == 1
    assert result.faces[0].track_id is None


def test_answers_are_asked_for_often_at_first_and_seldom_later(scripted):
    results = play(FaceStream(scripted), scripted, 20, [(100, 200)])
    asked = [stage for stage, _ in scripted.asked]
    assert 110 <= asked.count("emotion") <= 140
    assert 15 <= asked.count("attributes") <= 40
    assert all(face.age == pytest.approx(30) for result in results for face in result.faces)
    stages = [[stage for stage, _ in result.timings] for result in results[:2]]
    assert stages == [["detector", "attributes", "emotion"], ["detector", "attributes"]]
    (face,) = results[-1].faces
    assert face.raw is not None
    assert face.raw.bbox == (70, 170, 130, 230)


def test_the_budget_holds_and_everybody_gets_a_turn(scripted):
    places = [(80 + 120 * column, 80 + 160 * row) for column in range(5) for row in range(3)]
    stream = FaceStream(scripted, budget_ms=50)
    results = play(stream, scripted, 10, places)
    assert ids(results) == [list(range(1, 16))] * 200
    assert max(result.elapsed_ms for result in results) <= 50
    assert all(face.age and face.emotion for face in results[40].faces)


def test_a_budget_too_small_for_anything_slows_the_answers_and_keeps_the_ids(scripted):
    stream = FaceStream(scripted, budget_ms=1)
    results = play(stream, scripted, 6, lambda t: [(100 + 30 * t, 100), (500, 300)])
    assert ids(results) == [[1, 2]] * 120
    assert all(face.age and face.emotion for face in results[10].faces)
    assert statistics.median(result.elapsed_ms for result in results) <= 10


def test_without_a_budget_every_frame_is_searched_and_asked_for_expressions(scripted):
    play(FaceStream(scripted, budget_ms=None), scripted, 1, [(100, 200), (500, 200)])
    assert scripted.searches == [None] * 20
    assert scripted.asked.count(("emotion", 2)) == 20
    # Who somebody is changes less: asked for often at first, then some three times a second.
    assert scripted.asked[:4] == [("attributes", 2), ("emotion", 2)] * 2
    assert 5 <= scripted.asked.count(("attributes", 2)) <= 8


def test_faces_that_are_found_before_give_the_same_answers(scripted):
    def places(time):
        return [(100 + 300 * time, 200), (500, 200)]

    results = play(FaceStream(scripted, budget_ms=None), scripted, 1, places)
    stream = FaceStream(scripted, budget_ms=None)
    for number, result in enumerate(results):
        scripted.places = places(number / 20)
        assert stream.process(BLANK, number / 20, stream.search(BLANK)).faces == result.faces
    # What was found before took its time before.
    assert "detector" not in dict(stream.process(BLANK, 1.0, stream.search(BLANK)).timings)


def test_without_a_budget_and_smoothing_every_frame_has_its_own_answers(scripted):
    results = play(FaceStream(scripted, smoothing=0, budget_ms=None), scripted, 1, [(100, 200), (500, 200)])
    assert scripted.asked == [("attributes", 2), ("emotion", 2)] * 20
    assert [stage for stage, _ in results[-1].timings] == ["detector", "attributes", "emotion"]


def test_a_detector_that_gains_nothing_by_regions_is_given_the_whole_frame(monkeypatch):
    slow = ScriptedAnalyzer(monkeypatch, full_ms=20, region_ms=20)
    results = play(FaceStream(slow), slow, 5, [(100, 100), (500, 100), (300, 400)])
    assert sum(region is None for region in slow.searches) > 80
    assert ids(results)[-1] == [1, 2, 3]


@pytest.mark.parametrize("times", [[0, 0, 0, 0], [5, 4, 3, 2], [0, 0.1, -100, -99.9], [1e9, 1e9 + 0.1, 0, 0.1]])
def test_time_may_stand_still_or_go_back(scripted, times):
    stream = FaceStream(scripted)
    scripted.places = [(100, 200)]
    assert ids([stream.process(BLANK, t) for t in times]) == [[1]] * 4


def test_after_a_pause_only_a_face_in_its_place_keeps_its_id(scripted):
    stream = FaceStream(scripted)
    play(stream, scripted, 1, [(100, 200), (400, 200)])
    after = play(stream, scripted, 1, [(103, 200), (500, 400)], start=60)
    assert ids(after)[-1] == [1, 3]


def test_another_size_of_frame_is_a_cut(scripted):
    stream = FaceStream(scripted)
    play(stream, scripted, 1, [(100, 200)])
    scripted.places = [(300, 200), (100, 200)]
    assert ids([stream.process(BLANK[:400], 1.0)]) == [[2, 3]]
    stream.reset()
    assert ids([stream.process(BLANK[:400], 1.1)]) == [[1, 2]]


def test_a_cut_ends_all_tracks(scripted):
    stream = FaceStream(scripted)
    play(stream, scripted, 1, [(100, 200)])
    scripted.places = [(102, 200)]
    other = np.random.default_rng(9).integers(0, 255, (12, 16, 3), np.uint8)
    other = cv2.resize(other, (640, 480), interpolation=cv2.INTER_NEAREST)
    assert ids([stream.process(other, 1.0), stream.process(other, 1.05)]) == [[2], [2]]


def test_light_motion_and_a_covered_camera_are_no_cuts():
    random = np.random.default_rng(1)
    scene = cv2.GaussianBlur(random.integers(0, 255, (480, 640, 3), np.uint8), (0, 0), 40)
    scene = cv2.normalize(scene, None, 0, 255, cv2.NORM_MINMAX)
    cuts = CutDetector()
    frames = [scene, scene // 2, scene, np.zeros_like(scene), np.full_like(scene, 255), scene]
    frames += [np.roll(scene, 15 * n, axis=1) for n in range(40)]
    assert [cuts.is_cut(frame) for frame in frames] == [False] * len(frames)
    assert cuts.is_cut(255 - scene)


def test_the_toy_pack_gives_what_an_analysis_gives(toy_analyzer):
    picture = toy_picture({(3, 2): (255, 240, 200), (10, 8): (200, 100, 255)})
    wanted = toy_analyzer.analyze(picture)
    stream = FaceStream(toy_analyzer, smoothing=0, budget_ms=1e4)
    for n in range(5):
        result = stream.process(picture, n / 10)
        assert (result.width, result.height, result.stages) == (640, 480, wanted.stages)
        for face, other in zip(result.faces, wanted.faces, strict=True):
            assert face.bbox == other.bbox
            assert face.age == pytest.approx(other.age, abs=0.1)
            assert face.gender.label == other.gender.label
    assert [face.track_id for face in result.faces] == [1, 2]
    with pytest.raises(MediaError):
        stream.process(picture[..., 0], 1.0)


def follow(analyzer, path, rate=12.0, end=None):
    """Returns {id: times at which it was seen} of a clip."""
    # No time limit: what is found must not depend on how busy the machine is.
    stream = FaceStream(analyzer, budget_ms=1e5)
    seen, due = {}, 0.0
    for frame in read_frames(path, end=end):
        if frame.time >= due:
            due = frame.time + 1 / rate - 0.02
            for face in stream.process(frame.pixels, frame.time).faces:
                if face.track_id:
                    seen.setdefault(face.track_id, []).append(frame.time)
    return seen


@pytest.fixture(scope="module", params=both(["compact"], ["scrfd_500m"]))
def analyzer(request):
    if request.param == "compact":
        return FaceAnalyzer("compact")
    return FaceAnalyzer(request.getfixturevalue("real_pack")("scrfd_500m_kps.onnx"))


OWN_CLIPS = [("three.mp4", 3), ("two.mp4", 2), ("one.mp4", 1)]
CLIPS = [
    ("intel_face_demographics_walking_and_pause.mp4", 3),
    ("intel_head_pose_face_detection_female_and_male.mp4", 2),
    ("pexels_one_face.mp4", 1),
]


@pytest.mark.parametrize(("name", "people"), both(OWN_CLIPS, CLIPS))
def test_a_real_clip_has_as_many_ids_as_people(clips, analyzer, name, people):
    seen = follow(analyzer, clips(name), end=5)
    assert sorted(seen) == list(range(1, people + 1))
    assert all(times[-1] - times[0] > 1.5 for times in seen.values())


@pytest.mark.parametrize("name", both(["one.mp4"], ["pexels_one_face.mp4"]))
def test_one_frame_a_second_of_a_real_clip(clips, analyzer, name):
    seen = follow(analyzer, clips(name), rate=1, end=10)
    assert sorted(seen) == [1]


@pytest.mark.parametrize("name", both(["leaves.mov"], ["face_then_none.mov"]))
def test_a_face_that_leaves_takes_its_id_with_it(clips, analyzer, name):
    seen = follow(analyzer, clips(name), end=5)
    assert seen[1][-1] < 2.5


@pytest.mark.parametrize(
    ("name", "cuts"), both([("film.mp4", CUTS)], [("hamilton_multi_cuts.mp4", (0.65, 2.73, 7.02))])
)
def test_ids_end_at_the_cuts_of_a_film(clips, analyzer, name, cuts):
    seen = follow(analyzer, clips(name), rate=15)
    for cut in cuts:
        assert not any(times[0] < cut - 0.01 and times[-1] >= cut for times in seen.values())
    # The third shot, of one person and four seconds, is one track.
    begin, end = cuts[1:]
    longest = max(times[-1] - times[0] for times in seen.values() if begin - 0.03 < times[0] < end)
    assert longest > end - begin - 0.2


def shaken(image, seconds, fps, noise=3.0):
    """Yields (time, frame) of a photo as a camera held by hand sees it."""
    random = np.random.default_rng(0)
    shift = np.zeros(2)
    for n in range(int(seconds * fps)):
        shift = np.clip(shift + random.normal(0, 0.7, 2), -2, 2)
        matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
        frame = cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        yield n / fps, np.clip(frame + random.normal(0, noise, frame.shape), 0, 255).astype(np.uint8)


# Of the second, both men, and a girl in the shadow.
@pytest.mark.parametrize(("name", "people"), both([("t1.jpg", 6)], [("obama_and_biden.jpg", 3)]))
@pytest.mark.parametrize("budget_ms", [1e5, None])
def test_a_still_face_has_a_still_age(compact, name, people, budget_ms):
    photo = load_image(find_photo(name)).pixels
    stream = FaceStream(compact, budget_ms=budget_ms)
    photo = cv2.resize(photo, (640, 640 * photo.shape[0] // photo.shape[1]), interpolation=cv2.INTER_AREA)
    results = [stream.process(frame, now) for now, frame in shaken(photo, 4, 10)]
    # What looks like a face for a moment gets no id.
    known = [[face for face in result.faces if face.track_id is not None] for result in results[2:]]
    assert [[face.track_id for face in faces] for faces in known] == [list(range(1, people + 1))] * 38
    for faces in zip(*known, strict=True):
        assert statistics.pstdev(face.age for face in faces) <= 0.5
        assert len({(face.gender.label, face.emotion.label) for face in faces}) == 1
