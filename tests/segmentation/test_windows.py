import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deconvnet.core.segmentation.windows import multi_scale_windows


def test_an_image_of_the_demo_gets_105_windows():
    windows = multi_scale_windows(120, 160)
    assert windows.shape == (105, 4) and windows.dtype == np.int32
    assert windows[0].tolist() == [0, 0, 31, 31]


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.floats(0.1, 1))
def test_windows_are_square_lie_dense_enough_and_cover_every_pixel(height, width, side, stride):
    windows = multi_scale_windows(height, width, [side], stride)
    assert (windows[:, 2:] - windows[:, :2] == side - 1).all()
    for low, length in ((0, width), (1, height)):
        starts = np.unique(windows[:, low])
        assert starts[0] <= 0 and starts[-1] + side >= length
        assert (np.diff(starts) <= np.ceil(side * stride)).all()


@given(st.integers(1, 30), st.integers(30, 60))
def test_a_window_larger_than_the_image_is_centred(length, side):
    ((x1, y1, x2, y2),) = multi_scale_windows(length, length, [side])
    assert x1 == y1 and x2 == y2 and abs((x1 + x2) - (length - 1)) <= 1


@pytest.mark.parametrize("arguments", [(0, 5), (5, 5, [0]), (5, 5, [3], 0), (5, 5, [3], 1.5)])
def test_what_would_leave_gaps_is_refused(arguments):
    with pytest.raises(ValueError, match="pixel|stride"):
        multi_scale_windows(*arguments)
