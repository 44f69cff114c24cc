from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest

from faceinsight import FaceInsightError, MediaError, PackError
from faceinsight.drawing import DrawOptions
from faceinsight.packs import locate
from faceinsight.ui import Engine
from faceinsight.ui.engine import as_page_error, friendly
from faceinsight.ui.examples import example_pictures
from faceinsight.ui.image_tab import MAX_PHOTOS, Photo
from faceinsight.ui.parts import Settings, need
from faceinsight.ui.video_tab import progress
from faceinsight.ui.views import MAX_TABLE_ROWS, clip_table, overlay, photos_summary, summary, table


def test_the_engine_loads_a_pack_once(toy_pack):
    engine = Engine(toy_pack)
    assert engine.analyzer() is engine.analyzer(str(toy_pack))
    assert engine.problem() is None
    assert engine.status() == "Pack **toy** · CPU"
    assert engine.named_choices()[0] == ("toy", str(toy_pack))
    with pytest.raises(PackError, match="choose one of the list"):
        engine.analyzer("/etc")


def test_the_status_says_time_and_what_is_left_out(toy_pack, toy_analyzer, tmp_path, two_faces):
    text = (toy_pack / "pack.toml").read_text().replace("emotion.onnx", "gone.onnx")
    for name in ("detector.onnx", "genderage.onnx"):
        (tmp_path / name).symlink_to(toy_pack / name)
    (tmp_path / "pack.toml").write_text(text)
    status = Engine(tmp_path).status(analysis=toy_analyzer.analyze(two_faces))
    assert "ms** per frame" in status
    assert "No emotion: gone.onnx is not here" in status


def test_without_models_the_engine_says_so_and_lives_on(monkeypatch, tmp_path):
    monkeypatch.setattr(locate, "bundled_models", lambda: tmp_path / "none")
    engine = Engine()
    assert "`faceinsight models fetch buffalo_s`" in engine.problem()
    assert engine.status().startswith("⚠️ No model pack is on this machine")
    assert engine.named_choices() == [("none here yet", "auto")]


def test_newly_fetched_packs_are_found(monkeypatch, toy_pack, isolated_home, tmp_path):
    monkeypatch.setattr(locate, "bundled_models", lambda: tmp_path / "none")
    engine = Engine()
    (isolated_home / ".faceinsight").mkdir()
    (isolated_home / ".faceinsight" / "mine").symlink_to(toy_pack)
    engine.forget("auto")
    assert engine.default == "mine"
    assert engine.problem() is None


def test_errors_become_sentences_without_traceback(caplog):
    ours = as_page_error(MediaError("The file is empty: choose another."))
    assert (ours.message, ours.print_exception) == ("The file is empty: choose another.", False)
    with pytest.raises(gr.Error, match="Something unexpected"):
        friendly(lambda: 1 / 0)()
    assert "division by zero" in caplog.text
    assert friendly(lambda x: x + 1)(1) == 2
    with pytest.raises(FaceInsightError, match="no clip yet: upload one"):
        need(None, "clip")


def test_settings_of_the_side_panel():
    settings = Settings.of(("toy", 0.4, 20, ["Age"], True, 30))
    assert settings.draw.labels == ("Age",)
    assert settings.draw.blur
    assert settings.smoothing == 0.3
    assert settings.detect == {"det_threshold": 0.4, "min_face": 20.0}


def test_settings_are_within_what_the_components_allow():
    low = Settings.of((["toy"], 0, -5, ["Age", "no label", 7], 1, float("nan")))
    assert (low.pack, low.det_threshold, low.min_face) == ("['toy']", 0.1, 0)
    assert (low.labels, low.blur, low.smoothing) == (("Age",), True, 0)
    high = Settings.of((None, 2, float("inf"), [], 0, 1e9))
    assert (high.pack, high.det_threshold, high.min_face, high.smoothing) == ("", 0.95, 400, 1)
    nothing = Settings.of(("toy", float("nan"), float("nan"), [], 0, 50))
    assert (nothing.det_threshold, nothing.min_face) == (0.1, 0)


def test_a_pack_that_is_loading_keeps_nobody_from_a_loaded_one(toy_pack, monkeypatch):
    engine = Engine(toy_pack)
    loaded, go_on = engine.analyzer(), threading.Event()
    monkeypatch.setattr("faceinsight.ui.engine.FaceAnalyzer", lambda *_, **__: go_on.wait(20))
    monkeypatch.setattr(engine, "_may_be_chosen", lambda pack: True)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(engine.analyzer, "slow")
        try:
            assert pool.submit(engine.analyzer).result(timeout=5) is loaded
            assert not slow.done()
        finally:
            go_on.set()


def test_tables_and_summaries(toy_analyzer, two_faces):
    analysis = toy_analyzer.analyze(two_faces)
    first, second = table(analysis)
    assert first[0] == 1
    assert first[3].startswith("female ")
    assert second[6] == "320, 256, 352, 288"
    shown = overlay(analysis, DrawOptions())["faces"][0]
    assert [name for name, *_ in shown["emotion"]] == list(analysis.faces[0].emotion.labels)
    assert 90 <= shown["age"] <= 95
    assert "2 faces" in summary(analysis)
    assert photos_summary(1, 3, 2) == "1 of 3 photos looked at, 2 faces"
    assert photos_summary(3, 3, 1) == "3 photos, 1 face"
    none = toy_analyzer.analyze(np.zeros((64, 64, 3), np.uint8))
    assert "No face found" in summary(none)
    long = tuple((n / 10, analysis) for n in range(400))
    assert len(clip_table(long)) == MAX_TABLE_ROWS
    old, new = (replace(face, raw=face) for face in analysis.faces)
    followed = replace(analysis, faces=(replace(old, track_id=7), new))
    assert [row[1] for row in clip_table(((0.0, followed),))] == [7, "–"]


def test_progress_in_words():
    assert progress(0.5, 65) == "50% · about 1 min 5 s left"
    assert progress(0, None) == "starting"


def test_examples_come_with_installed_packages():
    assert [path.name for path in example_pictures()] == ["t1.jpg", "astronaut.png"]


@pytest.mark.parametrize("sent", [None, "x", 7, {}, {"photos": 3}, {"photos": [{}]}, {"photos": []}])
def test_what_is_no_list_of_photos_is_told_of(sent):
    with pytest.raises(MediaError):
        Photo.all_of(sent)


def test_too_many_photos_are_told_of():
    photo = {"name": "a.jpg", "file": None, "problem": "", "preview": False}
    assert len(Photo.all_of({"photos": [photo] * MAX_PHOTOS})) == MAX_PHOTOS
    with pytest.raises(MediaError, match=f"choose 1 to {MAX_PHOTOS}"):
        Photo.all_of({"photos": [photo] * (MAX_PHOTOS + 1)})
