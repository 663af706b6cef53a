"""Pooling: sizes, maxima with switches, averages, and their gradients."""

import numpy as np
import pytest
import reference
from arrays import empty, host, numbers, put, spaced
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from one_layer import OneLayer

from deconvnet.core import kernels
from deconvnet.core.kernels import bands, pooling


def layer_of(method, x, kernel, stride=(1, 1), pad=(0, 0), tops=1, dtype=np.float64):
    """A Pooling layer over x, every window field given per axis."""
    text = (
        f'type: "Pooling" pooling_param {{ pool: {method} kernel_h: {kernel[0]} kernel_w: {kernel[1]} '
        f"stride_h: {stride[0]} stride_w: {stride[1]} pad_h: {pad[0]} pad_w: {pad[1]} }}"
    )
    return OneLayer(text, x, tops=tops, dtype=dtype)


WINDOWS = {
    "one place": ((2, 2, 1, 1), dict(kernel=(1, 1))),
    "2x2 as in the paper": ((2, 2, 4, 6), dict(kernel=(2, 2), stride=(2, 2))),
    "2x2 over odd sizes": ((1, 2, 5, 7), dict(kernel=(2, 2), stride=(2, 2))),
    "2x2 over one place": ((1, 2, 1, 1), dict(kernel=(2, 2), stride=(2, 2), pad=(1, 1))),
    "2x2 over odd rows only": ((1, 1, 5, 6), dict(kernel=(2, 2), stride=(2, 2))),
    "2x2, overlapping across": ((1, 2, 4, 5), dict(kernel=(2, 2), stride=(2, 1))),
    "2x2, overlapping down": ((1, 2, 5, 4), dict(kernel=(2, 2), stride=(1, 2))),
    "3x3 overlapping": ((2, 1, 7, 6), dict(kernel=(3, 3), stride=(2, 2))),
    "3x3 overlapping, padded": ((1, 2, 5, 6), dict(kernel=(3, 3), stride=(2, 2), pad=(1, 1))),
    "padding, the last window dropped": ((1, 1, 4, 5), dict(kernel=(2, 2), stride=(3, 3), pad=(1, 1))),
    "padding, windows apart": ((1, 2, 6, 5), dict(kernel=(3, 2), stride=(3, 2), pad=(2, 1))),
    "rectangular": ((1, 2, 6, 7), dict(kernel=(3, 2), stride=(1, 3), pad=(1, 0))),
    "whole map": ((2, 3, 3, 4), dict(kernel=(3, 4))),
}


@pytest.fixture(params=WINDOWS, ids=lambda name: name.replace(" ", "-"))
def case(request):
    shape, window = WINDOWS[request.param]
    complete = {"stride": (1, 1), "pad": (0, 0), **window}
    return spaced(*shape), complete


def test_the_maximum_and_its_switch(device, case):
    x, window = case
    y, switches = layer_of("MAX", x, **window, tops=2).forward()
    expected, expected_switches = reference.max_pool(x, **window)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(switches, expected_switches)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("run", [3, 7, 16, 1024])
def test_blocks_may_share_the_windows_of_a_plane(device, case, run, dtype, monkeypatch):
    """Any run or band of windows gives the very values and switches, ties, NaN and infinity included; the way back by switches likewise."""
    monkeypatch.setattr(pooling, "_RUN", run)
    monkeypatch.setattr(bands, "_BYTES", min(8192, 100 * run))
    x, window = case[0].astype(dtype), kernels.Window(**case[1])
    x.flat[::3], x.flat[1::7], x.flat[2::11] = 0.5, np.nan, -np.inf
    shape = (*x.shape[:2], *window.output_size(*x.shape[2:]))
    results = []
    for order in ("rows", "runs", "bands"):
        y, switches = (empty(*shape, dtype=dtype) for _ in range(2))
        back = put(np.full((shape[0] + 2, *shape[1:]), 7, dtype))  # two images more than are asked for
        kernels.max_pool(put(x), window, y, switches, order=order)
        kernels.unpool_backward(put(x), switches, back[: shape[0]], in_runs=order == "runs")
        results.append([host(array) for array in (y, switches, back)])
        assert np.all(results[-1][-1][shape[0] :] == 7)
    for whole, runs, in_bands in zip(*results, strict=True):
        np.testing.assert_array_equal(runs, whole)
        np.testing.assert_array_equal(in_bands, whole)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("odd", [-0.5, np.nan])
