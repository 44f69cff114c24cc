"""Clips as people have them: every kind is made here, analysed, and written annotated."""

from __future__ import annotations

import io
from contextlib import ExitStack
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from faceinsight import ClipOptions, analyze_clip
from faceinsight.batch.inputs import find_files
from faceinsight.batch.sources import _kind
from faceinsight.media.guard import Guard
from faceinsight.media.video import probe, read_frames
from tests.toy_media import HELD, as_stored, toy_frames, turn_clip, write_clip

FPS = 10
RATE = 48_000
QUIET = {
    "libx264": {"preset": "ultrafast", "crf": "12"},
    "libx265": {"preset": "ultrafast", "crf": "12", "x265-params": "log-level=error"},
    "libvpx-vp9": {"cpu-used": "8", "deadline": "realtime", "crf": "12", "b": "0"},
    "libsvtav1": {"preset": "12", "crf": "20", "svtav1-params": "lp=1"},
    "mpeg4": {"qscale": "2"},
    "flv": {"qmin": "2", "qmax": "2"},
    "wmv1": {"qmin": "2", "qmax": "2"},
    "wmv2": {"qmin": "2", "qmax": "2"},
    "prores_ks": {},
}


def needs(*codecs):
    for codec in codecs:
        if codec not in av.codecs_available:
            pytest.skip(f"this build of FFmpeg has no encoder {codec}")


def tone(seconds, pitch=440.0):
    """Returns (2, N) samples of a tone."""
    time = np.arange(round(seconds * RATE)) / RATE
    return np.tile(0.3 * np.sin(2 * np.pi * pitch * time), (2, 1)).astype(np.float32)


def film(path, frames, codec="libx264", pixels="yuv420p", times=None, sounds=(), covers=0):
    """Writes frames, at times of their own or ten a second, with tracks of sound: (codec, samples)."""
    needs(codec, *(name for name, _ in sounds))
    times = [n / FPS for n in range(len(frames))] if times is None else times
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mjpeg", rate=1) for _ in range(covers)]
        for cover in streams:
            cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
        video = container.add_stream(codec, rate=FPS)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = pixels
        video.options = QUIET[codec]
        video.codec_context.time_base = Fraction(1, 1000)
        tracks = []
        for name, samples in sounds:
            track = container.add_stream(name, rate=RATE)
            track.layout, track.bit_rate = "stereo", 128_000
            tracks.append((track, samples))
        for cover in streams:
            container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        for picture, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for track, samples in tracks:
            resampler = av.AudioResampler(
                track.format, "stereo", RATE, frame_size=track.codec_context.frame_size or 1024
            )
            frame = av.AudioFrame.from_ndarray(samples, "fltp", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            for piece in (*resampler.resample(frame), *resampler.resample(None)):
                container.mux(track.encode(piece))
            container.mux(track.encode())
    return path


def shown(path):
    """Returns (seconds, brightness) of a file's pictures, by the file's own clock."""
    with av.open(str(path)) as container:
        return [(float(frame.time), frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]


def heard(path):
    """Returns the codec of a file's sound and (N,) samples from the beginning of its clock on."""
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        resampler = av.AudioResampler("fltp", "mono", RATE)
        pieces = [piece for frame in container.decode(track) for piece in resampler.resample(frame)]
    begin = round(float(pieces[0].time) * RATE)
    samples = np.concatenate([piece.to_ndarray()[0] for piece in pieces])
    return track.codec_context.codec.canonical_name, np.concatenate(
        [np.zeros(max(begin, 0)), samples[max(-begin, 0) :]]
    )


def columns(result):
    return [round(analysis.faces[0].bbox[0] / 32) for _, analysis in result.frames if analysis.faces]


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("phone.mov", "libx265", "yuv420p"),
        ("hdr.mov", "libx265", "yuv420p10le"),
        ("web.webm", "libvpx-vp9", "yuv420p"),
        ("new.mp4", "libsvtav1", "yuv420p"),
        ("new.mkv", "libsvtav1", "yuv420p10le"),
        ("old.avi", "mpeg4", "yuv420p"),
        ("stream.flv", "libx264", "yuv420p"),
        ("old.flv", "flv", "yuv420p"),
        ("old.wmv", "wmv2", "yuv420p"),
        ("older.asf", "wmv1", "yuv420p"),
        ("cut.mov", "prores_ks", "yuv422p10le"),
        ("full.mp4", "libx264", "yuvj420p"),
        ("fine.mp4", "libx264", "yuv444p"),
    ],
)
def test_every_codec(toy_analyzer, tmp_path, name, codec, pixels):
    frames = toy_frames(6)
    path = film(tmp_path / name, frames, codec, pixels)
    result = analyze_clip(toy_analyzer, path, tmp_path / "out.mp4")
    assert result.note is None
    assert columns(result) == [1, 2, 3, 4, 5, 6]
    written = list(read_frames(tmp_path / "out.mp4"))
    assert [frame.time for frame in written] == pytest.approx([n / FPS for n in range(6)], abs=0.002)
    # Far from the face the picture is as bright as it was.
    assert abs(written[3].pixels[300:].astype(int) - frames[3][300:]).mean() < 4


