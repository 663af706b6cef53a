"""Channels in pieces, as a GPU takes them: on every device, held to the definition and to the whole kernels."""

import functools

import numpy as np
import pytest
import reference
from arrays import empty, host, numbers, put
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from kernel_calls_gpu import small_pieces
from one_layer import OneLayer

from deconvnet.core import kernels
from deconvnet.core.kernels import pieces

SHAPES = [
    (2, 3, 5, 7),
    (1, 2, 1, 1),
    (9, 5, 1, 1),
    (7, 3, 3, 3),
    (3, 5, 4, 5),
    (5, 1, 9, 9),
    (3, 2, 40, 41),
    (2, 3, 64, 65),
]


def forward(x, in_pieces, rectified=False):
    """(y, mean, variance) of batch norm, on the host."""
    c, dtype = x.shape[1], x.dtype
    scale, shift = (numbers(c, seed=seed, dtype=dtype) for seed in (1, 2))
    arrays = [empty(*size, dtype=dtype) for size in (x.shape, (c,), (c,))]
    kernels.batch_norm_forward(put(x), put(scale), put(shift), 1e-9, *arrays, rectified=rectified, in_pieces=in_pieces)
    return [host(array) for array in arrays]


def backward_of(kernel, x, dy, in_pieces, **options):
    """(dx, dscale, dshift) of batch norm or of the affine map, in the place of dy and added to ones."""
    c, dtype = x.shape[1], x.dtype
    rest = ()
    if kernel is kernels.batch_norm_backward:
        shift, mean, variance = (numbers(c, seed=seed, dtype=dtype) for seed in (2, 5, 6))
        rest = (put(shift), put(mean), put(1 + np.abs(variance)), 1e-9)
    dx, *gradients = put(dy), put(np.ones(c, dtype)), put(np.ones(c, dtype))
    kernel(dx, put(x), put(numbers(c, seed=4, dtype=dtype)), *rest, dx, *gradients, in_pieces=in_pieces, **options)
    return [host(array) for array in (dx, *gradients)]