def test_bands_of_rows_longer_than_a_vector_agree_with_rows(device, stride, odd, dtype):
    x = spaced(3, 5, 20, 75).astype(dtype)
    x[:, ::2, 5, 40:44] = odd
    window = kernels.Window((3, 3), (stride, stride), (1, 1))
    shape = (*x.shape[:2], *window.output_size(*x.shape[2:]))
    results = []
    for order in ("rows", "bands"):
        y, switches = (empty(*shape, dtype=dtype) for _ in range(2))
        kernels.max_pool(put(x), window, y, switches, order=order)
        results.append((host(y), host(switches)))
    np.testing.assert_array_equal(*results)


def test_a_window_of_more_taps_than_a_band_knows(device):
    x = spaced(2, 3, 13, 14)
    y, switches = empty(2, 3, 2, 3), empty(2, 3, 2, 3)
    kernels.max_pool(put(x), kernels.Window((12, 12)), y, switches)
    for h, w in np.ndindex(2, 3):
        np.testing.assert_array_equal(host(y)[:, :, h, w], x[:, :, h : h + 12, w : w + 12].max((2, 3)))
    flat = np.take_along_axis(x.reshape(2, 3, -1), host(switches).reshape(2, 3, -1).astype(int), 2)
    np.testing.assert_array_equal(flat, host(y).reshape(2, 3, -1))


@pytest.mark.parametrize("order", ["rows", "runs", "bands"])
def test_a_window_beyond_the_map_has_the_lowest_number_and_no_switch(device, order):
    """A stride larger than the kernel, rounded up: as Caffe does."""
    y, switches = empty(1, 1, 1, 3), empty(1, 1, 1, 3)
    kernels.max_pool(put(np.array([[[[1.0, 2, 3, 4, 5]]]])), kernels.Window((1, 1), (1, 3)), y, switches, order=order)
    np.testing.assert_allclose(host(y)[0, 0, 0], [1, 4, -3.402823466e38], rtol=1e-7)
    assert host(switches)[0, 0, 0].tolist() == [0, 3, -1]


def test_gradients_of_the_maximum(device, case):
    x, window = case
    check_gradients(layer_of("MAX", x, **window))


def test_a_top_for_the_switches_changes_nothing(device, case):
    x, window = case
    layer = layer_of("MAX", x, **window, tops=2)
    np.testing.assert_array_equal(layer.forward()[0], layer_of("MAX", x, **window).forward()[0])
    check_gradients(layer, differentiable_tops=[0])


def test_the_average(device, case):
    x, window = case
    (y,) = layer_of("AVE", x, **window).forward()
    np.testing.assert_allclose(y, reference.average_pool(x, **window), rtol=0, atol=1e-14)


def test_gradients_of_the_average(device, case):
    x, window = case
    check_gradients(layer_of("AVE", x, **window))


