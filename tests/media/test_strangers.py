"""What a file may not do: name other files, be something else than it says, cost more than it shows."""

from __future__ import annotations

import io
import os
import struct
import threading

import av
import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from faceinsight import MediaError, load_image
from faceinsight.media.image import FORMATS
from faceinsight.media.sound import read_sound
from faceinsight.media.video import VideoLimits, probe, read_frames
from tests.toy_media import toy_frames, write_clip

PLAYLISTS = {
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n",
    "list.ffconcat": "ffconcat version 1.0\nfile '{}'\n",
    "list.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
    'bandwidth="1"><BaseURL>file:{}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "list.asx": '<asx version="3.0"><entry><ref href="{}"/></entry></asx>',
    "list.asf": "[Reference]\nRef1={}\n",
    "list.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\na=control:{}\n",
}


@pytest.fixture
def secret(tmp_path):
    """A clip that nobody sent."""
    (tmp_path / "elsewhere").mkdir()
    return write_clip(tmp_path / "elsewhere" / "secret.ts", toy_frames(12), sound=True)


def is_read(path, **options):
    """Says whether PyAV, left to itself, shows a frame."""
    try:
        with av.open(str(path), **options) as container:
            return next(container.decode(video=0), None) is not None
    except av.error.FFmpegError:
        return False


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", ["", ".mp4"])
def test_a_list_of_files_is_no_video(tmp_path, secret, kind, suffix):
    path = tmp_path / f"{kind}{suffix}"
    path.write_text(PLAYLISTS[kind].format(secret))
    if kind in ("list.m3u8", "list.ffconcat") and not suffix:
        assert is_read(path, options={"safe": "0", "allowed_extensions": "ALL", "extension_picky": "0"})
    with pytest.raises(MediaError, match="is not a video that can be read"):
        probe(path)
    with pytest.raises(MediaError, match="is not a video that can be read"):
        next(read_frames(path))
    assert list(read_sound(path)) == []


def test_a_pattern_of_pictures_is_no_video(tmp_path):
    for number in range(3):
        Image.new("RGB", (64, 48)).save(tmp_path / f"{number}.png")
    assert is_read(tmp_path / "%d.png", format="image2")
    with pytest.raises(MediaError, match="cannot be read"):
        probe(tmp_path / "%d.png")
    (tmp_path / "%d.png").write_bytes((tmp_path / "0.png").read_bytes())
    with pytest.raises(MediaError, match="is not a video"):
        probe(tmp_path / "%d.png")


def grown(data: bytes, path: tuple[bytes, ...], box: bytes) -> bytes:
    """Puts a box in the place of the one that a path of boxes of an MP4 leads to."""
    at = data.index(path[0]) - 4
    size = int.from_bytes(data[at : at + 4])
    if len(path) == 1:
        return data[:at] + box + data[at + size :]
    inner = grown(data[at + 8 : at + size], path[1:], box)
    return data[:at] + struct.pack(">I4s", len(inner) + 8, path[0]) + inner + data[at + size :]