@given(
    planes=st.integers(1, 40),
    size=st.integers(1, 300),
    most=st.integers(1, 9),
    values=st.sampled_from([32, 64, 100, 4096]),
)
def test_pieces_cover_every_value_once(planes, size, most, values):
    with small_pieces(values):
        cut = pieces.cut(planes, size, most)
    parts = -(-size // cut.run)
    assert cut.together <= most and (cut.together == 1 or parts == 1)
    assert cut.together * cut.run <= max(values, 31 + values, size if 2 * size <= values else 0)
    seen = []
    for number in range(cut.count):  # what piece_of computes
        plane, first = number // parts * cut.together, number % parts * cut.run
        count = (min(cut.together, planes - plane) - 1) * size + min(cut.run, size - first)
        seen += range(plane * size + first, plane * size + first + count)
    assert seen == list(range(planes * size))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("values", [64, 4096])
def test_batch_norm_in_pieces_is_the_definition(device, shape, values):
    x = 3 + 2 * numbers(*shape)
    with small_pieces(values):
        found = forward(x, True)
    y, _, mean, variance = reference.batch_norm(x, *(numbers(shape[1], seed=seed) for seed in (1, 2)))
    for one, other in zip(found, (y, mean, variance), strict=True):
        np.testing.assert_allclose(one, other.reshape(one.shape), rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_in_pieces(device, shape, monkeypatch):
    """dx, dscale and dshift against differences in float64."""
    for name in ("batch_norm_forward", "batch_norm_backward"):
        monkeypatch.setattr(kernels, name, functools.partial(getattr(kernels, name), in_pieces=True))
    x = numbers(*shape[:2], min(shape[2], 13), min(shape[3], 11))
    if x.size == 2:
        return  # one value a channel
    layer = OneLayer('type: "BN"', x, parameters=tuple(numbers(1, x.shape[1], 1, 1, seed=seed) for seed in (1, 2)))
    with small_pieces():
        check_gradients(layer)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-13), (np.float32, 1e-5)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("values", [64, 4096])
def test_pieces_and_whole_channels_agree_within_rounding(device, shape, values, dtype, tolerance):
    c = shape[1]
    x, dy = 3 + numbers(*shape, dtype=dtype), numbers(*shape, seed=3, dtype=dtype)
    results = []
    with small_pieces(values):
        for in_pieces in (False, True):
            found = [*forward(x, in_pieces)] if x.size > c else []
            found += backward_of(kernels.batch_norm_backward, x, dy, in_pieces)
            found += backward_of(kernels.channel_affine_backward, x, dy, in_pieces)
            dbias = put(np.ones(c, dtype))
            kernels.bias_backward(put(dy), dbias, in_pieces=in_pieces)
            results.append([*found, host(dbias)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=tolerance * max(1, np.abs(one).max()))


@pytest.mark.parametrize("shape", [(4, 1, 40, 41), (50, 1, 1, 1), (30, 2, 3, 3)])
def test_a_variance_beside_a_large_mean_keeps_its_digits(device, shape):
    """Where E[x^2] - E[x]^2 in float32 would be noise, or negative."""
    x = (1000 + numbers(*shape)).astype(np.float32)
    with small_pieces():
        variance = forward(x, True)[2]
    expected = x.astype(np.float64).var(axis=(0, 2, 3))
    np.testing.assert_allclose(variance, expected, rtol=1e-3)


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_relu_within_is_the_relu_behind(device, shape, in_pieces):
    x, dy = 3 + numbers(*shape), numbers(*shape, seed=3)
    with small_pieces():
        y, *moments = forward(x, in_pieces)
        rectified, *same = forward(x, in_pieces, rectified=True)
        np.testing.assert_array_equal(rectified, np.maximum(y, 0))
        np.testing.assert_array_equal(moments, same)

        c = shape[1]
        scale, shift = (put(numbers(c, seed=seed)) for seed in (1, 2))
        given = (put(x), scale, shift, *map(put, moments), 1e-9)
        found, expected = ([put(dy), put(np.ones(c)), put(np.ones(c))] for _ in range(2))
        kernels.batch_norm_backward(found[0], *given, *found, rectified=True, in_pieces=in_pieces)
        kernels.relu_backward(expected[0], put(y), 0.0, expected[0])
        kernels.batch_norm_backward(expected[0], *given, *expected, in_pieces=in_pieces)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(host(one), host(other))


@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_value_of_exactly_zero_passes_no_gradient(device, in_pieces):
    """As with a ReLU: the map is constant and the shift 0, so every y is 0."""
    x, dx, gradients = put(np.full((2, 1, 3, 3), 5.0)), empty(2, 1, 3, 3), (put(np.zeros(1)), put(np.zeros(1)))
    channel = [put(np.array([value])) for value in (2.0, 0.0, 5.0, 1.0)]
    given = (put(numbers(2, 1, 3, 3)), x, *channel, 1e-9, dx, *gradients)
    kernels.batch_norm_backward(*given, rectified=True, in_pieces=in_pieces)
    assert not any(host(array).any() for array in (dx, *gradients))


@pytest.mark.parametrize("in_pieces", [False, True])
def test_what_the_top_overwrites_is_kept(device, in_pieces):
    shape = (2, 3, 9, 50)
    x, kept = put(numbers(*shape)), empty(*shape)
    scale, shift, mean, variance = (put(numbers(3, seed=seed)) for seed in range(4))
    with small_pieces():
        kernels.batch_norm_forward(x, scale, shift, 1e-9, x, mean, variance, kept, in_pieces=in_pieces)
        apart = empty(*shape)
        kernels.batch_norm_forward(kept, scale, shift, 1e-9, apart, mean, variance, in_pieces=in_pieces)
    np.testing.assert_array_equal(host(kept), numbers(*shape))
    np.testing.assert_array_equal(host(x), host(apart))


@pytest.mark.parametrize("kernel", [kernels.batch_norm_backward, kernels.channel_affine_backward])
def test_what_is_not_wanted_is_left_out_in_pieces(device, kernel):
    shape = (2, 3, 4, 50)
    dy, x, *channels = (put(numbers(*size, seed=n)) for n, size in enumerate((shape, shape, (3,), (3,), (3,))))
    rest = (*channels[1:], put(np.ones(3)), 1e-9) if kernel is kernels.batch_norm_backward else ()
    together = {"dx": empty(*shape), "dscale": put(np.ones(3)), "dshift": put(np.ones(3))}
    kernel(dy, x, channels[0], *rest, **together, in_pieces=True)
    for name, whole in together.items():
        alone = empty(*shape) if name == "dx" else put(np.ones(3))
        kernel(dy, x, channels[0], *rest, **{name: alone}, in_pieces=True)
        np.testing.assert_array_equal(host(alone), host(whole))
