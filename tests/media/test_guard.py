"""Files of strangers are read by processes that may be ended, and all at once stay within bounds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceinsight import DamagedMediaError, MediaError, load_image
from faceinsight.clips import ClipAnalysis, ClipOptions, iter_clip
from faceinsight.errors import BusyError
from faceinsight.media import guard as guarding
from faceinsight.media import process
from faceinsight.media.guard import Guard
from faceinsight.media.room import Room
from faceinsight.media.sound import read_sound
from faceinsight.media.video import VideoLimits, probe, read_frames
from tests.conftest import ROOT
from tests.toy_media import toy_frames, write_clip


@pytest.fixture
def guard():
    made = Guard()
    yield made
    made.close()


@pytest.fixture
def photo(tmp_path, two_faces):
    path = tmp_path / "photo.jpg"
    Image.fromarray(two_faces).save(path, quality=95)
    return path


def read(guard, path, name="it"):
    return guard.image(path, name)


def worker_of(guard):
    (worker,) = guard._workers._idle
    return worker._process


def test_pictures_come_out_as_they_are_and_share_a_process(guard, photo):
    first = read(guard, photo)
    pid = worker_of(guard).pid
    np.testing.assert_array_equal(first.pixels, load_image(photo).pixels)
    assert first.note is None
    read(guard, photo)
    assert worker_of(guard).pid == pid


def test_a_bad_picture_is_one_sentence_and_costs_no_process(guard, photo, tmp_path):
    read(guard, photo)
    pid = worker_of(guard).pid
    (tmp_path / "half.jpg").write_bytes(photo.read_bytes()[:3000])
    for path, sentence in (
        (tmp_path / "half.jpg", "it is damaged or cut short"),
        (tmp_path / "no.jpg", "it cannot be"),
    ):
        with pytest.raises(MediaError, match=sentence):
            read(guard, path)
    assert read(guard, photo).pixels.shape == (480, 640, 3)
    assert worker_of(guard).pid == pid


def test_a_reader_that_does_not_end_is_ended(guard, photo, monkeypatch):
    read(guard, photo)
    held = worker_of(guard)
    held.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(process, "ANSWER_S", 0.2)
    with pytest.raises(MediaError, match=r"big\.jpg takes too long to read: make it smaller and try again\."):
        read(guard, photo, "big.jpg")
    assert held.poll() == -signal.SIGKILL
    monkeypatch.undo()
    assert read(guard, photo).pixels.shape == (480, 640, 3)
    assert worker_of(guard).pid != held.pid


def test_a_reader_that_dies_is_one_sentence(guard, photo):
    read(guard, photo)
    held = worker_of(guard)
    held.send_signal(signal.SIGSTOP)
    threading.Timer(0.3, held.kill).start()
    with pytest.raises(MediaError, match=r"it is damaged so badly that its reader stopped"):
        read(guard, photo)
    assert read(guard, photo).pixels.shape == (480, 640, 3)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system has no limit on a process's memory")
def test_a_picture_that_takes_too_much_memory_is_one_sentence(guard, photo, tmp_path, monkeypatch):
    Image.new("RGB", (3000, 2000)).save(tmp_path / "large.png", compress_level=1)
    monkeypatch.setattr(guarding, "_OTHER_PIXEL_MB", 0)
    monkeypatch.setattr(guarding, "_DECODER_MB", 2)
    with pytest.raises(MediaError, match=r"large takes more memory than there is for a picture: make it smaller"):
        read(guard, tmp_path / "large.png", "large")
    monkeypatch.undo()
    assert read(guard, photo).pixels.shape == (480, 640, 3)
    monkeypatch.setattr(guarding, "LARGEST_PICTURE", 1_500_000)
    assert read(guard, tmp_path / "large.png", "large").note == (
        "large has 3000 x 2000 pixels: it was analysed at 1500 x 1000."
    )


@pytest.mark.parametrize(("held", "size"), [(1, (4000, 3000)), (6, (3000, 4000))])
def test_a_jpeg_is_decoded_to_what_is_enough_and_its_size_is_known(guard, tmp_path, held, size):
    exif = Image.Exif()
    exif[0x0112] = held
    Image.new("RGB", (4000, 3000), "red").save(tmp_path / "photo.jpg", exif=exif)
    loaded = read(guard, tmp_path / "photo.jpg")
    assert loaded.pixels.shape == (size[1] // 2, size[0] // 2, 3)
    assert (loaded.size, loaded.note) == (size, None)


def test_the_largest_pictures_fit_into_the_room_that_they_get(guard, tmp_path):
    sheer = Image.new("RGBA", (5600, 5600), (200, 90, 10, 128))
    sheer.save(tmp_path / "large.webp", lossless=True, quality=0, method=0)
    assert read(guard, tmp_path / "large.webp", "large").note == (
        "large has 5600 x 5600 pixels: it was analysed at 4000 x 4000."
    )
    Image.new("CMYK", (8000, 8000)).save(tmp_path / "large.tif")
    assert read(guard, tmp_path / "large.tif", "large").pixels.shape == (4000, 4000, 3)


@pytest.mark.skipif(not hasattr(signal, "SIGXCPU"), reason="this system has no limit on a process's work")
def test_a_picture_that_takes_too_much_work_is_one_sentence(guard, photo):
    read(guard, photo)
    held = worker_of(guard)
    held.send_signal(signal.SIGSTOP)
    # As the system does it for a process that used up its seconds.
    threading.Timer(0.3, lambda: (held.send_signal(signal.SIGXCPU), held.send_signal(signal.SIGCONT))).start()
    with pytest.raises(MediaError, match="it takes too long to read"):
        read(guard, photo)


def test_pictures_wait_for_room_and_not_for_ever(guard, photo, monkeypatch):
    monkeypatch.setattr(guard, "_pictures", Room(100, 0.1))
    pictures = [read(guard, photo).pixels] * 2
    with guard.work_on(pictures):
        assert 0 < guard._pictures._taken < 10
        with pytest.raises(BusyError, match="Many files are being analysed at the moment: try again"):
            guard.work_on([np.zeros((4000, 4000, 3), np.uint8)]).__enter__()
    with guard._pictures.take(90), pytest.raises(BusyError):
        read(guard, photo)
    assert guard._pictures._taken == 0
    assert read(guard, photo).pixels.shape == (480, 640, 3)


def test_room_is_given_in_the_order_it_is_asked_for():
    room, order = Room(100, 20), []

    def want(megabytes: float) -> None:
        with room.take(megabytes):
            order.append(megabytes)

    with room.take(60):
        threads = [threading.Thread(target=want, args=(megabytes,)) for megabytes in (90, 10, 500)]
        for thread in threads:
            thread.start()
            while len(room._line) < threads.index(thread) + 1:
                time.sleep(0.01)
        assert order == []
    for thread in threads:
        thread.join()
    assert order == [90, 10, 500]
    assert room._taken == 0


def test_clips_come_out_as_they_are(guard, tmp_path):
    path = write_clip(tmp_path / "c.mp4", toy_frames(12), sound=True)
    assert guard.probe(path, "c.mp4") == probe(path)
    for ours, theirs in zip(guard.frames(path, 0.2, 0.9, "c"), read_frames(path, 0.2, 0.9), strict=True):
        assert ours.time == theirs.time
        np.testing.assert_array_equal(ours.pixels, theirs.pixels)
    for ours, theirs in zip(guard.pieces(path, 0.2), read_sound(path, 0.2), strict=True):
        assert ours.time == theirs.time
        np.testing.assert_array_equal(ours.samples, theirs.samples)
    assert guard._clips._taken == guard._pictures._taken == 0


def test_a_clip_that_is_left_leaves_nothing(guard, tmp_path):
    path = write_clip(tmp_path / "c.mp4", toy_frames(40), sound=True)
    frames, sound = guard.frames(path, 0, None, "c"), guard.pieces(path, 0)
    assert next(frames).time == 0
    assert next(sound).time == 0
    assert guard._clips._taken > 0
    frames.close()
    sound.close()
    assert guard._clips._taken == 0
    assert guard._workers._idle == []


def test_a_clip_that_breaks_off_says_so(guard, tmp_path):
    data = bytearray(write_clip(tmp_path / "c.mp4", toy_frames(60)).read_bytes())
    start = data.index(b"mdat") + len(data) // 3
    data[start : start + 4000] = b"\xff" * 4000
    (tmp_path / "c.mp4").write_bytes(data)
    frames = guard.frames(tmp_path / "c.mp4", 0, None, "c.mp4")
    with pytest.raises(DamagedMediaError, match=r"c\.mp4 is damaged or cut short after \d"):
        list(frames)
    with pytest.raises(MediaError, match="none cannot be read"):
        guard.probe(tmp_path / "none.mp4", "none")


def analyse(analyzer, path, guard, out=None, **options):
    *_, last = iter_clip(analyzer, path, out, ClipOptions(**options), "c.mp4", guard)
    assert isinstance(last, ClipAnalysis)
    return last


def test_a_large_clip_is_made_smaller_and_a_long_one_ends_with_a_note(guard, toy_analyzer, tmp_path, monkeypatch):
    path = write_clip(tmp_path / "c.mp4", toy_frames(20), sound=True)
    monkeypatch.setattr(guarding, "CLIP_LIMITS", VideoLimits(largest=320 * 240))
    result = analyse(toy_analyzer, path, guard, tmp_path / "out.mp4")
    assert (result.info.width, result.info.height) == (320, 240)
    assert result.note == "c.mp4 was analysed at 320 x 240 pixels."
    assert (probe(tmp_path / "out.mp4").width, len(result.frames)) == (320, 20)
    assert list(read_sound(tmp_path / "out.mp4"))
    monkeypatch.setattr(guarding, "CLIP_LIMITS", VideoLimits(frames=7))
    result = analyse(toy_analyzer, path, guard)
    assert len(result.frames) == 7
    assert result.note == (
        "c.mp4 was analysed up to 0.7 seconds, where the limit of 7 frames is: choose a later start for the rest."
    )
    monkeypatch.setattr(guarding, "CLIP_LIMITS", VideoLimits(decoded=1000))
    with pytest.raises(MediaError, match=r"640 x 480 pixels a frame, and 0\.001 million is the limit"):
        analyse(toy_analyzer, path, guard)


def test_very_many_faces_end_a_clip_with_a_note(toy_analyzer, guard, tmp_path):
    path = write_clip(tmp_path / "c.mp4", toy_frames(20))
    result = analyse(toy_analyzer, path, guard, max_faces=5)
    assert sum(len(analysis.faces) for _, analysis in result.frames) == 6
    assert "where the limit of 5 faces is: choose a later start for the rest" in result.note


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="this system does not show its processes")
def test_readers_go_with_the_server_even_when_it_is_killed(photo):
    code = (
        "import sys, time; from pathlib import Path; from faceinsight.media.guard import Guard\n"
        "guard = Guard()\n"
        "guard.image(Path(sys.argv[1]), 'it')\n"
        "print(guard._workers._idle[0]._process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, photo], cwd=ROOT, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        reader = int(server.stdout.readline())
        os.kill(reader, 0)
        server.kill()
    until = time.monotonic() + 20
    with suppress(ProcessLookupError):
        while "\nState:\tZ" not in Path(f"/proc/{reader}/status").read_text():
            assert time.monotonic() < until
            time.sleep(0.05)
