"""Unpooling: values back to where their maxima came from, and what the release does without switches."""

import warnings

import numpy as np
import pytest
import reference
from arrays import empty, host, numbers, put, spaced
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from one_layer import OneLayer

from deconvnet.core import kernels
from deconvnet.core.kernels import pooling

PAIRS = "kernel_size: 2 stride: 2"


def pooled(x, window="kernel_size: 2 stride: 2"):
    """(pooling layer, its values, its switches) of x."""
    layer = OneLayer(f'type: "Pooling" pooling_param {{ pool: MAX {window} }}', x, tops=2)
    return layer, *layer.forward()


def unpooling(x, switches, size=None, window=PAIRS, pooling=None):
    """An Unpooling layer by switches, its size given or handed down from a pooling layer."""
    given_size = f"unpool_h: {size[0]} unpool_w: {size[1]}" if size else ""
    before = {"pooling": pooling.layer, "pooled": pooling.bottom[0]} if pooling else None
    return OneLayer(
        f'type: "Unpooling" unpooling_param {{ unpool: MAX {window} {given_size} }}', x, switches, before_setup=before
    )


def spread(method, x, size, kernel, stride, extra=""):
    """An Unpooling layer without switches."""
    return OneLayer(
        f'type: "Unpooling" unpooling_param {{ unpool: {method} kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {stride[0]} '
        f"stride_w: {stride[1]} unpool_h: {size[0]} unpool_w: {size[1]} {extra} }}",
        x,
    )


@pytest.mark.parametrize("height, width", [(4, 4), (5, 7), (2, 3), (1, 1), (1, 6)])
@pytest.mark.parametrize("images", [1, 2])
def test_unpooling_inverts_pooling_at_the_maxima(device, images, height, width):
    """At any input size, the odd ones included: the size comes from the pooling layer."""
    x = spaced(images, 2, height, width)
    pooling, y, switches = pooled(x)
    layer = unpooling(y, switches, pooling=pooling)
    (back,) = layer.forward()
    assert back.shape == x.shape
    np.testing.assert_array_equal(back, np.where(np.isin(x, y), x, 0))
    check_gradients(layer)


def test_the_size_follows_the_pooling_layer_when_the_input_grows(device):
    pooling, y, switches = pooled(spaced(1, 2, 4, 4))
    layer = unpooling(y, switches, pooling=pooling)
    x = spaced(2, 2, 7, 5)
    pooling.reshape(x)
    y, switches = pooling.forward()
    layer.reshape(y, switches)
    np.testing.assert_array_equal(layer.forward()[0], np.where(np.isin(x, y), x, 0))


def test_where_windows_overlap_the_later_value_wins_and_both_read_the_gradient_back(device):
    """As the release does on the CPU: not a sum."""
    x, switches = np.array([[[[1.0, 2, 3, 4]]]]), np.array([[[[5.0, 0, 5, 2]]]])
    layer = unpooling(x, switches, size=(2, 3), window="kernel_size: 3 stride: 2")
    np.testing.assert_array_equal(layer.forward()[0][0, 0], [[2, 0, 4], [0, 0, 3]])
    dy = np.arange(10.0, 16).reshape(1, 1, 2, 3)
    np.testing.assert_array_equal(layer.backward(dy)[0][0, 0, 0], [15, 10, 15, 12])


@pytest.mark.parametrize("order", [1, -1])
def test_the_later_value_wins_even_if_it_is_the_smaller_one(device, order):
    x = np.array([[[[1.0, 2, 3]]]])[..., ::order]
    layer = unpooling(x, np.zeros((1, 1, 1, 3)), size=(1, 2))
    np.testing.assert_array_equal(layer.forward()[0][0, 0], [[x[0, 0, 0, -1], 0]])


def test_overlapping_pooling_layers_unpool_like_any_switches(device):
    x = spaced(2, 2, 7, 6)
    pooling, y, switches = pooled(x, "kernel_size: 3 stride: 2")
    layer = unpooling(y, switches, pooling=pooling, window="")
    np.testing.assert_array_equal(layer.forward()[0], reference.unpool(y, switches, 7, 6))
    dy = numbers(2, 2, 7, 6)
    np.testing.assert_array_equal(layer.backward(dy)[0], reference.unpool_backward(dy, switches))


