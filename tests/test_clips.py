from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import datetime
from itertools import count
from types import SimpleNamespace

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

import faceinsight.clips
from faceinsight import (
    ClipAnalysis,
    ClipOptions,
    DrawOptions,
    Face,
    FrameAnalysis,
    MediaError,
    __version__,
    analyze_clip,
    iter_clip,
    to_json,
)
from faceinsight.export import result_head
from faceinsight.media.video import probe, read_frames
from faceinsight.records import json_pieces, read_record, write_record, write_records
from faceinsight.tables import KEYPOINTS, Made, batches, face_rows, faces_schema
from tests.material import both
from tests.toy_media import toy_frames, write_clip, write_tone
from tests.toy_models import EMOTIONS_8, toy_picture


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4", toy_frames(15), sound=True)


def columns(result):
    return [round(a.faces[0].bbox[0] / 32) for _, a in result.frames]


def test_every_frame_is_analysed_in_order(toy_analyzer, clip, tmp_path):
    result = analyze_clip(toy_analyzer, clip, tmp_path / "out.mp4")
    assert columns(result) == list(range(1, 16))
    assert [t for t, _ in result.frames] == pytest.approx([n / 10 for n in range(15)])
    assert result.note is None
    info = probe(tmp_path / "out.mp4")
    assert (info.width, info.height, info.frames) == (640, 480, 15)


def test_the_written_clip_is_annotated(toy_analyzer, clip, tmp_path):
    analyze_clip(toy_analyzer, clip, tmp_path / "out.mp4")
    before, after = next(read_frames(clip)).pixels, next(read_frames(tmp_path / "out.mp4")).pixels
    changed = abs(before.astype(int) - after).max(axis=2) > 60
    assert changed[150:160, 32:60].any()  # the label above the box
    assert not changed[300:].any()


def test_a_lower_rate_analyses_less_often(toy_analyzer, clip, tmp_path):
    result = analyze_clip(toy_analyzer, clip, tmp_path / "out.mp4", ClipOptions(rate=2))
    assert [t for t, _ in result.frames] == pytest.approx([0.0, 0.5, 1.0])
    assert columns(result) == [1, 6, 11]
    assert probe(tmp_path / "out.mp4").frames == 15


def test_a_range_starts_the_written_clip_at_zero(toy_analyzer, clip, tmp_path):
    result = analyze_clip(toy_analyzer, clip, tmp_path / "o.mp4", ClipOptions(start=0.5, end=0.9))
    assert columns(result) == [6, 7, 8, 9, 10]
    assert next(read_frames(tmp_path / "o.mp4")).time == 0
    assert probe(tmp_path / "o.mp4").duration == pytest.approx(0.5, abs=0.11)


def test_progress_rises_to_the_result(toy_analyzer, clip):
    *steps, result = iter_clip(toy_analyzer, clip)
    shares = [step.share for step in steps]
    assert len(shares) == 15
    assert shares == sorted(shares)
    assert shares[-1] > 0.9
    assert steps[0].preview.shape == (480, 640, 3)
    assert isinstance(result, ClipAnalysis)


def test_closing_the_iterator_cancels_and_leaves_nothing(toy_analyzer, clip, tmp_path):
    out = tmp_path / "out.mp4"
    steps = iter_clip(toy_analyzer, clip, out)
    next(steps)
    next(steps)
    steps.close()
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (ClipOptions(start=2, end=1), "ends at 1 s, not after its start at 2 s"),
        (ClipOptions(start=99), "lasts 1.5 s, and the range starts at 99 s"),
        (ClipOptions(rate=-1), "The analysis rate is -1"),
    ],
)
def test_wrong_options_are_one_sentence(toy_analyzer, clip, options, sentence):
    with pytest.raises(MediaError, match=sentence):
        analyze_clip(toy_analyzer, clip, options=options)


def test_a_clip_cut_short_is_analysed_as_far_as_it_goes(toy_analyzer, tmp_path):
    whole = write_clip(tmp_path / "whole.mp4", toy_frames(60)).read_bytes()
    path = tmp_path / "half.mp4"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    result = analyze_clip(toy_analyzer, path, tmp_path / "out.mp4")
    assert "half.mp4 is" in result.note
    assert "cut short" in result.note
    assert 5 < len(result.frames) < 60
    assert columns(result)[:5] == [1, 2, 3, 4, 5]
    assert probe(tmp_path / "out.mp4").frames == pytest.approx(len(result.frames), abs=1)