@st.composite
def any_windows(draw):
    """(shape, window) with pad < kernel, as Caffe asks."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pad = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 8)), draw(st.integers(1, 8)))
    return shape, {"kernel": kernel, "stride": draw(st.tuples(st.integers(1, 4), st.integers(1, 4))), "pad": pad}


@given(chosen=any_windows(), ties=st.booleans())
def test_any_window_forward_and_backward(device, chosen, ties):
    """Also where values are equal: the first maximum in scan order wins the tie."""
    shape, window = chosen
    x = np.round(numbers(*shape)) if ties else numbers(*shape)
    if any(len(list(reference.windows(n, *w))) < 1 for n, *w in zip(shape[2:], *window.values(), strict=True)):
        with pytest.raises(ValueError, match="does not fit a map of"):
            layer_of("MAX", x, **window)
        return
    layer = layer_of("MAX", x, **window, tops=2)
    y, switches = layer.forward()
    expected, expected_switches = reference.max_pool(x, **window)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(switches, expected_switches)
    dy = numbers(*y.shape, seed=1)
    np.testing.assert_allclose(
        layer.backward(dy, dy)[0], reference.max_pool_backward(dy, switches, shape), rtol=0, atol=1e-13
    )
    layer = layer_of("AVE", x, **window)
    np.testing.assert_allclose(layer.forward()[0], reference.average_pool(x, **window), rtol=0, atol=1e-14)
    np.testing.assert_allclose(
        layer.backward(dy)[0], reference.average_pool_backward(dy, shape, **window), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("order", ["rows", "bands"])
@given(chosen=any_windows(), larger=st.sampled_from([(0, 0), (30, 60)]))
def test_the_average_in_either_order_of_work(device, order, chosen, larger):
    """Maps of some bands, too; a NaN stays in its own plane's windows."""
    shape, window = chosen
    shape = (*shape[:2], *map(sum, zip(shape[2:], larger, strict=True)))
    at = kernels.Window(**window)
    size = at.output_size(*shape[2:])
    if min(size) < 1:
        return
    x, dy = numbers(*shape), numbers(*shape[:2], *size, seed=1)
    x[0, 0, -1, -1] = np.nan
    y, dx = empty(*dy.shape), empty(*shape)
    kernels.average_pool(put(x), at, y, order=order)
    kernels.average_pool_backward(put(dy), at, dx, order=order)
    np.testing.assert_allclose(host(y), reference.average_pool(x, **window), rtol=0, atol=1e-14)
    np.testing.assert_allclose(host(dx), reference.average_pool_backward(dy, shape, **window), rtol=0, atol=1e-13)


@pytest.mark.parametrize("order", ["rows", "bands"])
def test_the_only_average_gives_nothing_to_what_it_does_not_hold(device, order):
    """A window of two over a map of three, its number rounded down."""
    dx = empty(1, 1, 2, 3)
    kernels.average_pool_backward(put(np.ones((1, 1, 1, 1))), kernels.Window((2, 2), (2, 2)), dx, order=order)
    np.testing.assert_array_equal(host(dx)[0, 0], [[0.25, 0.25, 0], [0.25, 0.25, 0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_of_equal_values_the_first_in_scan_order_wins(device, dtype):
    layer = layer_of("MAX", np.zeros((1, 1, 4, 5)), kernel=(2, 2), stride=(2, 2), tops=2, dtype=dtype)
    np.testing.assert_array_equal(layer.forward()[1][0, 0], [[0, 2, 4], [10, 12, 14]])


@pytest.mark.parametrize(
    "size, kernel, stride, pad, count",
    [
        (224, 2, 2, 0, 112),  # the paper's
        (5, 2, 2, 0, 3),  # rounded up: the last window is cut
        (4, 2, 3, 1, 2),  # rounded up it would be 3; the third window would start in the padding behind the map
        (5, 3, 2, 1, 3),
        (1, 1, 1, 0, 1),
        (1, 2, 2, 1, 1),
        (7, 3, 3, 2, 3),
        (3, 1, 2, 0, 2),
    ],
)
def test_sizes_round_up_and_the_last_window_starts_inside_the_padded_map(size, kernel, stride, pad, count):
    for method in ("MAX", "AVE"):
        layer = layer_of(method, numbers(1, 1, size, size + stride), (kernel,) * 2, (stride,) * 2, (pad,) * 2)
        assert layer.top[0].shape == (1, 1, count, count + 1)


def test_round_mode_floor_drops_the_window_that_is_cut(device):
    text = 'type: "Pooling" pooling_param { pool: MAX kernel_size: 2 stride: 2 round_mode: FLOOR }'
    x = spaced(1, 2, 5, 7)
    layer = OneLayer(text, x)
    np.testing.assert_array_equal(layer.forward()[0], reference.max_pool(x[:, :, :4, :6], (2, 2), (2, 2), (0, 0))[0])
    check_gradients(layer)


def test_a_window_wholly_beyond_the_map_gives_what_caffe_gives(device):
    """A stride larger than the kernel and a size rounded up: the lowest float and switch -1, which takes no gradient; average 0."""
    layer = layer_of("MAX", np.ones((1, 1, 1, 5)), kernel=(1, 1), stride=(1, 3), tops=2, dtype=np.float32)
    y, switches = layer.forward()
    np.testing.assert_array_equal(y[0, 0, 0], [1, 1, np.finfo(np.float32).min])
    np.testing.assert_array_equal(switches[0, 0, 0], [0, 3, -1])
    np.testing.assert_array_equal(layer.backward(np.ones((1, 1, 1, 3)))[0][0, 0, 0], [1, 0, 0, 1, 0])
    layer = layer_of("AVE", np.ones((1, 1, 1, 5)), kernel=(1, 1), stride=(1, 3))
    np.testing.assert_array_equal(layer.forward()[0][0, 0, 0], [1, 1, 0])


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_global_pooling_takes_the_whole_map_whatever_its_size(device, method):
    layer = OneLayer(f'type: "Pooling" pooling_param {{ pool: {method} global_pooling: true }}', spaced(2, 3, 4, 5))
    for x in (spaced(2, 3, 4, 5), spaced(1, 3, 7, 2), spaced(1, 3, 1, 1)):
        layer.reshape(x)
        expected = x.max(axis=(2, 3)) if method == "MAX" else x.mean(axis=(2, 3))
        np.testing.assert_allclose(layer.forward()[0], expected[:, :, None, None], rtol=0, atol=1e-14)
        check_gradients(layer)


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1), (4, 4)])
@pytest.mark.parametrize("window", [dict(kernel=(2, 2), stride=(2, 2)), dict(kernel=(3, 3), stride=(2, 2))])
def test_a_nan_wins_its_windows_wherever_it_stands(device, place, window):
    """It must reach the loss: `>` alone would drop it."""
    x = spaced(1, 1, 5, 5)
    x[(0, 0, *place)] = np.nan
    y, switches = layer_of("MAX", x, **window, tops=2).forward()
    seen = [
        (i, j)
        for i, (top, end, _) in enumerate(reference.windows(5, window["kernel"][0], 2, 0))
        for j, (left, right, _) in enumerate(reference.windows(5, window["kernel"][1], 2, 0))
        if top <= place[0] < end and left <= place[1] < right
    ]
    assert [tuple(int(k) for k in at) for at in np.argwhere(np.isnan(y[0, 0]))] == seen
    assert all(switches[(0, 0, *at)] == place[0] * 5 + place[1] for at in seen)


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_minus_infinity_and_large_values_pass(device, method):
    x = np.full((1, 1, 2, 2), -np.inf)
    np.testing.assert_array_equal(layer_of(method, x, kernel=(2, 2)).forward()[0], -np.inf)


