import math

import pytest

from faceinsight.ui.components import BoundedSlider, within


@pytest.mark.parametrize(
    ("value", "result"), [(5, 0.9), (-3, 0.1), (0.4, 0.4), (math.nan, 0.1), (None, 0.1), ("x", 0.1), (math.inf, 0.9)]
)
def test_a_number_out_of_range_becomes_the_nearest_in_it(value, result):
    assert within((0.1, 0.9), value) == result
    assert BoundedSlider(0.1, 0.9, 0.5).preprocess(value) == result
