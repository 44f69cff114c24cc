from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from faceinsight import MediaError, load_image
from faceinsight.media.image import encode_image
from tests.toy_media import HELD, as_stored


@pytest.fixture
def picture():
    """Left half red, right half blue, 40 wide and 20 high."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20, 0] = pixels[:, 20:, 2] = 255
    return Image.fromarray(pixels)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def assert_red_left_blue_right(pixels, tolerance=60):
    assert pixels.dtype == np.uint8
    assert pixels.shape == (20, 40, 3)
    assert np.abs(pixels[10, 5].astype(int) - (255, 0, 0)).max() < tolerance
    assert np.abs(pixels[10, 35].astype(int) - (0, 0, 255)).max() < tolerance


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "bmp", "tiff", "heif"])
def test_every_usual_format(picture, kind):
    loaded = load_image(saved(picture, kind))
    assert_red_left_blue_right(loaded.pixels)
    assert loaded.note is None


@pytest.mark.parametrize("size", [(641, 1301), (400_000, 3), (3, 20_000)])
def test_every_pixel_of_a_large_picture_is_in_its_place(size):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    np.testing.assert_array_equal(load_image(saved(Image.fromarray(pixels), "png", compress_level=0)).pixels, pixels)


def test_cmyk(picture):
    assert_red_left_blue_right(load_image(saved(picture.convert("CMYK"), "jpeg")).pixels)


def test_grey(picture):
    pixels = load_image(saved(picture.convert("L"), "png")).pixels
    assert pixels.shape == (20, 40, 3)
    assert (pixels[..., 0] == pixels[..., 2]).all()
    assert pixels[10, 5, 0] == 76


def test_transparent_parts_become_white(picture):
    layer = picture.convert("RGBA")
    layer.putalpha(Image.fromarray(np.repeat([[0], [255]], 10, 0).repeat(40, 1).astype(np.uint8)))
    pixels = load_image(saved(layer, "png")).pixels
    assert (pixels[5] == 255).all()
    assert tuple(pixels[15, 5]) == (255, 0, 0)


def test_a_palette_with_transparency():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    pixels = load_image(saved(image, "png", transparency=1)).pixels
    assert (pixels == 255).all()


def test_sixteen_bit_grey_is_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    pixels = load_image(saved(Image.fromarray(ramp), "png")).pixels
    np.testing.assert_array_equal(pixels[..., 1].ravel(), np.arange(256))


def test_floating_point_tiff_shows_its_whole_range():
    ramp = np.linspace(-1, 3, 256, dtype=np.float32).reshape(16, 16)
    pixels = load_image(saved(Image.fromarray(ramp), "tiff")).pixels
    assert (pixels.min(), pixels.max()) == (0, 255)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "avif", "heif"])
@pytest.mark.parametrize("held", HELD)
def test_phone_photos_are_turned_upright(kind, held):
    corners = np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [250, 250, 250]]], np.uint8)
    upright = corners.repeat(24, 0).repeat(32, 1)
    exif = Image.Exif()
    exif[274] = held
    loaded = load_image(saved(Image.fromarray(as_stored(upright, held)), kind, exif=exif.tobytes()))
    assert loaded.pixels.shape == upright.shape
    assert np.abs(loaded.pixels.astype(int) - upright).mean() < 12


def test_an_animation_gives_its_first_picture_and_says_so(picture):
    frames = [Image.new("RGB", picture.size, color) for color in ("red", "lime", "blue")]
    data = saved(frames[0], "gif", save_all=True, append_images=frames[1:])
    loaded = load_image(data, "dance.gif")
    assert tuple(loaded.pixels[0, 0]) == (255, 0, 0)
    assert loaded.note == "dance.gif is animated: the first picture was analysed."


def test_a_single_pixel():
    assert load_image(saved(Image.new("RGB", (1, 1), "red"), "png")).pixels.tolist() == [[[255, 0, 0]]]


def giant_png(side: int) -> bytes:
    """The header of a huge picture, and hardly any content: decoding would need gigabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("nothing.jpg", b"", "nothing.jpg is empty: choose another file."),
        ("notes.jpg", b"just some text\n" * 50, "notes.jpg is not an image that can be read"),
        ("half.jpg", None, "half.jpg is damaged or cut short"),
        ("huge.png", giant_png(20_000), "huge.png .*pixels"),
        ("large.png", giant_png(9_000), "9000 x 9000 pixels, and 64 million is the limit"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, picture, name, content, sentence):
    if content is None:
        content = saved(picture.resize((400, 400)), "jpeg")[:2500]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=sentence) as caught:
        load_image(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(MediaError, match=r"no\.jpg cannot be read \(no such file or directory\)"):
        load_image(tmp_path / "no.jpg")


def test_encoded_pictures_carry_no_metadata(picture):
    pixels = np.asarray(picture)
    np.testing.assert_array_equal(load_image(encode_image(pixels, "png")).pixels, pixels)
    assert_red_left_blue_right(load_image(encode_image(pixels)).pixels)
    assert not Image.open(io.BytesIO(encode_image(pixels))).getexif()
