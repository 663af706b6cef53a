"""Winograd's tiles against Winograd's definition, against the plain loops of tests/reference.py, and against im2col at full size."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import reference
from arrays import numbers
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from one_layer import OneLayer

from deconvnet.core import kernels
from deconvnet.core.kernels import convolution, winograd, winograd_batched
from deconvnet.core.kernels.device import launch

POINTS = [Fraction(eighths, 8) for eighths in (0, 5, -5, 12, -12)]  # and infinity


def definition():
    """(At, G, Bt) of F(4, 3) by Toom and Cook: evaluate at the points, multiply, and interpolate, in exact fractions.

    A product of polynomials of degree 3 and 2 is known from six values; a correlation is the transpose of that map.
    The divisions are left to G, so that At and Bt hold numbers that are exact in binary, as the kernels have it.
    """
    at = [[point**row for point in POINTS] + [Fraction(row == 3)] for row in range(4)]
    rows_of_g, rows_of_bt = [], []
    for number, point in enumerate(POINTS):
        others = POINTS[:number] + POINTS[number + 1 :]
        scale = np.prod([point - other for other in others])
        polynomial = [Fraction(1)]
        for other in others:
            polynomial = [a - other * b for a, b in zip([0, *polynomial], [*polynomial, 0], strict=True)]
        rows_of_g.append([point**power / scale for power in range(3)])
        rows_of_bt.append([*polynomial, Fraction(0)])
    whole = [Fraction(1)]
    for point in POINTS:
        whole = [a - point * b for a, b in zip([0, *whole], [*whole, 0], strict=True)]
    return np.array(at), np.array([*rows_of_g, [Fraction(0), Fraction(0), Fraction(1)]]), np.array([*rows_of_bt, whole])


def test_the_definition_is_an_exact_correlation():
    """At (G g . Bt d) = the correlation of d with g, for every pair of unit vectors, in fractions."""
    at, g, bt = definition()
    for tap, place in product(range(3), range(6)):
        result = at @ (g[:, tap] * bt[:, place])
        assert list(result) == [Fraction(row + tap == place) for row in range(4)]


AT, G, BT = (matrix.astype(float) for matrix in definition())
LINE = 16  # values that a lone channel's row takes in the kernels' layouts


def test_the_patches_kernel_is_the_definition():
    x, v = numbers(1, 1, 6, 6), np.empty(36 * LINE)
    launch("winograd_patches", 1, 36, x, v, 1, 6, 6, 0, 0, 1, 1, 0, 1, LINE, LINE)
    np.testing.assert_allclose(v[::LINE].reshape(6, 6), BT @ x[0, 0] @ BT.T, atol=1e-13)


def test_the_gradients_kernel_is_the_definition():
    dy, d = numbers(1, 1, 4, 4), np.empty(36 * LINE)
    launch("winograd_gradients", 1, 36, dy, d, 1, 4, 4, 1, 1, 0, 1, LINE, LINE)
    np.testing.assert_allclose(d[::LINE].reshape(6, 6), AT.T @ dy[0, 0] @ AT, atol=1e-13)


@pytest.mark.parametrize("rotated", [0, 1])
def test_the_filters_kernel_is_the_definition(rotated):
    g, u = numbers(1, 1, 3, 3), np.empty(36 * 2 * LINE)
    launch("winograd_filters", 1, 36, g, u, 1, 1, 9, 9, rotated, 2 * LINE)
    turned = g[0, 0, ::-1, ::-1] if rotated else g[0, 0]
    np.testing.assert_allclose(u[:: 2 * LINE].reshape(6, 6), G @ turned @ G.T, atol=1e-13)


def test_the_weights_kernel_is_the_definition():
    q, dweights = np.zeros((36, LINE)), np.ones((1, 1, 3, 3))
    q[:, 0] = numbers(36)
    launch("winograd_weights", 1, 36, q, dweights, 1, 1, LINE, LINE)
    np.testing.assert_allclose(dweights[0, 0], 1 + G.T @ q[:, 0].reshape(6, 6) @ G, atol=1e-13)


def test_the_results_kernel_is_the_definition():
    """Of one tile and one channel, whose filter is 2 at each of the 36 places."""
    v, u, y = np.zeros((36, LINE)), np.full((36, 2 * LINE), 2.0), np.full((1, 1, 4, 4), np.nan)
    v[:, 0] = numbers(36)
    launch(
        "winograd_results", 1, 36, v, u, np.ones(1), None, None, y, 0, 1, 1, 1, 4, 4, 1, 1, 0, 1, LINE, LINE, 2 * LINE
    )
    np.testing.assert_allclose(y[0, 0], AT @ (2 * v[:, 0].reshape(6, 6)) @ AT.T + 1, atol=1e-13)


# channels and outputs on both sides of a vector (8 doubles at most), maps on both sides of a tile and of a run of eight tiles
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 19), st.integers(1, 35), st.integers(1, 10), st.integers(1, 36))
PADS = st.tuples(st.integers(0, 2), st.integers(0, 2))


def cut_small(patch, values: int, few: int) -> None:
    """Bands, panels and parts of about so many tiles and filters, few tiles at once for every other number of values; fewer filters than
    `few` let a GPU sum by groups.
    """
    make_at_once(patch, values % 2)
    patch.setattr(winograd, "_BAND_VALUES", 36 * values)
    patch.setattr(winograd, "_FILTER_VALUES", 36 * values)
    patch.setattr(winograd_batched, "_BYTES", 36 * 8 * values)
    patch.setattr(winograd_batched, "_FEW_FILTERS", few)


def make_at_once(patch, at_once: bool) -> None:
    """Let up to 64 tiles of results be made at once, or none."""
    patch.setattr(winograd, "_BLOCK", 64 * at_once)
    patch.setattr(winograd, "_FEW_TILES", 64 * at_once)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("channels, outputs", [(64, 32), (65, 33), (150, 70), (3, 1)])
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 14, 13), (3, 7, 9), (1, 32, 32)])
def test_few_tiles_at_once_are_the_same_bits_as_in_parts(monkeypatch, transposed, channels, outputs, size):
    images, *map_size = size
    x, bias = numbers(images, channels, *map_size, dtype="f"), numbers(outputs, seed=1, dtype="f")
    weights = numbers(*((channels, outputs) if transposed else (outputs, channels)), 3, 3, seed=2, dtype="f")
    after = kernels.After(numbers(outputs, seed=4, dtype="f"), numbers(outputs, seed=5, dtype="f"), rectified=True)
    results = []
    for at_once in (True, False):
        make_at_once(monkeypatch, at_once)
        results.append(np.full((images, outputs, *map_size), np.nan, "f"))
        winograd.correlate(x, weights, (1, 1), results[-1], bias, transposed, after)
    np.testing.assert_array_equal(*results)
    assert np.isfinite(results[0]).all()


def test_few_tiles_are_made_at_once_where_every_thread_has_outputs(monkeypatch):
    def few(tiles, outputs, threads):
        monkeypatch.setattr(winograd.threads, "count", lambda: threads)
        return winograd._few(winograd.Tiles(1, tiles, 1), outputs)

    assert few(64, 64, 2) and few(64, 33, 2)
    assert not few(65, 512, 2) and not few(64, 32, 2) and not few(17, 32, 2)
    assert few(16, 1, 8)  # which parts would not share among more threads


@pytest.mark.parametrize("order", [winograd, winograd_batched])
@given(SHAPES, PADS, st.booleans(), st.integers(1, 4000), st.integers(0, 400))
def test_every_shape_is_the_definition(order, shape, pad, transposed, values, few):
    images, channels, outputs, height, width = shape
    x, bias = numbers(images, channels, height, width), numbers(outputs, seed=1)
    weights = numbers(*((channels, outputs) if transposed else (outputs, channels)), 3, 3, seed=2)
    geometry = kernels.Geometry((3, 3), pad=pad)
    size = geometry.transposed_size(height, width) if transposed else geometry.output_size(height, width)
    if min(size) < 1:
        return
    y, dy = np.full((images, outputs, *size), np.nan), numbers(images, outputs, *size, seed=3)
    dx, dweights = np.full(x.shape, np.nan), np.ones(weights.shape)
    with pytest.MonkeyPatch.context() as patch:
        cut_small(patch, values, few)
        order.correlate(x, weights, pad, y, bias, transposed)
        after = kernels.After(numbers(outputs, seed=4), numbers(outputs, seed=5), rectified=bool(outputs % 2))
        finished = np.full(y.shape, np.nan)
        order.correlate(x, weights, pad, finished, bias, transposed, after)
        order.correlate(dy, weights, pad, dx, transposed=not transposed)
        order.correlate_backward_weights(*((dy, x) if transposed else (x, dy)), pad, dweights)
    expected = (reference.deconv if transposed else reference.conv)(x, weights, bias, pad=pad)
    np.testing.assert_allclose(y, expected, atol=1e-11)
    expected = expected * after.gain[:, None, None] + after.shift[:, None, None]
    np.testing.assert_allclose(finished, np.maximum(expected, 0) if after.rectified else expected, atol=1e-10)
    # the adjoint of the other kind, by its definition
    adjoint = (reference.conv if transposed else reference.deconv)(dy, weights, pad=pad)
    np.testing.assert_allclose(dx, adjoint, atol=1e-11)
    expected = np.ones(weights.shape)
    convolution.correlate_backward_weights(*((dy, x) if transposed else (x, dy)), geometry, expected)
    np.testing.assert_allclose(dweights, expected, atol=1e-10)


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("order", [winograd, winograd_batched])
@pytest.mark.parametrize("channels, outputs, size", [(64, 64, 40), (512, 64, 14), (64, 512, 14)])
def test_single_precision_is_as_near_as_issue_6_asks(order, channels, outputs, size):
    """1e-5 forward and 5e-5 for gradients, by norm, against float64; the input positive as after a ReLU, which cancels less kindly."""
    geometry = kernels.Geometry((3, 3), pad=(1, 1))
    x = np.abs(numbers(2, channels, size, size))
    weights, dy = numbers(outputs, channels, 3, 3), numbers(2, outputs, size, size, seed=1)
    results = {}
    for dtype in (np.float32, np.float64):
        arrays = [array.astype(dtype) for array in (x, weights, dy)]
        y, dx, dweights = np.empty(dy.shape, dtype), np.empty(x.shape, dtype), np.zeros(weights.shape, dtype)
        if dtype == np.float32:
            order.correlate(*arrays[:2], (1, 1), y)
            order.correlate(arrays[2], arrays[1], (1, 1), dx, transposed=True)
            order.correlate_backward_weights(arrays[0], arrays[2], (1, 1), dweights)
        else:
            convolution.correlate(*arrays[:2], geometry, y)
            convolution.correlate_backward_data(arrays[2], arrays[1], geometry, dx)
            convolution.correlate_backward_weights(arrays[0], arrays[2], geometry, dweights)
        results[dtype] = y, dx, dweights
    errors = [relative(*pair) for pair in zip(results[np.float32], results[np.float64], strict=True)]
    assert errors[0] < 1e-5 and max(errors[1:]) < 5e-5, errors


def test_a_result_is_the_same_every_time():
    x, weights = numbers(1, 40, 30, 30, dtype=np.float32), numbers(40, 40, 3, 3, dtype=np.float32)
    first, second = np.empty_like(x), np.empty_like(x)
    for y in (first, second):
        winograd.correlate(x, weights, (1, 1), y)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize("pad", [0, 1, 2])
def test_gradients_with_winograd_forced_on(monkeypatch, kind, pad):
    monkeypatch.setenv("DECONVNET_CONVOLUTION", "winograd")
    filler = 'filler { type: "gaussian" std: 0.5 }'
    text = f'''type: "{kind}" convolution_param {{ num_output: 3 kernel_size: 3 pad: {pad} weight_{filler} bias_{filler} }}'''
    case = OneLayer(text, numbers(2, 2, 5, 6))
    assert case.layer.algorithm(case.bottom, case.top) == "winograd"
    check_gradients(case)