@given(data=st.data())
def test_any_switches_forward_and_backward(device, data):
    """Also those that name a place twice or lie outside the plane; these are counted in a warning."""
    height, width = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    shape = tuple(data.draw(st.integers(1, 3)) for _ in range(4))
    places = st.one_of(st.integers(-2, height * width + 1), st.just(float("nan")))
    count = int(np.prod(shape))
    switches = np.array(data.draw(st.lists(places, min_size=count, max_size=count)), float).reshape(shape)
    x = numbers(*shape)
    layer = unpooling(x, switches, size=(height, width))
    inside = (switches >= 0) & (switches < height * width)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        (y,) = layer.forward()
        kernels.warn_of_strays()  # as a net does at the end of a forward pass
    np.testing.assert_array_equal(y, reference.unpool(x, switches, height, width))
    lost = int((~inside).sum())
    assert [str(warning.message) for warning in heard] == (
        [f"unpooling: {lost} switches lie outside a plane of {height} x {width}; they wrote nothing"] if lost else []
    )
    dy = numbers(shape[0], shape[1], height, width, seed=1)
    np.testing.assert_array_equal(layer.backward(dy)[0], reference.unpool_backward(dy, switches))


WINDOWS = {
    "2x2": ((2, 2), (2, 2), (0, 0)),
    "2x2, padded": ((2, 2), (2, 2), (1, 1)),
    "apart": ((2, 1), (3, 2), (1, 0)),
    "wide": ((1, 3), (2, 4), (0, 2)),
    "every place": ((1, 1), (1, 1), (0, 0)),
}


@pytest.mark.parametrize("in_cells", [False, True])
@pytest.mark.parametrize("size", [(6, 8), (5, 7), (1, 1), (2, 3), (70, 72)])
@pytest.mark.parametrize("name", WINDOWS)
def test_each_window_may_write_its_own_cell(device, name, size, in_cells):
    """Forward, and the same for the gradient of pooling: whatever the window, odd sizes and windows cut at the border included."""
    window = kernels.Window(*WINDOWS[name])
    x = spaced(2, 3, *size)
    windows = (2, 3, *window.output_size(*size))
    y, switches, back, up = empty(*windows), empty(*windows), empty(*x.shape), empty(*x.shape)
    kernels.max_pool(put(x), window, y, switches)
    values = numbers(*windows)
    kernels.max_pool_backward(put(values), switches, window, back, in_cells=in_cells)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a window beyond the map has no maximum
        kernels.unpool(put(values), switches, up, distinct=True, window=window, in_cells=in_cells)
        kernels.warn_of_strays()
    expected = reference.unpool(values, host(switches), *size)
    np.testing.assert_array_equal(host(up), expected)
    np.testing.assert_array_equal(host(back), expected)


@pytest.fixture
def short_runs(monkeypatch):
    """A block takes few windows at a time, so that small planes have several runs."""
    monkeypatch.setattr(pooling, "_RUN", 5)


