from __future__ import annotations

from contextlib import suppress

import av
import numpy as np
import pytest

from faceinsight import DamagedMediaError, MediaError
from faceinsight.media.video import probe, read_frames
from faceinsight.media.writer import VideoWriter
from tests.material import both
from tests.toy_media import toy_frames, turn_clip, write_clip, write_tone


def test_probe_and_read(tmp_path):
    path = write_clip(tmp_path / "c.mp4", toy_frames(12), sound=True)
    info = probe(path)
    assert (info.width, info.height, info.fps) == (640, 480, 10)
    assert info.duration == pytest.approx(1.2)
    assert info.frames == 12
    frames = list(read_frames(path))
    assert [frame.time for frame in frames] == pytest.approx(np.arange(12) / 10)
    assert frames[3].pixels[176, 4 * 32 + 16].tolist() == pytest.approx([255, 200, 255], abs=12)


def test_a_range(tmp_path):
    path = write_clip(tmp_path / "c.mp4", toy_frames(20))
    times = [frame.time for frame in read_frames(path, start=0.75, end=1.3)]
    assert times == pytest.approx([0.8, 0.9, 1.0, 1.1, 1.2, 1.3])


def test_phone_clips_are_turned_upright(tmp_path):
    frames = [frame[::-1].copy() for frame in toy_frames(3)]
    path = turn_clip(write_clip(tmp_path / "c.mp4", frames))
    info = probe(path)
    assert (info.width, info.height) == (480, 640)
    got = next(read_frames(path)).pixels
    wanted = np.rot90(frames[0], -1)
    assert np.abs(got.astype(int) - wanted).mean() < 8


def test_written_clips_play_in_browsers(tmp_path):
    path = tmp_path / "out.mp4"
    times = [0.0, 0.1, 0.1, 0.45]
    with VideoWriter(path, 10) as writer:
        for picture, time in zip(toy_frames(4), times, strict=True):
            writer.write(picture[:479, :639], time)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (640, 480)
        read = [float(frame.time) for frame in container.decode(stream)]
    assert read == pytest.approx([0.0, 0.1, 0.101, 0.45], abs=1e-6)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_an_error_leaves_no_half_file(tmp_path):
    path = tmp_path / "out.mp4"
    picture = toy_frames(1)[0]
    with pytest.raises(ValueError, match="stop"), VideoWriter(path, 10) as writer:
        raise ValueError("stop", writer.write(picture, 0))
    assert not path.exists()


def test_a_folder_that_is_not_there(tmp_path):
    with (
        pytest.raises(MediaError, match=r"out\.mp4 cannot be written"),
        VideoWriter(tmp_path / "no" / "out.mp4", 10) as writer,
    ):
        writer.write(toy_frames(1)[0], 0)


def test_bad_input_is_one_sentence(tmp_path):
    whole = write_clip(tmp_path / "whole.mp4", toy_frames(30)).read_bytes()
    cases = {
        "empty.mp4": (b"", "is empty"),
        "text.mp4": (b"hello " * 500, "is not a video that can be read"),
        "head.mp4": (whole[:300], "is not a video that can be read"),
        "sound.mp4": (write_tone(tmp_path / "tone.mp4").read_bytes(), "holds no video, only sound"),
    }
    for name, (content, sentence) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=f"{name} {sentence}") as caught:
            probe(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(MediaError, match="cannot be read"):
        probe(tmp_path / "absent.mp4")


def test_a_video_without_a_frame(tmp_path):
    path = tmp_path / "none.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
        container.mux(stream.encode())
    with pytest.raises(MediaError, match=r"none\.mp4 holds no frame|none\.mp4 is not a video"):
        probe(path)


def test_a_clip_that_breaks_off_gives_what_there_is(tmp_path):
    whole = write_clip(tmp_path / "whole.mp4", toy_frames(60))
    half = tmp_path / "half.mp4"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    assert readable(whole) == 60
    assert 5 < readable(half) < 60


def readable(path):
    count = 0
    with suppress(DamagedMediaError):
        for _ in read_frames(path):
            count += 1
    return count


def test_damage_in_the_middle_says_where(tmp_path):
    data = bytearray(write_clip(tmp_path / "c.mp4", toy_frames(60)).read_bytes())
    start = data.index(b"mdat") + len(data) // 3
    data[start : start + 4000] = b"\xff" * 4000
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    with pytest.raises(DamagedMediaError, match=r"damaged\.mp4 is damaged or cut short after \d"):
        list(read_frames(path))
    assert readable(path) > 5


@pytest.mark.parametrize(
    ("name", "size", "seconds"),
    both(
        [("film.mp4", (640, 360), 8.0), ("leaves.mov", (640, 360), 5.0)],
        [
            ("hamilton_multi_cuts.mp4", (640, 360), 9.18),
            ("face_then_none.mov", (960, 540), 6.4),
            ("pexels_one_face.mp4", (640, 360), 19.7),
        ],
    ),
)
def test_real_clips(clips, name, size, seconds):
    info = probe(clips(name))
    assert (info.width, info.height) in (size, size[::-1])
    assert info.duration == pytest.approx(seconds, abs=0.05)