def test_a_mov_whose_pictures_lie_in_another_file(tmp_path, secret):
    # Its index lies behind its pictures: so it may grow.
    whole = tmp_path / "whole.mov"
    with av.open(str(secret)) as source, av.open(str(whole), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    other = str(whole).encode()
    # An alias as old Macs wrote them: volume, name and, as its part of type 2, the whole path.
    alias = struct.pack(">10xB27s12xB63s16xhh16x", 1, b"v", 9, b"whole.mov", 0, 0)
    alias += struct.pack(">HH", 2, len(other)) + other + b"\0" * (len(other) % 2) + b"\xff\xff\0\0"
    entry = struct.pack(">I4sI", len(alias) + 12, b"alis", 0) + alias
    box = struct.pack(">I4sII", len(entry) + 16, b"dref", 0, 1) + entry
    data = grown(whole.read_bytes(), (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"), box)
    start = data.index(b"mdat") + 4
    size = int.from_bytes(data[start - 8 : start - 4]) - 8
    path = tmp_path / "points.mov"
    path.write_bytes(data[:start] + bytes(size) + data[start + size :])
    assert is_read(path, options={"enable_drefs": "1", "use_absolute_path": "1"})
    with pytest.raises(MediaError):
        probe(path)


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for read in (load_image, probe):
        for path in (tmp_path / "pipe.jpg", "/dev/zero", tmp_path):
            with pytest.raises(MediaError, match="is no file but|cannot be read"):
                read(path)


@pytest.mark.parametrize("kind", ["EPS", "PPM", "ICO", "PCX", "TGA", "DDS", "JPEG2000", "PSD", "SGI"])
def test_other_formats_are_not_even_tried(tmp_path, kind):
    path = tmp_path / "picture.jpg"
    if kind == "PSD":
        path.write_bytes(b"8BPS\0\1" + bytes(40))
    else:
        Image.new("RGB", (32, 32)).save(path, kind)
    with pytest.raises(MediaError, match="is not an image that can be read"):
        load_image(path)
    assert kind not in FORMATS


def jpeg(size: tuple[int, int] = (64, 64), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)).save(
        buffer, "JPEG", **options
    )
    return buffer.getvalue()


def with_scans(count: int) -> bytes:
    """Returns a progressive JPEG whose last scan is there many times."""
    data = jpeg(progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def test_a_jpeg_of_very_many_scans_is_refused():
    assert load_image(with_scans(1)).pixels.shape == (64, 64, 3)
    with pytest.raises(MediaError, match="as no camera does it"):
        load_image(with_scans(200), "scans.jpg")


def test_scans_are_counted_where_a_decoder_finds_them():
    # A preview in the notes, pictures that follow, and what looks like a marker in neither count.
    data = jpeg()
    preview = b"\xff\xda" * 200
    notes = b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview
    assert load_image(data[:2] + notes + data[2:] + with_scans(200)).note is None
    # Filling before a marker hides none.
    with pytest.raises(MediaError, match="as no camera does it"):
        load_image(with_scans(200).replace(b"\xff\xda", b"\xff\xff\xff\xda"))


def test_a_jpeg_of_very_many_segments_is_refused():
    data = jpeg()
    assert load_image(data[:2] + b"\xff\xfe\0\2" * 500 + data[2:]).note is None
    with pytest.raises(MediaError, match="as no camera does it"):
        load_image(data[:2] + b"\xff\xfe\0\2" * 5000 + data[2:])


def test_pages_are_not_counted(tmp_path, monkeypatch):
    page = Image.new("RGB", (8, 8), "red")
    page.save(tmp_path / "pages.tif", save_all=True, append_images=[Image.new("RGB", (8, 8))] * 50)
    seen = []
    seek = TiffImageFile._seek
    monkeypatch.setattr(TiffImageFile, "_seek", lambda image, frame: (seen.append(frame), seek(image, frame))[1])
    loaded = load_image(tmp_path / "pages.tif", "pages.tif")
    assert loaded.note == "pages.tif has several pages: the first picture was analysed."
    assert tuple(loaded.pixels[0, 0]) == (255, 0, 0)
    assert set(seen) == {0}


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "avif", "heif"])
def test_a_picture_is_made_no_larger_than_wanted(kind):
    buffer = io.BytesIO()
    picture = Image.new("RGB", (400, 200), "red")
    picture.paste("blue", (200, 0, 400, 200))
    picture.save(buffer, kind)
    loaded = load_image(buffer.getvalue(), "large", largest=5000)
    assert loaded.pixels.shape == (50, 100, 3)
    assert loaded.note == "large has 400 x 200 pixels: it was analysed at 100 x 50."
    assert loaded.pixels[25, 20].tolist() == pytest.approx([255, 0, 0], abs=8)
    assert load_image(buffer.getvalue(), largest=80_000).note is None


def switched(path, *sizes):
    """Writes an MPEG stream whose frames change their size on the way."""
    with path.open("wb") as file:
        for width, height in sizes:
            part = io.BytesIO()
            with av.open(part, "w", format="mpegts") as container:
                stream = container.add_stream("mpeg2video", rate=10)
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                for _ in range(6):
                    picture = np.full((height, width, 3), 90, np.uint8)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
                container.mux(stream.encode())
            file.write(part.getvalue())
    return path


def test_frames_keep_the_size_of_the_first(tmp_path):
    path = switched(tmp_path / "c.ts", (320, 240), (640, 480))
    assert {frame.pixels.shape for frame in read_frames(path)} == {(240, 320, 3)}


def test_a_frame_on_the_way_that_is_too_large_ends_the_clip(tmp_path):
    path = switched(tmp_path / "c.ts", (320, 240), (640, 480))
    frames = read_frames(path, name="c.ts", limits=VideoLimits(decoded=200_000))
    assert next(frames).pixels.shape == (240, 320, 3)
    with pytest.raises(MediaError, match=r"c\.ts is damaged or cut short"):
        list(frames)


def test_a_frame_that_is_too_large_is_refused(tmp_path):
    path = write_clip(tmp_path / "c.mp4", toy_frames(2))
    with pytest.raises(MediaError, match=r"c\.mp4 has 640 x 480 pixels a frame, and 0\.2 million is the limit"):
        probe(path, limits=VideoLimits(decoded=200_000))


def test_a_title_that_is_no_utf8(tmp_path):
    path = tmp_path / "c.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Ferien am Wasser"
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"Ferien", b"F\xe9ri\xe9n"))
    with pytest.raises(UnicodeDecodeError):
        av.open(str(path))
    assert probe(path).width == 64


def test_readers_do_not_wait_for_each_other(tmp_path):
    """Eight readers of one file, at once."""
    path = write_clip(tmp_path / "c.mp4", toy_frames(4))
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(len(list(read_frames(path))))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [4] * 8
