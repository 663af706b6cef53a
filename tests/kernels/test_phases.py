"""Dilated convolution by phases (kernels/phases.py) beside im2col and a product, which the definition holds (tests/layers)."""

import numpy as np
import pytest
from arrays import empty, host, numbers, put
from hypothesis import given
from hypothesis import strategies as st

from deconvnet.core import kernels
from deconvnet.core.kernels import After, Geometry, convolution, phases

SIDES = st.integers(1, 14)


@st.composite
def dilated(draw):
    """Windows without a stride, dilated in one direction at least, padded by some taps."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.tuples(st.integers(1, 5), st.integers(2, 5)))
    taps = (draw(st.integers(0, k)) for k in kernel)
    return Geometry(kernel, pad=tuple(t * d for t, d in zip(taps, dilation, strict=True)), dilation=dilation)


@given(dilated(), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), SIDES, SIDES)
def test_a_dilated_convolution_is_one_of_phases(device, geometry, images, channels, outputs, height, width):
    """Forward and both gradients, maps that the dilation does not divide, and phases that hold nothing."""
    size = geometry.output_size(height, width)
    if min(size) < 1:
        return
    x, dy = put(numbers(images, channels, height, width)), put(numbers(images, outputs, *size, seed=1))
    weights = put(numbers(outputs, channels, *geometry.kernel, seed=2))
    y, expected = empty(*dy.shape), empty(*dy.shape)
    phases.convolve(kernels.conv_forward, x, weights, None, geometry, y, None)
    convolution.correlate(x, weights, geometry, expected)
    np.testing.assert_allclose(host(y), host(expected), rtol=0, atol=1e-12)
    dx, expected = empty(*x.shape), empty(*x.shape)
    phases.convolve(kernels.deconv_forward, dy, weights, None, geometry, dx, None)
    convolution.correlate_backward_data(dy, weights, geometry, expected)
    np.testing.assert_allclose(host(dx), host(expected), rtol=0, atol=1e-12)
    dweights, expected = (put(numbers(*weights.shape, seed=3)) for _ in range(2))
    phases.backward_weights(kernels.conv_backward, x, dy, geometry, dweights)
    convolution.correlate_backward_weights(x, dy, geometry, expected)
    np.testing.assert_allclose(host(dweights), host(expected), rtol=0, atol=1e-11)


TWO = Geometry((3, 3), pad=(2, 2), dilation=(2, 2))


@pytest.mark.parametrize("transposed", [False, True])
def test_whoever_convolves_takes_them_with_bias_and_what_comes_after(device, transposed, monkeypatch):
    x, weights = put(numbers(1, 16, 21, 22)), put(numbers(16, 16, 3, 3, seed=1))
    bias, gain, shift = (put(numbers(16, seed=seed)) for seed in (2, 3, 4))
    forward = kernels.deconv_forward if transposed else kernels.conv_forward
    found, expected = empty(*x.shape), empty(*x.shape)
    assert kernels.algorithm(TWO, x.shape, x.shape, transposed) == "phases"
    forward(x, weights, bias, TWO, found, After(gain, shift, rectified=True))
    monkeypatch.setenv("DECONVNET_CONVOLUTION", "product")
    assert kernels.algorithm(TWO, x.shape, x.shape, transposed) == "product"
    forward(x, weights, bias, TWO, expected, After(gain, shift, rectified=True))
    np.testing.assert_allclose(host(found), host(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_go_by_them_too(device, transposed, monkeypatch):
    x, dy, weights = (
        put(numbers(2, 16, 19, 21)),
        put(numbers(2, 16, 19, 21, seed=1)),
        put(numbers(16, 16, 3, 3, seed=2)),
    )
    backward = kernels.deconv_backward if transposed else kernels.conv_backward
    results = []
    for asked in ("winograd", "product"):
        monkeypatch.setenv("DECONVNET_CONVOLUTION", asked)
        chosen = kernels.algorithm(TWO, x.shape, dy.shape, transposed, of_weights=True)
        assert chosen == ("phases" if asked == "winograd" else "product")
        dx, dweights = empty(*x.shape), put(np.zeros((16, 16, 3, 3)))
        backward(x, weights, dy, TWO, dx, dweights)
        results.append((host(dx), host(dweights)))
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    "channels, side, dilation, forward, of_weights",
    [
        (512, 41, 2, "phases", "phases"),  # conv5 of DeepLab
        (512, 41, 12, "phases", "product"),  # its fc6: phases of 4x4
        (32, 64, 8, "phases", "phases"),  # ENet
        (32, 256, 8, "product", "product"),  # too large for the cache, too little to compute
        (8, 64, 2, "product", "product"),  # as for Winograd
    ],
)
def test_phases_are_taken_where_tiles_repay_them(channels, side, dilation, forward, of_weights, monkeypatch):
    monkeypatch.delenv("DECONVNET_CONVOLUTION", raising=False)
    geometry = Geometry((3, 3), pad=(dilation, dilation), dilation=(dilation, dilation))
    shape = (1, channels, side, side)
    assert kernels.algorithm(geometry, shape, shape) == forward
    assert kernels.algorithm(geometry, shape, shape, transposed=True) == forward
    assert kernels.algorithm(geometry, shape, shape, of_weights=True) == of_weights


def test_padding_of_a_part_of_a_dilation_takes_the_product():
    """A window's taps would see another phase than its result is of."""
    geometry = Geometry((3, 3), pad=(1, 2), dilation=(2, 2))
    assert kernels.algorithm(geometry, (1, 64, 40, 40), (1, 64, *geometry.output_size(40, 40))) == "product"
