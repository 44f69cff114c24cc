from __future__ import annotations

import av
import numpy as np
import pytest

from faceinsight import DrawOptions, Face, draw
from faceinsight.drawing import draw_into
from faceinsight.media.yuv import Colors, YuvImage


@pytest.fixture(scope="module")
def picture():
    """A picture whose colours change slowly, as 4:2:0 has them at half the size."""
    y, x = np.mgrid[0:98, 0:132]
    return np.stack([x * 255 // 131, y * 255 // 97, 255 - x], axis=2).astype(np.uint8)


@pytest.mark.parametrize("size", [(98, 132), (97, 131), (97, 132), (98, 131), (5, 3)])
def test_a_picture_comes_back_whatever_its_sides(picture, size):
    part = picture[: size[0], : size[1]]
    image = YuvImage.of_rgb(part)
    assert (image.height, image.width) == size
    assert image.rgb().shape == part.shape
    assert np.abs(image.rgb().astype(int) - part).max() < 12


@pytest.mark.parametrize(
    "kind", ["yuv420p10le", "yuv422p", "yuv444p", "yuvj420p", "nv12", "gbrp", "gray", "bgra", "yuv420p12le"]
)
@pytest.mark.parametrize("size", [(98, 132), (97, 131)])
def test_frames_of_any_format(picture, kind, size):
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(width=size[1], height=size[0], format=kind)
    image = YuvImage.of_frame(frame)
    wanted = frame.to_ndarray(format="rgb24") if size[1] % 2 == 0 else None
    assert image.rgb().shape == (*size, 3)
    if wanted is not None:
        assert np.abs(image.rgb().astype(int) - wanted).mean() < 4


@pytest.mark.parametrize("matrix", [1, 2, 6, 9])
@pytest.mark.parametrize("full", [False, True])
def test_colours_are_those_that_ffmpeg_reads(matrix, full):
    colors = Colors(matrix=matrix, range=2 if full else 1)
    for color in ((255, 255, 255), (16, 20, 28), (230, 159, 0), (86, 180, 233), (0, 150, 165)):
        image = YuvImage.blank(16, 16, colors)
        for plane, value in zip(image.planes, colors.of_rgb(color), strict=True):
            plane[:] = value
        assert np.abs(image.rgb()[8, 8].astype(int) - color).max() <= 3


@pytest.mark.parametrize("matrix", [0, 3, 5, 7, 8, 10, 11, 14])
def test_colours_said_to_be_like_no_others_are_shown_all_the_same(picture, matrix):
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p10le")
    frame.colorspace = matrix
    assert np.abs(YuvImage.of_frame(frame).rgb().astype(int) - picture).mean() < 30


FACES = [
    Face((30.0, 40.0, 90.0, 120.0), 0.9, age=34.0),
    Face((200.0, 91.0, 271.0, 181.0), 0.9, age=52.0),
]


@pytest.mark.parametrize("size", [(240, 320), (239, 319)])
@pytest.mark.parametrize("blur", [False, True])
def test_a_video_is_drawn_on_as_a_picture_is(size, blur):
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    pixels = np.stack([x // 2, y // 2, (x + y) // 4], axis=2).astype(np.uint8)
    image = YuvImage.of_rgb(pixels)
    options = DrawOptions(blur=blur)
    draw_into(image, FACES, options)
    wanted = draw(YuvImage.of_rgb(pixels).rgb(), FACES, options)
    # Colour has half the resolution: edges differ, areas do not.
    off = np.abs(image.rgb().astype(int) - wanted).max(axis=2)
    assert np.percentile(off, 90) <= 4
    light = np.abs(image.luma.astype(int) - YuvImage.of_rgb(wanted).luma)
    assert light.mean() < 1.5
    assert np.percentile(light, 97) < 12
