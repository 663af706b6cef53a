"""The exponential that softmax computes in vectors, against NumPy's in float64."""

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
