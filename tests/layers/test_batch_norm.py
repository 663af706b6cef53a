"""BN of the authors' Caffe: by the batch (LEARN) and as an affine map (INFERENCE)."""

import numpy as np
import pytest
import reference
from arrays import numbers
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from one_layer import TEST, TRAIN, OneLayer

SHAPES = [(2, 3, 4, 5), (1, 2, 3, 3), (3, 1, 1, 1), (4, 2, 1, 3), (2, 2, 7, 1)]


def layer_of(x, mode="LEARN", scale=None, shift=None, **options):
    """A BN layer over x with random scale and shift."""
    channels = x.shape[1]
    parameters = (
        numbers(1, channels, 1, 1, seed=1) if scale is None else scale,
        numbers(1, channels, 1, 1, seed=2) if shift is None else shift,
    )
    return OneLayer(f'type: "BN" bn_param {{ bn_mode: {mode} }}', x, parameters=parameters, **options)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("in_place", [False, True])
def test_it_normalises_by_the_batch_in_both_phases(device, shape, phase, in_place):
    """The release's rule: the batch's own biased mean and variance, in TEST too."""
    x = 3 + 2 * numbers(*shape)
    layer = layer_of(x, phase=phase, in_place=in_place)
    expected, *_ = reference.batch_norm(x, *(p.ravel() for p in layer.parameters))
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["LEARN", "INFERENCE"])
@pytest.mark.parametrize("in_place", [False, True])
def test_gradients(device, shape, mode, in_place):
    x = numbers(*shape)
    if shape[0] * shape[2] * shape[3] <= 3 and mode == "LEARN":
        x = x + 4 * np.arange(shape[0]).reshape(-1, 1, 1, 1)  # a tiny variance makes differences of any step useless
    check_gradients(layer_of(x, mode, in_place=in_place))


@given(shape=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 9), st.integers(1, 40)))
def test_any_shape(device, shape):
    x = numbers(*shape)
    if shape[0] * shape[2] * shape[3] < 2:
        return  # one value a channel: see below
    layer = layer_of(x, tops=3)
    y, mean, variance = layer.forward()
    expected, normal, expected_mean, expected_variance = reference.batch_norm(x, *(p.ravel() for p in layer.parameters))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(mean.ravel(), expected_mean, rtol=0, atol=1e-13)
    np.testing.assert_allclose(variance.ravel(), expected_variance, rtol=0, atol=1e-13)
    dy = numbers(*shape, seed=3)
    for diff in layer.parameter_diffs:
        diff[...] = 0
    layer.backward(dy)
    np.testing.assert_allclose(layer.parameter_diffs[0].ravel(), (dy * normal).sum(axis=(0, 2, 3)), rtol=0, atol=1e-11)
    np.testing.assert_allclose(layer.parameter_diffs[1].ravel(), dy.sum(axis=(0, 2, 3)), rtol=0, atol=1e-11)


def test_tops_two_and_three_are_the_mean_and_the_biased_variance(device):
    x = numbers(3, 2, 4, 1)
    layer = layer_of(x, tops=3)
    _, mean, variance = layer.forward()
    assert mean.shape == variance.shape == (1, 2, 1, 1)
    np.testing.assert_allclose(mean.ravel(), x.mean(axis=(0, 2, 3)), rtol=0, atol=1e-14)
    np.testing.assert_allclose(variance.ravel(), x.var(axis=(0, 2, 3)), rtol=0, atol=1e-14)
    check_gradients(layer, differentiable_tops=[0])


def test_one_value_a_channel_becomes_the_shift(device):
    """Its deviation is 0: eps, 1e-9, keeps the quotient finite."""
    layer = layer_of(numbers(1, 3, 1, 1))
    np.testing.assert_array_equal(layer.forward()[0], layer.parameters[1])
    assert np.isfinite(layer.backward(numbers(1, 3, 1, 1, seed=4))[0]).all()


def test_eps_is_the_releases_1e_9(device):
    """A channel of deviation 3e-5 shows it: x = +-d becomes d / sqrt(d^2 + 1e-9)."""
    d = 3e-5
    layer = layer_of(np.array([d, -d]).reshape(2, 1, 1, 1), scale=np.ones((1, 1, 1, 1)), shift=np.zeros((1, 1, 1, 1)))
    np.testing.assert_allclose(
        layer.forward()[0].ravel(), [d / np.sqrt(d * d + 1e-9), -d / np.sqrt(d * d + 1e-9)], rtol=1e-12
    )


def test_a_large_mean_does_not_make_the_variance_negative(device):
    """In float32, E[x^2] - E[x]^2 of these is off by more than the variance itself and may be negative (a trap of the release)."""
    x = (1e4 + 0.1 * numbers(2, 3, 16, 16)).astype(np.float32)
    layer = layer_of(x, tops=3, dtype=np.float32)
    y, _, variance = layer.forward()
    np.testing.assert_allclose(variance.ravel(), x.astype(np.float64).var(axis=(0, 2, 3)), rtol=1e-3)
    assert np.isfinite(y).all()


@pytest.mark.parametrize("in_place", [False, True])
def test_inference_is_scale_times_x_plus_shift(device, in_place):
    x = numbers(2, 3, 4, 5)
    layer = layer_of(x, "INFERENCE", phase=TEST, in_place=in_place)
    scale, shift = layer.parameters
    np.testing.assert_allclose(layer.forward()[0], scale * x + shift, rtol=0, atol=1e-14)


@pytest.mark.parametrize("mode", ["LEARN", "INFERENCE"])
def test_it_keeps_no_copy_of_its_input_where_no_backward_can_follow(device, mode):
    """In TEST without force_backward the net says so, and in-place inference needs no second buffer."""
    layer = layer_of(numbers(1, 2, 3, 3), mode, phase=TEST, in_place=True)
    layer.layer.may_need_backward = False
    layer.forward()
    assert not layer.layer.kept.host_data.any()
    with pytest.raises(ValueError, match="kept nothing of its forward pass for a backward pass"):
        layer.backward(numbers(1, 2, 3, 3))


def test_a_nan_spreads_over_its_channel_only(device):
    x = numbers(2, 3, 2, 2)
    x[1, 1, 0, 0] = np.nan
    (y,) = layer_of(x).forward()
    np.testing.assert_array_equal(np.isnan(y), np.broadcast_to(np.array([False, True, False])[:, None, None], x.shape))
    (y,) = layer_of(x, "INFERENCE").forward()
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))


def test_scale_starts_at_one_and_shift_at_zero_or_as_the_fillers_say():
    plain = OneLayer('type: "BN"', numbers(1, 3, 2, 2))
    assert [p.shape for p in plain.parameters] == [(1, 3, 1, 1)] * 2
    np.testing.assert_array_equal(np.ravel(plain.parameters), [1, 1, 1, 0, 0, 0])
    text = 'type: "BN" bn_param { scale_filler { type: "constant" value: 2 } shift_filler { type: "constant" value: 0.25 } }'
    np.testing.assert_array_equal(np.ravel(OneLayer(text, numbers(1, 1, 2, 2)).parameters), [2, 0.25])


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="mean and variance tops exist in bn_mode: LEARN only"):
        layer_of(numbers(1, 2, 2, 2), "INFERENCE", tops=3)
    with pytest.raises(ValueError, match=r"\(N, C, ...\), not \(4,\)"):
        OneLayer('type: "BN"', numbers(4))
    layer = layer_of(numbers(1, 2, 3, 3))
    with pytest.raises(ValueError, match=r"made for 2 channels; its bottom now has the shape \(1, 3, 3, 3\)"):
        layer.reshape(numbers(1, 3, 3, 3))
