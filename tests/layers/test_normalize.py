"""Normalize against its definition, and its gradients."""

import numpy as np
import pytest
from arrays import numbers
from gradient_check import check_gradients
from one_layer import OneLayer

FILLER = 'scale_filler { type: "uniform" min: 1 max: 3 }'
across_spatial = pytest.mark.parametrize("across_spatial", [True, False], ids=["image", "place"])
channel_shared = pytest.mark.parametrize("channel_shared", [True, False], ids=["one scale", "scales"])
SHAPES = [(2, 3, 4, 5), (1, 2, 3, 3), (3, 5), (2, 4, 1, 1), (2, 3, 2, 2, 2)]


def normalize(x, across_spatial, channel_shared, fields=FILLER, **options):
    def word(flag):
        return "true" if flag else "false"

    fields = f"across_spatial: {word(across_spatial)} channel_shared: {word(channel_shared)} {fields}"
    return OneLayer(f'type: "Normalize" norm_param {{ {fields} }}', x, **options)


def normalized(x, scale, across_spatial, eps=1e-10):
    axes = tuple(range(1, x.ndim)) if across_spatial else 1
    length = np.sqrt((x**2).sum(axis=axes, keepdims=True) + eps)
    return scale.reshape(-1, *[1] * (x.ndim - 2)) * x / length


@channel_shared
@across_spatial
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients(device, shape, across_spatial, channel_shared):
    layer = normalize(numbers(*shape), across_spatial, channel_shared)
    assert layer.parameters[0].shape == (() if channel_shared else shape[1:2])
    expected = normalized(layer.inputs[0], layer.parameters[0], across_spatial)
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-14)
    check_gradients(layer)


@channel_shared
@across_spatial
@pytest.mark.parametrize("channels", [1, 3])
def test_an_eps_that_counts(device, channels, across_spatial, channel_shared):
    layer = normalize(numbers(2, channels, 2, 2), across_spatial, channel_shared, f"{FILLER} eps: 0.5")
    expected = normalized(layer.inputs[0], layer.parameters[0], across_spatial, 0.5)
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-14)
    check_gradients(layer)


@channel_shared
@across_spatial
@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 2e-6), (np.float64, 1e-13)])
def test_more_places_than_one_block_or_one_sum_takes(device, across_spatial, channel_shared, dtype, tolerance):
    layer = normalize(numbers(2, 3, 91, 100), across_spatial, channel_shared, dtype=dtype)
    x, scale = layer.inputs[0].astype(float), layer.parameters[0].astype(float)
    np.testing.assert_allclose(layer.forward()[0], normalized(x, scale, across_spatial), rtol=tolerance)
    dy = numbers(*x.shape, seed=1).astype(dtype)
    axes = (1, 2, 3) if across_spatial else 1
    weighted, squares = scale.reshape(-1, 1, 1) * dy, (x**2).sum(axis=axes, keepdims=True) + 1e-10
    dx = (weighted - x * (weighted * x).sum(axis=axes, keepdims=True) / squares) / np.sqrt(squares)
    np.testing.assert_allclose(layer.backward(dy)[0], dx, rtol=0, atol=tolerance * abs(dx).max())
    dscale = (dy * x / np.sqrt(squares)).sum(axis=(0, 2, 3))
    found, expected = layer.parameter_diffs[0], dscale.sum() if channel_shared else dscale
    np.testing.assert_allclose(found, expected, rtol=0, atol=10 * tolerance * abs(dscale).max())


@across_spatial
def test_where_all_is_zero_so_is_the_top(device, across_spatial):
    layer = normalize(np.zeros((2, 3, 4, 5)), across_spatial, True, dtype=np.float32)
    assert not layer.forward()[0].any()
    assert np.isfinite(layer.backward(np.ones((2, 3, 4, 5)))[0]).all()


def test_without_a_filler_the_scale_is_1_and_shared_and_the_length_that_of_the_image():
    layer = OneLayer('type: "Normalize"', np.full((1, 2, 3, 3), 2.0))
    np.testing.assert_array_equal(layer.parameters[0], np.ones(()))
    np.testing.assert_allclose(layer.forward()[0], np.full((1, 2, 3, 3), 1 / np.sqrt(18)))


def test_bottoms_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"needs a bottom with channels, \(N, C, ...\), not \(3,\)"):
        OneLayer('type: "Normalize"', np.zeros(3))
    layer = normalize(numbers(2, 3, 4), True, False)
    with pytest.raises(ValueError, match=r"was made for 3 channels; its bottom now has the shape \(2, 4, 4\)"):
        layer.reshape(numbers(2, 4, 4))