@pytest.mark.parametrize("size", [(639, 479), (641, 480), (640, 478), (638, 482)])
def test_odd_sizes(toy_analyzer, tmp_path, size):
    frames = [np.pad(frame, ((0, 2), (0, 2), (0, 0)), "edge")[: size[1], : size[0]] for frame in toy_frames(4)]
    path = film(tmp_path / "odd.webm", frames, "libvpx-vp9")
    result = analyze_clip(toy_analyzer, path, tmp_path / "out.mp4")
    assert (result.info.width, result.info.height) == size
    info = probe(tmp_path / "out.mp4")
    assert (info.width, info.height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert columns(result) == [1, 2, 3, 4]


@pytest.mark.parametrize("held", HELD)
def test_a_phone_held_in_any_way_and_one_that_mirrors(toy_analyzer, tmp_path, held):
    frames = toy_frames(4)
    stored = [as_stored(frame, held) for frame in frames]
    path = turn_clip(write_clip(tmp_path / "c.mp4", stored, sound=True), held)
    result = analyze_clip(toy_analyzer, path, tmp_path / "out.mp4")
    assert (result.info.width, result.info.height) == (640, 480)
    assert columns(result) == [1, 2, 3, 4]
    assert [round(analysis.faces[0].bbox[1] / 32) for _, analysis in result.frames] == [5] * 4
    with av.open(str(tmp_path / "out.mp4")) as container:
        # As it is, without a word of how to turn it.
        written = next(container.decode(video=0))
        assert "DISPLAYMATRIX" not in written.side_data
    assert written.to_ndarray(format="rgb24")[176, 32 + 16].min() > 170


@pytest.mark.parametrize("size", [(640, 480), (639, 479)])
@pytest.mark.parametrize("held", HELD)
def test_mirrored_frames_of_any_size(tmp_path, held, size):
    picture = cv2.resize(np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [250, 250, 250]]], np.uint8), size)
    path = turn_clip(film(tmp_path / "c.mp4", [as_stored(picture, held)] * 2, "libx264", "yuv444p"), held)
    shown = next(read_frames(path)).pixels
    assert shown.shape == picture.shape
    assert np.abs(shown.astype(int) - picture).mean() < 4


def test_a_frame_with_notes_that_are_not_known_is_turned(tmp_path):
    # FFmpeg hands on what a camera noted with each of its JPEGs, and PyAV has no name for that.
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    buffer = io.BytesIO()
    Image.fromarray(as_stored(toy_frames(1)[0], 6)).save(buffer, "jpeg", exif=exif)
    path = tmp_path / "camera.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = 640, 480, "yuvj420p"
        stream.codec_context.open()
        packet = av.Packet(buffer.getvalue())
        packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1, FPS)
        container.mux(packet)
    assert next(read_frames(path)).pixels[176, 32 + 16].min() > 170


def test_4k(toy_analyzer, tmp_path):
    frames = [cv2.resize(frame, (2880, 2160), interpolation=cv2.INTER_NEAREST) for frame in toy_frames(3)]
    path = film(tmp_path / "large.mp4", frames)
    result = analyze_clip(toy_analyzer, path, tmp_path / "out.mp4")
    assert [round(a.faces[0].bbox[0] / 144) for _, a in result.frames] == [1, 2, 3]
    assert (probe(tmp_path / "out.mp4").width, probe(tmp_path / "out.mp4").height) == (2880, 2160)


