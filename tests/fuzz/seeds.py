"""Small whole files of every kind, made of pictures that dependencies bring."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import insightface
import numpy as np
import pillow_heif
import skimage
from PIL import Image

from tests.toy_media import write_sound

pillow_heif.register_heif_opener()


def _photos(size: tuple[int, int]) -> list[Image.Image]:
    paths = (
        Path(skimage.__file__).parent / "data" / "astronaut.png",
        Path(insightface.__file__).parent / "data" / "images" / "t1.jpg",
    )
    return [Image.open(path).convert("RGB").resize(size) for path in paths]


def pictures() -> dict[str, bytes]:
    """Returns pictures by name, some kilobytes each."""
    face, group = _photos((96, 80))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    sheer = face.copy()
    sheer.putalpha(group.convert("L"))
    wide = Image.fromarray((np.asarray(face.convert("L")).astype(np.uint16) << 8) + 7)
    real = Image.fromarray(np.asarray(face.convert("L")).astype(np.float32) / 255)
    many = {"save_all": True, "append_images": [group, face]}
    kinds: list[tuple[str, Image.Image, dict[str, object]]] = [
        ("jpeg", face, {"quality": 80, "exif": exif}),
        ("jpeg", group, {"progressive": True, "icc_profile": bytes(300)}),
        ("jpeg", face.convert("CMYK"), {}),
        ("jpeg", face.convert("L"), {"restart_marker_blocks": 3}),
        ("mpo", face, many),
        ("png", group, {"exif": exif}),
        ("png", sheer, {}),
        ("png", face.quantize(16), {"transparency": 3}),
        ("png", wide, {}),
        ("png", face, many),
        ("webp", face, {"exif": exif}),
        ("webp", sheer, {"lossless": True}),
        ("webp", face, many),
        ("gif", face, many),
        ("gif", group.quantize(8), {"transparency": 1}),
        ("tiff", face, {"exif": exif}),
        ("tiff", group, {"compression": "tiff_lzw"}),
        ("tiff", group, {"compression": "tiff_adobe_deflate"}),
        ("tiff", face, {"compression": "jpeg"}),
        ("tiff", face.convert("1"), {"compression": "group4"}),
        ("tiff", face, many),
        ("tiff", real, {}),
        ("tiff", face.convert("CMYK"), {"compression": "packbits"}),
        ("bmp", face, {}),
        ("bmp", group.quantize(256), {}),
        ("heif", face, {"exif": exif.tobytes()}),
        ("heif", face, many),
        ("avif", face, {"exif": exif}),
        ("avif", sheer, {}),
        ("avif", face, many),
    ]
    files = {}
    for number, (kind, picture, options) in enumerate(kinds):
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        files[f"{number:02}.{kind}"] = buffer.getvalue()
    return files


def clips() -> dict[str, bytes]:
    """Returns clips by name, ten frames each, most with sound."""
    kinds = (
        ("mp4", "libx264", "aac"),
        ("mov", "mjpeg", "pcm_s16le"),
        ("matroska", "libx264", "libmp3lame"),
        ("webm", "libvpx", "libopus"),
        ("avi", "mpeg4", "libmp3lame"),
        ("mpegts", "mpeg2video", "mp2"),
        ("mpeg", "mpeg1video", "mp2"),
        ("mp4", "libx265", None),
        ("flv", "flv", "aac"),
        ("asf", "wmv2", "wmav2"),
    )
    return {f"{n}.{kind}": _clip(kind, video, audio) for n, (kind, video, audio) in enumerate(kinds)}


def _clip(kind: str, video: str, audio: str | None) -> bytes:
    buffer = io.BytesIO()
    face, group = _photos((128, 96))
    with av.open(buffer, "w", format=kind, metadata_encoding="latin-1") as container:
        container.metadata["title"] = "Ferien in Zürich"
        stream = container.add_stream(video, rate=25)
        stream.width, stream.height = face.size
        stream.pix_fmt = "yuvj420p" if video == "mjpeg" else "yuv420p"
        if video == "libx265":
            stream.options = {"x265-params": "log-level=none"}
        sound = None
        if audio is not None:
            sound = container.add_stream(audio, rate=48000)
            sound.layout, sound.bit_rate = "mono", 64_000
        for number in range(10):
            picture = Image.blend(face, group, number / 10)
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            write_sound(container, sound, 0.4)
    return buffer.getvalue()


def frames() -> list[bytes]:
    """Returns frames as a browser's camera sends them."""
    files = []
    for photo in _photos((160, 120)):
        for options in ({"quality": 80}, {"quality": 50, "subsampling": 0}):
            buffer = io.BytesIO()
            photo.save(buffer, "jpeg", **options)
            files.append(buffer.getvalue())
    return files