def test_a_plane_too_large_for_float32_switches_is_refused(device):
    window = kernels.Window((1, 1))
    x = put(np.zeros((1, 1, 1, 1), np.float32))
    large = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (1, 1, 4097, 4096), (0, 0, 0, 0))
    with pytest.raises(ValueError, match=r"4097 x 4096 has more places than float32 switches can name \(2\^24\)"):
        kernels.max_pool(large, window, x, x)


REFUSED = {
    "pool: STOCHASTIC kernel_size: 2": "STOCHASTIC is not supported; use MAX or AVE",
    "pool: MAX": "give kernel_size, or both kernel_h and kernel_w",
    "pool: MAX kernel_size: 2 kernel_w: 3": "not both",
    "pool: MAX kernel_size: 2 pad: 2": "must be smaller than the kernel",
    "pool: MAX kernel_size: 0": "kernel_size must be at least 1",
    "pool: MAX kernel_size: 2 stride: 0": "stride must be at least 1",
    "pool: MAX global_pooling: true kernel_size: 2": "give no kernel_size",
    "pool: MAX global_pooling: true stride: 2": "takes no pad and no stride",
    "pool: MAX kernel_size: 9": "does not fit a map of 5x5",
}


@pytest.mark.parametrize("param", REFUSED)
def test_a_window_that_cannot_be_is_refused_by_name(param):
    with pytest.raises(ValueError, match=REFUSED[param]):
        OneLayer(f'type: "Pooling" pooling_param {{ {param} }}', numbers(1, 1, 5, 5))


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_a_map_without_places_is_refused(method):
    with pytest.raises(ValueError, match="does not fit a map of 0x5"):
        OneLayer(f'type: "Pooling" pooling_param {{ pool: {method} global_pooling: true }}', np.zeros((2, 3, 0, 5)))


def test_average_pooling_has_no_switches():
    with pytest.raises(ValueError, match="second top, the switches, exists for pool: MAX only"):
        layer_of("AVE", numbers(1, 1, 4, 4), kernel=(2, 2), tops=2)