def test_no_video_stream(toy_analyzer, tmp_path):
    with pytest.raises(MediaError, match="holds no video"):
        analyze_clip(toy_analyzer, write_tone(tmp_path / "t.mp4"))


def test_rows_and_json(toy_analyzer, clip):
    result = analyze_clip(toy_analyzer, clip, options=ClipOptions(rate=5))
    rows = result.rows(file="clip.mp4")
    assert [row["time"] for row in rows] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4])
    assert rows[0]["file"] == "clip.mp4"
    record = result.as_dict()
    assert (record["frames"], record["fps"], record["pack"]) == (8, 10, "toy")
    assert [{key: value for key, value in row.items() if key != "kps"} for row in record["rows"]] == result.rows()
    assert all(len(row["kps"]) == 5 for row in record["rows"])


def test_people_keep_their_ids_and_a_cut_gives_new_ones(toy_analyzer, tmp_path):
    two = toy_picture({(3, 5): (255, 240, 200), (12, 8): (200, 150, 255)})
    other = toy_picture({(3, 5): (255, 240, 200)})
    other[240:] = 90
    clip = write_clip(tmp_path / "two.mp4", [two] * 10 + [other] * 10)
    rows = analyze_clip(toy_analyzer, clip).rows(file="two.mp4")
    assert [row["track_id"] for row in rows if row["time"] < 0.95] == [1, 2] * 10
    assert [row["track_id"] for row in rows if row["time"] > 0.95] == [3] * 10
    assert list(rows[0])[:4] == ["file", "time", "face", "track_id"]
    assert {row["gender"] for row in rows if row["track_id"] == 1} == {"female"}


def test_no_smoothing_is_what_every_frame_says(toy_analyzer, clip):
    result = analyze_clip(toy_analyzer, clip, options=ClipOptions(smoothing=0))
    for frame, (_, analysis) in zip(read_frames(clip), result.frames, strict=True):
        (wanted,) = toy_analyzer.analyze(frame.pixels).faces
        (face,) = analysis.faces
        assert (face.bbox, face.age, face.gender, face.emotion) == (
            wanted.bbox,
            wanted.age,
            wanted.gender,
            wanted.emotion,
        )


@pytest.mark.parametrize(("name", "fps"), both([("film.mp4", 12)], [("hamilton_multi_cuts.mp4", 30)]))
def test_a_real_clip(clips, analyzer_for, tmp_path, name, fps):
    result = analyze_clip(analyzer_for(name), clips(name), tmp_path / "out.mp4", ClipOptions(end=1.9, rate=2))
    assert len(result.frames) == 4
    assert all(analysis.faces for _, analysis in result.frames)
    assert probe(tmp_path / "out.mp4").frames == pytest.approx(1.9 * fps, abs=2)


@pytest.mark.parametrize("name", both(["leaves.mov"], ["face_then_none.mov"]))
def test_a_face_that_leaves_a_real_phone_clip(clips, analyzer_for, name):
    counts = [
        len(a.faces) for _, a in analyze_clip(analyzer_for(name), clips(name), options=ClipOptions(rate=2)).frames
    ]
    assert counts[0] == 1
    assert counts[-1] == 0


