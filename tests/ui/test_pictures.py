"""Pictures that were decoded to less than they have."""

from __future__ import annotations

from pathlib import Path

import insightface
import numpy as np
import pytest
from PIL import Image

from faceinsight import FaceAnalyzer
from faceinsight.media.image import LoadedImage
from faceinsight.ui.pictures import look_at


@pytest.fixture(scope="module")
def analyzer():
    return FaceAnalyzer("compact")


def test_what_is_found_is_in_pixels_of_the_file(analyzer):
    photo = Image.open(Path(insightface.__file__).parent / "data" / "images" / "t1.jpg").convert("RGB")
    width, height = photo.width * 3, photo.height * 3
    small, other = LoadedImage(np.asarray(photo), size=(width, height)), LoadedImage(np.asarray(photo))
    whole = analyzer.analyze(np.asarray(photo.resize((width, height))))
    large, as_it_is = look_at([small, other], analyzer, 0.5, 0)
    assert (large.width, large.height) == (width, height)
    assert (as_it_is.width, as_it_is.height) == photo.size
    assert len(large.faces) == len(as_it_is.faces) == len(whole.faces) == 6
    for found, expected in zip(large.faces, whole.faces, strict=True):
        np.testing.assert_allclose(found.bbox, expected.bbox, atol=0.1 * expected.side)
        np.testing.assert_allclose(found.kps, expected.kps, atol=0.1 * expected.side)
    # The smallest face that matters, likewise.
    least = sorted(face.side for face in large.faces)[3]
    large, as_it_is = look_at([small, other], analyzer, 0.5, least)
    assert 0 < len(large.faces) < 6
    assert all(face.side >= least for face in large.faces)
    assert not as_it_is.faces
