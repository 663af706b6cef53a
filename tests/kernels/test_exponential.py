"""exp, tanh and the logistic function, which the host computes in vectors, against NumPy's in float64."""

import numpy as np
import pytest

from deconvnet.core import kernels


def share_of_second(difference, dtype):
    """softmax of (0, difference) at many places: the second probability."""
    x = np.stack([np.zeros_like(difference), difference])[None].astype(dtype)
    p = np.empty_like(x)
    kernels.softmax(x, 1, p)
    return p[0, 1]


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 4e-7), (np.float64, 1e-15)])
def test_small_probabilities_keep_their_digits(dtype, tolerance):
    """Down to the smallest that float32 holds with all its digits; the number of places is no multiple of a vector's."""
    difference = -np.linspace(0, 86.9, 100_003).astype(dtype)
    exact = np.exp(difference.astype(np.float64))
    np.testing.assert_allclose(share_of_second(difference, dtype), exact / (1 + exact), rtol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("places", [1, 16, 17])
def test_far_below_is_zero_and_nan_stays(dtype, places):
    assert not share_of_second(np.full(places, -1e9), dtype).any()
    assert not share_of_second(np.full(places, -np.inf), dtype).any()
    assert np.isnan(share_of_second(np.full(places, np.nan), dtype)).all()


@pytest.mark.parametrize("places", [5, 16, 300])
def test_softmax_may_be_in_place(places):
    x = np.random.default_rng(0).normal(size=(1, 3, places)).astype(np.float32)
    p = np.empty_like(x)
    kernels.softmax(x, 1, p)
    kernels.softmax(x, 1, x)
    assert np.array_equal(x, p)


def computed(kind, x):
    y = np.empty_like(x)
    kernels.neuron(kind, x, y)
    return y


# to where float32 still holds all digits of the result, and the small numbers around 0
VALUES = np.concatenate([np.linspace(-86, 86, 100_003), np.linspace(-1, 1, 100_003), np.geomspace(1e-37, 1, 1001)])


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 3e-7), (np.float64, 1e-15)])
@pytest.mark.parametrize("kind", ["tanh", "sigmoid"])
def test_tanh_and_sigmoid_keep_their_digits(kind, dtype, tolerance):
    x = VALUES.astype(dtype)
    exact = np.tanh(x.astype(float)) if kind == "tanh" else 1 / (1 + np.exp(-x.astype(float)))
    np.testing.assert_allclose(computed(kind, x), exact, rtol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_and_sigmoid_have_their_limits(dtype):
    x = np.array([-np.inf, -1e9, -0.0, 0, 1e9, np.inf, np.nan], dtype)
    np.testing.assert_array_equal(computed("tanh", x), [-1, -1, 0, 0, 1, 1, np.nan])
    np.testing.assert_array_equal(computed("sigmoid", x), [0, 0, 0.5, 0.5, 1, 1, np.nan])
    assert np.signbit(computed("tanh", x)[2])