def test_frames_that_change_their_size(toy_analyzer, tmp_path):
    halves = [cv2.resize(frame, (320, 240), interpolation=cv2.INTER_AREA) for frame in toy_frames(8)[4:]]
    parts = [film(tmp_path / "a.ts", toy_frames(4)), film(tmp_path / "b.ts", halves)]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    result = analyze_clip(toy_analyzer, path, tmp_path / "out.mp4")
    assert columns(result)[:4] == [1, 2, 3, 4]
    assert columns(result)[-1] == 8
    assert {frame.pixels.shape for frame in read_frames(tmp_path / "out.mp4")} == {(480, 640, 3)}


@pytest.mark.parametrize(("codec", "reader"), [("aac", "copied"), ("ac3", "encoded")])
def test_recordings_one_after_another_in_a_file_whose_clock_begins_anew(toy_analyzer, tmp_path, codec, reader):
    moving = toy_frames(18)
    parts = [
        film(tmp_path / "a.ts", moving[:8], sounds=[(codec, tone(0.8))]),
        film(tmp_path / "b.ts", moving[8:], sounds=[(codec, tone(1.0, 880))]),
    ]
    path = tmp_path / "both.MTS"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    result = analyze_clip(toy_analyzer, path, tmp_path / "out.mp4", ClipOptions(rate=10))
    assert columns(result) == list(range(1, 19))
    assert [at for at, _ in shown(tmp_path / "out.mp4")] == pytest.approx([n / FPS for n in range(18)], abs=0.002)
    # How the second one's sound lies to its pictures, nobody knows: better none than some that is out of step.
    _, sound = heard(tmp_path / "out.mp4")
    assert len(sound) / RATE == pytest.approx(0.8, abs=0.08)


def test_clips_of_camcorders_are_found_in_folders(tmp_path):
    paths = [film(tmp_path / name, toy_frames(2)) for name in ("card.MTS", "disc.m2ts")]
    assert find_files([tmp_path], print) == paths
    assert [_kind(path.name) for path in paths] == ["clip", "clip"]
    assert probe(paths[0]).width == 640


@pytest.mark.parametrize("begin", [0.0, 3.0])
def test_a_matroska_file_whose_sound_is_longer_is_not_cut_short(toy_analyzer, tmp_path, begin):
    times = [begin + n / FPS for n in range(8)]
    path = film(tmp_path / "late.mkv", toy_frames(8), times=times, sounds=[("flac", tone(6))])
    result = analyze_clip(toy_analyzer, path)
    assert result.note is None
    assert result.info.duration == pytest.approx(0.8, abs=0.11)


def test_pixels_that_are_not_square_stay_so(toy_analyzer, tmp_path):
    path = tmp_path / "dv.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 11)
        for picture in toy_frames(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    analyze_clip(toy_analyzer, path, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)


def test_a_cover_is_not_the_video(toy_analyzer, tmp_path):
    path = film(tmp_path / "song.mp4", toy_frames(4), covers=1)
    assert columns(analyze_clip(toy_analyzer, path)) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "codec", "written"),
    [
        ("c.mp4", "aac", "aac"),
        ("c.ts", "aac", "aac"),
        ("c.mkv", "libmp3lame", "mp3"),
        ("c.webm", "libopus", "opus"),
        ("c.mkv", "flac", "flac"),
        ("c.mkv", "ac3", "aac"),
        ("c.mov", "pcm_s16le", "aac"),
        ("c.flv", "aac", "aac"),
        ("c.wmv", "wmav2", "aac"),
    ],
)
def test_sound_is_copied_where_browsers_play_it_in_an_mp4(toy_analyzer, tmp_path, name, codec, written):
    video = {"webm": "libvpx-vp9", "wmv": "wmv2"}.get(name[2:], "libx264")
    samples = np.hstack([0 * tone(0.5), tone(0.7)])
    path = film(tmp_path / name, toy_frames(12), video, sounds=[(codec, samples)])
    analyze_clip(toy_analyzer, path, tmp_path / "out.mp4")
    (_, source), (kind, sound) = heard(path), heard(tmp_path / "out.mp4")
    assert kind == written
    began, sounded = (
        np.argmax(np.abs(wave) > 0.1) / RATE - shown(file)[0][0]
        for wave, file in ((source, path), (sound, tmp_path / "out.mp4"))
    )
    assert sounded == pytest.approx(began, abs=0.006)
    assert np.abs(sound).max() == pytest.approx(np.abs(source).max(), abs=0.05)


