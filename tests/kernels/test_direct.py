"""The product that needs no columns (kernels/direct.py) beside im2col and a product, which the definition holds (tests/layers)."""

import numpy as np
import pytest
from arrays import numbers
from hypothesis import example, given
from hypothesis import strategies as st

from deconvnet.core.kernels import After, Geometry, convolution, direct
from deconvnet.core.kernels.device import workspace

SIDES = st.integers(1, 40)
WINDOWS = st.tuples(st.integers(1, 6), st.integers(1, 6))
SEEN = st.sampled_from([0, 20_000, 1 << 20])  # bytes of a band: single rows, some, whole images


@st.composite
def geometries(draw):
    """Windows, strides, pads and groups; strides of more than the window, too."""
    kernel = draw(WINDOWS)
    stride = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    pad = tuple(draw(st.integers(0, k + 1)) for k in kernel)
    return Geometry(kernel, stride, pad, group=draw(st.integers(1, 3)))


# beside what is drawn: more outputs than a vector holds, of each group, and more weights than are put in order at a time
@given(geometries(), st.integers(1, 3), SIDES, SIDES, st.integers(1, 4), st.integers(1, 20), SEEN)
@example(Geometry((3, 3), pad=(1, 1), group=2), 2, 13, 17, 2, 17, 1 << 20)
@example(Geometry((5, 6), (2, 1), (2, 3)), 1, 11, 9, 3, 17, 1 << 20)
def test_it_is_the_product_of_columns(geometry, images, height, width, depth, outputs, seen_bytes):
    """Whatever is computed together; nothing that was there stays."""
    size = geometry.output_size(height, width)
    if min(size) < 1:
        return
    group = geometry.group
    x = numbers(images, group * depth, height, width)
    weights = numbers(group * outputs, depth, *geometry.kernel, seed=1)
    found, expected = np.full((images, group * outputs, *size), np.nan), np.empty((images, group * outputs, *size))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(direct, "_SEEN_BYTES", seen_bytes)
        direct.correlate(x, weights, geometry, found)
        convolution.correlate(x, weights, geometry, expected)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
        if geometry.stride == (1, 1) and all(p < k for p, k in zip(geometry.pad, geometry.kernel, strict=True)):
            back, expected = np.full(x.shape, np.nan), np.empty(x.shape)
            direct.correlate_backward_data(found, weights, geometry, back)
            convolution.correlate_backward_data(found, weights, geometry, expected)
            np.testing.assert_allclose(back, expected, rtol=0, atol=1e-10)


@given(geometries(), st.integers(1, 5), SIDES, SIDES, st.integers(1, 4), st.integers(1, 20), SEEN, st.integers(1, 3))
@example(Geometry((3, 3), pad=(1, 1), group=2), 2, 13, 17, 2, 17, 1 << 20, 2)
@example(Geometry((5, 5), pad=(2, 2)), 5, 7, 7, 16, 9, 20_000, 2)
def test_the_gradient_of_the_weights_is_that_of_columns(
    geometry, images, height, width, depth, outputs, seen_bytes, parts
):
    """Whatever is computed together and by however many threads; it is added to what was there."""
    size = geometry.output_size(height, width)
    if min(size) < 1:
        return
    x = numbers(images, geometry.group * depth, height, width)
    dy = numbers(images, geometry.group * outputs, *size, seed=1)
    found = numbers(geometry.group * outputs, depth, *geometry.kernel, seed=2)
    expected = found.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(direct, "_WEIGHTS_SEEN_BYTES", seen_bytes)
        patch.setattr(direct.threads, "count", lambda: parts)
        direct.correlate_backward_weights(x, dy, geometry, found)
    convolution.correlate_backward_weights(x, dy, geometry, expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_what_lies_behind_a_row_of_gradients_does_not_count():
    """The last vector of places reaches into the next output's, of which the last has none behind it, and beyond what windows see."""
    x, dy = numbers(1, 1, 1, 9), numbers(1, 4, 1, 9, seed=1)
    dy[0, 1, 0, 0] = np.nan
    workspace(x, 4096, "seen")[:] = np.nan  # as another layer may have left it
    dweights = np.zeros((4, 1, 1, 7))
    direct.correlate_backward_weights(x, dy, Geometry((1, 7), pad=(0, 3)), dweights)
    assert np.isnan(dweights[1]).any()
    assert np.isfinite(dweights[[0, 2, 3]]).all()


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("after", [None, "ReLU", "gain and shift", "all"])
def test_bias_and_what_comes_after_are_done_while_results_are_written(after, dtype, tolerance):
    geometry = Geometry((5, 4), (2, 1), (2, 1))
    x, weights = numbers(2, 3, 19, 23, dtype=dtype), numbers(21, 3, 5, 4, seed=1, dtype=dtype)
    bias, gain, shift = (numbers(21, seed=seed, dtype=dtype) for seed in (2, 3, 4))
    work = {
        None: None,
        "ReLU": After(rectified=True),
        "gain and shift": After(gain, shift),
        "all": After(gain, shift, rectified=True),
    }[after]
    found, expected = (np.empty((2, 21, *geometry.output_size(19, 23)), dtype) for _ in range(2))
    direct.correlate(x, weights, geometry, found, bias, work)
    convolution.correlate(x, weights, geometry, expected)
    convolution._finish(bias, work, expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_a_nan_marks_only_the_places_whose_windows_hold_it():
    x, weights = numbers(1, 2, 12, 12), numbers(8, 2, 3, 3, seed=1)
    x[0, 1, 5, 6] = np.nan
    y = np.empty((1, 8, 12, 12))
    direct.correlate(x, weights, Geometry((3, 3), pad=(1, 1)), y)
    assert np.isnan(y[0, :, 4:7, 5:8]).all() and np.isnan(y).sum() == 8 * 9