def heard(path):
    """Returns the sound of a clip as (seconds of its beginning, samples, rate), or None."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        pieces = list(container.decode(container.streams.audio[0]))
    return float(pieces[0].time), np.concatenate([p.to_ndarray() for p in pieces], axis=1)[0], pieces[0].sample_rate


def pitch(samples, rate):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return spectrum.argmax() * rate / len(samples)


def test_the_written_clip_sounds_as_the_read_one(toy_analyzer, clip, tmp_path):
    analyze_clip(toy_analyzer, clip, tmp_path / "out.mp4")
    begin, samples, rate = heard(tmp_path / "out.mp4")
    assert abs(begin) < 0.05
    assert len(samples) / rate == pytest.approx(1.5, abs=0.1)
    assert pitch(samples, rate) == pytest.approx(440, abs=2)
    assert np.abs(samples).max() == pytest.approx(0.3, abs=0.05)


def test_a_range_has_its_own_sound(toy_analyzer, tmp_path):
    path = write_clip(
        tmp_path / "clip.mp4", toy_frames(30), sound=lambda t: 0.3 * np.sin(2 * np.pi * (300 + 200 * t) * t)
    )
    analyze_clip(toy_analyzer, path, tmp_path / "out.mp4", ClipOptions(start=1.0, end=1.9))
    begin, samples, rate = heard(tmp_path / "out.mp4")
    assert abs(begin) < 0.05
    assert len(samples) / rate == pytest.approx(1.0, abs=0.1)
    # The pitch rises by 400 Hz a second: at 0.5 s of the range it is that of 1.5 s of the file.
    middle = samples[int(0.45 * rate) : int(0.55 * rate)]
    assert pitch(middle, rate) == pytest.approx(300 + 2 * 200 * 1.5, abs=15)


def test_a_silent_clip_stays_silent(toy_analyzer, tmp_path):
    path = write_clip(tmp_path / "clip.mp4", toy_frames(5))
    analyze_clip(toy_analyzer, path, tmp_path / "out.mp4")
    assert heard(tmp_path / "out.mp4") is None


def test_sound_that_cannot_be_decoded_spoils_nothing(toy_analyzer, clip, tmp_path):
    with av.open(str(clip)) as container:
        broken = bytearray(clip.read_bytes())
        for packet in container.demux(container.streams.audio[0]):
            if packet.pos is not None:
                broken[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    clip.write_bytes(broken)
    result = analyze_clip(toy_analyzer, clip, tmp_path / "out.mp4")
    assert result.note is None
    assert probe(tmp_path / "out.mp4").frames == 15


def scripted(info):
    """Returns an analysis of two people, between whom the scene changes at 0.7 s."""

    def frame(x, number):
        face = Face((x, 100.0, x + 60, 180.0), 0.9, track_id=number)
        return FrameAnalysis(640, 480, (replace(face, raw=face),), "toy", ("detector",))

    frames = [(0.0, frame(0.0, 1)), (0.5, frame(50.0, 1)), (1.0, frame(300.0, 2))]
    return ClipAnalysis(info, frames, cuts=(0.7,))


@pytest.fixture
def places(monkeypatch):
    """Where faces are drawn, frame by frame: the left edges of their boxes."""
    drawn = []

    def note(image, faces, *_, **__):
        drawn.append([face.bbox[0] for face in faces])

    monkeypatch.setattr(faceinsight.clips, "draw_into", note)
    return drawn


def test_boxes_move_between_analyses_and_not_across_a_cut(toy_analyzer, clip, places):
    *_, last = iter_clip(toy_analyzer, clip, known=scripted(probe(clip)))
    assert last == scripted(probe(clip))
    before = [[pytest.approx(x)] for x in (0, 10, 20, 30, 40, 50, 50)]
    assert places == before + [[300]] * 8


def test_where_an_analysis_is_long_in_coming_boxes_stay(toy_analyzer, clip, places, monkeypatch):
    monkeypatch.setattr(faceinsight.clips, "_WAITING_BYTES", 0)
    monkeypatch.setattr(faceinsight.clips, "_LEAST_WAITING", 2)
    list(iter_clip(toy_analyzer, clip, known=scripted(probe(clip))))
    assert len(places) == 15
    assert places[1:4] == [[0]] * 3
    assert places[5] == [50]


def test_faces_of_a_new_scene_are_blurred_from_its_first_frame_on(toy_analyzer, tmp_path, places, monkeypatch):
    monkeypatch.setattr(faceinsight.clips, "_WAITING_BYTES", 0)
    monkeypatch.setattr(faceinsight.clips, "_LEAST_WAITING", 2)
    scenes = SimpleNamespace(is_cut=lambda luma, calls=count(): next(calls) == 6)
    monkeypatch.setattr(faceinsight.clips, "CutDetector", lambda: scenes)
    path = write_clip(tmp_path / "clip.mp4", toy_frames(9))
    list(iter_clip(toy_analyzer, path, options=ClipOptions(rate=0.5, draw=DrawOptions(blur=True))))
    assert len(places) == 9
    assert all(places)


def test_blurred_afterwards_a_new_scene_is_so_from_its_first_frame_on(toy_analyzer, clip, places, monkeypatch):
    monkeypatch.setattr(faceinsight.clips, "_WAITING_BYTES", 0)
    monkeypatch.setattr(faceinsight.clips, "_LEAST_WAITING", 1)
    known = scripted(probe(clip))
    list(iter_clip(toy_analyzer, clip, options=ClipOptions(draw=DrawOptions(blur=True)), known=known))
    assert places[7:] == [[300]] * 8


def test_what_is_blurred_is_analysed_before_frames_can_wait_no_longer(toy_analyzer, clip, places, monkeypatch):
    monkeypatch.setattr(faceinsight.clips, "_WAITING_BYTES", 0)
    monkeypatch.setattr(faceinsight.clips, "_LEAST_WAITING", 2)
    monkeypatch.setattr(faceinsight.clips, "CutDetector", lambda: SimpleNamespace(is_cut=lambda luma: False))
    options = ClipOptions(rate=0.5, draw=DrawOptions(blur=True))
    *_, last = iter_clip(toy_analyzer, clip, options=options)
    assert [round(time, 1) for time, _ in last.frames] == [0, 0.3, 0.6, 0.9, 1.2]
    # Afterwards, with a known analysis, boxes move as far as is known.
    places.clear()
    list(iter_clip(toy_analyzer, clip, options=options, known=scripted(probe(clip))))
    before = [[pytest.approx(x)] for x in (0, 10, 20, 30, 40, 50, 50)]
    assert places == before + [[300]] * 8


def test_an_error_on_the_way_leaves_no_file_and_no_thread(toy_analyzer, clip, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise ValueError("broken")

    before = threading.active_count()
    monkeypatch.setattr(faceinsight.clips, "draw_into", fails)
    with pytest.raises(ValueError, match="broken"):
        analyze_clip(toy_analyzer, clip, tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir() if path.suffix in (".mp4", ".part")] == ["clip.mp4"]
    assert threading.active_count() == before


def test_the_rows_of_a_record_are_made_as_they_are_read(toy_analyzer, clip, tmp_path):
    result = analyze_clip(toy_analyzer, clip)
    record = result.record()
    assert not isinstance(record["rows"], list)
    assert len(record["rows"]) == len(result.rows()) == 15
    head = result_head("clip.mp4", "toy", "0", 0.5, 0)
    write_record(tmp_path / "1.json", head | record)
    kept = read_record(tmp_path / "1.json")
    whole = head | result.as_dict()
    assert (list(kept["rows"]), len(kept["rows"])) == (whole["rows"], 15)
    assert json.loads((tmp_path / "1.json").read_bytes()) == whole
    assert kept | {"rows": None} == whole | {"rows": None}
    assert "".join(json_pieces([kept])) == to_json([whole])
    for name in ("faces.json", "faces.jsonl", "faces.csv"):
        write_records(tmp_path / name, lambda: [kept])
        write_records(tmp_path / f"whole-{name}", lambda: [whole])
        assert (tmp_path / name).read_bytes() == (tmp_path / f"whole-{name}").read_bytes()


def test_a_clip_has_the_same_rows_by_itself_and_among_many(toy_analyzer, clip, tmp_path):
    result = analyze_clip(toy_analyzer, clip)
    head = result_head(str(clip), "toy", "0", 0.5, 0) | {"kind": "clip", "took": 1.0}
    write_records(tmp_path / "faces.parquet", lambda: [head | result.record()])
    made = Made("toy", "0", __version__, datetime.fromisoformat(head["date"]))
    rows = [row for at, analysis in result.frames for row in face_rows(str(clip), analysis, made, at)]
    assert all(row[f"{name}_y"] for row in rows for name in KEYPOINTS)
    (expected,) = batches(rows, faces_schema(EMOTIONS_8))
    assert pq.read_table(tmp_path / "faces.parquet").to_pylist() == expected.to_pylist()