@given(data=st.data())
@pytest.mark.parametrize("name", WINDOWS)
def test_cells_take_switches_of_other_cells_and_of_none(device, name, short_runs, data):
    """Whoever writes into the switches is served as ever: no place is named twice, but any place may be, or one outside the plane."""
    window = kernels.Window(*WINDOWS[name])
    size = data.draw(st.integers(2, 9)), data.draw(st.integers(2, 9))
    height, width = window.output_size(*size)
    shape = (1, 2, height, width)
    places = [*range(size[0] * size[1])] + [-1.0, float("nan"), size[0] * size[1], 1e9] * 4
    rows = [data.draw(st.permutations(places)) for _ in range(2)]
    rows = [(row * (1 + height * width // len(row)))[: height * width] for row in rows]
    for row in rows:  # once each
        seen = set()
        for i, place in enumerate(row):
            row[i] = -1.0 if place in seen else place
            seen.add(place)
    switches, x = np.array(rows, float).reshape(shape), numbers(*shape)
    up = empty(1, 2, *size)
    lost = int((~((switches >= 0) & (switches < size[0] * size[1]))).sum())
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        kernels.unpool(put(x), put(switches), up, distinct=True, window=window, in_cells=True)
        kernels.warn_of_strays()
    np.testing.assert_array_equal(host(up), reference.unpool(x, switches, *size))
    assert [str(one.message).split()[1] for one in heard] == ([str(lost)] if lost else [])


def test_cells_of_an_array_that_begins_at_an_odd_place(device):
    """Two values at once need an even address."""
    window, memory = kernels.Window((2, 2), (2, 2)), put(np.full(1 + 2 * 4 * 6, np.nan))
    up = memory[1:].reshape(1, 2, 4, 6)
    switches = put(np.array([0, 3, 5, 12, 20, 17] * 2, float).reshape(1, 2, 2, 3))
    x = numbers(1, 2, 2, 3)
    kernels.unpool(put(x), switches, up, distinct=True, window=window, in_cells=True)
    np.testing.assert_array_equal(host(up), reference.unpool(x, host(switches), 4, 6))


def test_a_nan_value_goes_where_its_switch_says(device):
    layer = unpooling(np.array([[[[np.nan, 1.0]]]]), np.array([[[[2.0, 1.0]]]]), size=(1, 4))
    np.testing.assert_array_equal(layer.forward()[0][0, 0, 0], [0, 1, np.nan, 0])


SPREADS = {
    "one place": ((1, 1, 1, 1), (1, 1), (1, 1), (1, 1)),
    "2x2": ((2, 2, 2, 3), (4, 6), (2, 2), (2, 2)),
    "2x2, cut at odd sizes": ((1, 2, 3, 2), (5, 3), (2, 2), (2, 2)),
    "3x3 overlapping": ((1, 2, 2, 3), (5, 7), (3, 3), (2, 2)),
    "3x3 overlapping, cut": ((1, 1, 3, 3), (6, 5), (3, 3), (2, 2)),
    "windows apart": ((1, 1, 2, 2), (6, 5), (2, 2), (4, 3)),
    "rectangular": ((1, 1, 2, 3), (4, 6), (3, 1), (1, 2)),
    "room left over": ((1, 1, 1, 2), (4, 6), (2, 2), (2, 2)),
}


@pytest.mark.parametrize("name", SPREADS)
@pytest.mark.parametrize("method", ["AVE", "TILE"])
def test_ave_and_tile_spread_each_value_over_its_window(device, method, name):
    shape, size, kernel, stride = SPREADS[name]
    layer = spread(method, numbers(*shape), size, kernel, stride)
    expected = reference.unpool_spread(layer.inputs[0], *size, kernel, stride, method == "AVE")
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=0, atol=1e-14)
    check_gradients(layer)


@pytest.mark.parametrize("name", SPREADS)
def test_max_without_switches_puts_values_at_their_windows_corners(device, name):
    shape, size, kernel, stride = SPREADS[name]
    layer = spread("MAX", numbers(*shape), size, kernel, stride)
    expected = reference.unpool_spread(layer.inputs[0], *size, (1, 1), stride, False)
    np.testing.assert_array_equal(layer.forward()[0], expected)
    check_gradients(layer)


def test_the_release_divides_the_gradient_of_tile_too_where_that_is_asked_for(device):
    """Its backward of TILE is not the gradient; release_gradient reproduces it, by default it is the true one."""
    shape, size, kernel, stride = SPREADS["3x3 overlapping, cut"]
    layer = spread("TILE", numbers(*shape), size, kernel, stride, extra="release_gradient: true")
    layer.forward()
    dy = numbers(1, 1, *size, seed=1)
    expected = reference.unpool_spread_backward(dy, shape, kernel, stride, shares=True)
    np.testing.assert_allclose(layer.backward(dy)[0], expected, rtol=0, atol=1e-14)


def test_unpooling_names_both_sizes_when_switches_do_not_fit():
    with pytest.raises(
        ValueError, match=r"switches have the shape \(1, 1, 2, 3\), its values \(1, 1, 2, 2\): they must be the same"
    ):
        unpooling(numbers(1, 1, 2, 2), np.zeros((1, 1, 2, 3)), size=(4, 4))


def test_windows_that_do_not_fit_name_a_size_that_would():
    with pytest.raises(
        ValueError, match=r"3x3 windows of stride \(2, 2\) do not fit 4x9; unpool_h: 6 unpool_w: 6 would"
    ):
        spread("AVE", numbers(1, 1, 3, 3), (4, 9), (2, 2), (2, 2))


REFUSED = {
    f"unpool: MAX {PAIRS}": "no pooling layer of this net made its second bottom",
    f"unpool: MAX {PAIRS} unpool_size: 4 unpool_h: 4": "give unpool_size, or unpool_h and unpool_w; not both",
    f"unpool: MAX {PAIRS} unpool_h: 4": "give both unpool_h and unpool_w",
    f"unpool: MAX {PAIRS} unpool_size: 4 pad: 1": "takes no pad",
    "unpool: TILE unpool_size: 4": "give kernel_size",
    f"unpool: AVE {PAIRS} unpool_size: 4": "switches, the second bottom, go with unpool: MAX only",
}


@pytest.mark.parametrize("param", REFUSED)
def test_what_cannot_be_is_refused_by_name(param):
    bottoms = [numbers(1, 1, 2, 2)] + (
        [np.zeros((1, 1, 2, 2))] if "switches" in REFUSED[param] or "second" in REFUSED[param] else []
    )
    with pytest.raises(ValueError, match=REFUSED[param]):
        OneLayer(f'type: "Unpooling" unpooling_param {{ {param} }}', *bottoms)


def test_unpooling_is_for_images():
    with pytest.raises(ValueError, match=r"shape \(N, C, H, W\), not \(2, 3\)"):
        OneLayer(f'type: "Unpooling" unpooling_param {{ unpool: MAX {PAIRS} unpool_size: 4 }}', numbers(2, 3))