def test_sound_that_no_mp4_takes_is_encoded_anew(toy_analyzer, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.RATE", 8000)
    samples = tone(1.2)
    path = film(tmp_path / "old.mkv", toy_frames(12), sounds=[("libmp3lame", samples)])
    analyze_clip(toy_analyzer, path, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        (track,) = container.streams.audio
        assert track.codec_context.name == "aac"


def both_in_one(path, *films):
    """Writes the tracks of several files into one."""
    with ExitStack() as stack:
        container = stack.enter_context(av.open(str(path), "w"))
        sources = [stack.enter_context(av.open(str(film))) for film in films]
        tracks = {stream: container.add_stream_from_template(stream) for file in sources for stream in file.streams}
        packets = [packet for file in sources for packet in file.demux() if packet.dts is not None]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            packet.stream = tracks[packet.stream]
            container.mux(packet)
    return path


@pytest.mark.parametrize("reader", ["copied", "encoded"])
@pytest.mark.parametrize("first", [0, 1])
def test_of_several_tracks_the_first_are_taken(toy_analyzer, tmp_path, reader, first):
    pitches = (440, 880)
    moving = toy_frames(12)
    films = [
        film(tmp_path / "0.mkv", moving, sounds=[("aac", tone(1.2, pitches[0]))]),
        film(tmp_path / "1.mkv", moving[::-1], sounds=[("aac", tone(1.2, pitches[1]))]),
    ]
    path = both_in_one(tmp_path / "c.mkv", films[first], films[1 - first])
    guard = Guard()
    try:
        how = {} if reader == "copied" else {"reader": guard}
        result = analyze_clip(toy_analyzer, path, tmp_path / "out.mp4", **how)
    finally:
        guard.close()
    assert columns(result) == list(range(1, 13))[:: 1 if first == 0 else -1]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert (len(container.streams.video), len(container.streams.audio)) == (1, 1)
    samples = heard(tmp_path / "out.mp4")[1][4800:52800]
    assert np.abs(np.fft.rfft(samples)).argmax() == pytest.approx(pitches[first], abs=2)


@pytest.mark.parametrize("reader", ["copied", "encoded"])
@pytest.mark.parametrize("start", [0.0, 2.0])
def test_sound_and_picture_of_a_variable_rate_clip_stay_together(toy_analyzer, tmp_path, reader, start):
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.choice([0.016, 0.033, 0.05, 0.2], 100)).round(3)
    times -= times[0]
    flash = 90
    dark, bright = np.full((480, 640, 3), 40, np.uint8), np.full((480, 640, 3), 230, np.uint8)
    frames = [bright if n == flash else dark for n in range(len(times))]
    samples = np.zeros((2, round((times[-1] + 0.5) * RATE)), np.float32)
    at = round(times[flash] * RATE)
    samples[:, at : at + 4800] = tone(0.1)
    path = film(tmp_path / "vfr.mkv", frames, times=times.tolist(), sounds=[("aac", samples)])
    guard = Guard()
    try:
        how = {} if reader == "copied" else {"reader": guard}
        analyze_clip(toy_analyzer, path, tmp_path / "out.mp4", ClipOptions(start=start, rate=10), **how)
    finally:
        guard.close()
    written = shown(tmp_path / "out.mp4")
    assert [time for time, _ in written] == pytest.approx([time - start for time in times if time >= start], abs=0.002)
    (seen,) = [time for time, light in written if light > 150]
    sound = np.abs(heard(tmp_path / "out.mp4")[1])
    assert np.argmax(sound > 0.1) / RATE == pytest.approx(seen, abs=0.012)


def test_sound_with_a_hole_stays_in_step(toy_analyzer, tmp_path):
    path = tmp_path / "hole.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = 640, 480, "yuv420p"
        track = container.add_stream("pcm_s16le", rate=RATE)
        track.layout = "stereo"
        for picture in toy_frames(18):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        for begin, seconds in ((0.0, 0.4), (1.0, 0.6)):
            frame = av.AudioFrame.from_ndarray(
                (tone(seconds) * 32767).astype(np.int16).T.reshape(1, -1).copy(), "s16", "stereo"
            )
            frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), round(begin * RATE)
            container.mux(track.encode(frame))
        container.mux(track.encode())
    analyze_clip(toy_analyzer, path, tmp_path / "out.mp4")
    loud = np.abs(heard(tmp_path / "out.mp4")[1])
    assert loud[4800:16800].max() > 0.2
    assert loud[24000:43200].max() < 0.05
    assert loud[50400:72000].max() > 0.2
