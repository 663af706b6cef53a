"""Convolution and Deconvolution over one, three or more spatial axes, and with the channels on another axis than the second."""

import math

import numpy as np
import pytest
import reference
from arrays import empty, host, numbers, put
from convolution_text import FILLERS, text_of
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from one_layer import OneLayer

from deconvnet.core import kernels
from deconvnet.core.kernels import Geometry, convolution, slices

REFERENCES = {"Convolution": reference.conv, "Deconvolution": reference.deconv}


def layer_of(kind, x, outputs, kernel, bias=True, dtype=np.float64, **window):
    """The layer over x, and what the definition says about it."""
    case = OneLayer(text_of(kind, outputs, kernel, bias=bias, **window), x, dtype=dtype)
    return case, REFERENCES[kind](x, *case.parameters, **window)


CASES = {
    "one axis": ((2, 3, 7), 2, dict(kernel=(3,), pad=(1,))),
    "one axis, every field": ((1, 4, 9), 6, dict(kernel=(3,), stride=(2,), pad=(2,), dilation=(2,), group=2)),
    "one axis, one place": ((2, 2, 1), 3, dict(kernel=(1,))),
    "one axis, a group per channel": ((1, 3, 6), 3, dict(kernel=(4,), stride=(2,), pad=(1,), group=3)),
    "three axes": ((2, 2, 3, 4, 3), 2, dict(kernel=(3, 3, 3), pad=(1, 1, 1))),
    "three axes, each of its own": (
        (1, 2, 5, 4, 6),
        2,
        dict(kernel=(2, 1, 3), stride=(2, 1, 3), pad=(1, 0, 2), dilation=(2, 1, 1)),
    ),
    "three axes in groups": ((1, 4, 3, 2, 3), 2, dict(kernel=(2, 2, 1), pad=(0, 1, 0), group=2)),
    "a group per channel": ((1, 3, 3, 3, 2), 3, dict(kernel=(3, 2, 2), stride=(2, 2, 1), pad=(1, 1, 1), group=3)),
    "one place": ((2, 3, 1, 1, 1), 2, dict(kernel=(1, 1, 1))),
    "the whole map": ((2, 2, 3, 1, 2), 2, dict(kernel=(3, 1, 2))),
    "padding wider than the map": ((1, 1, 2, 2, 2), 1, dict(kernel=(3, 2, 3), stride=(3, 1, 2), pad=(2, 1, 2))),
    "stride beyond the kernel": ((1, 1, 7, 3, 4), 2, dict(kernel=(2, 1, 2), stride=(3, 2, 2))),
    "taps that meet the map nowhere": ((1, 1, 1, 2, 2), 1, dict(kernel=(3, 1, 1), pad=(3, 0, 0), dilation=(3, 1, 1))),
    "no bias": ((1, 2, 2, 3, 2), 2, dict(kernel=(2, 2, 2), bias=False)),
    "four axes": ((1, 2, 3, 2, 3, 2), 2, dict(kernel=(2, 1, 2, 2), stride=(1, 2, 1, 1), pad=(1, 0, 1, 0))),
    "four axes in groups": ((2, 2, 2, 2, 1, 2), 4, dict(kernel=(2, 2, 1, 1), dilation=(1, 1, 2, 1), group=2)),
    "five axes": ((1, 1, 2, 1, 2, 1, 2), 2, dict(kernel=(2, 1, 2, 1, 2), pad=(0, 0, 1, 0, 0))),
}


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "-"))
def case_of(request):
    """A function that makes the case of a type of layer."""
    shape, outputs, window = CASES[request.param]
    return lambda kind: layer_of(kind, numbers(*shape), outputs, **window)


@pytest.mark.parametrize("kind", REFERENCES)
def test_forward_is_the_definition(device, kind, case_of):
    case, expected = case_of(kind)
    (y,) = case.forward()
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", REFERENCES)
def test_gradients(device, kind, case_of):
    case, _ = case_of(kind)
    check_gradients(case)


def per_axis(axes, least, most):
    return st.tuples(*[st.integers(least, most)] * axes)


def windows(axes):
    sizes = {"kernel": per_axis(axes, 1, 3), "stride": per_axis(axes, 1, 3), "pad": per_axis(axes, 0, 2)}
    return st.fixed_dictionaries(sizes | {"dilation": per_axis(axes, 1, 2), "group": st.integers(1, 2)})


@pytest.mark.parametrize("axes", [1, 3, 4])
@pytest.mark.parametrize("kind", REFERENCES)
@given(data=st.data(), images=st.integers(1, 2), depth=st.integers(1, 2), share=st.integers(1, 2))
def test_any_window_forward_and_backward(device, kind, axes, data, images, depth, share):
    """Forward is the definition; backward is its adjoint: <y(x, w), dy> moves by <x', dx> and by <w', dw>."""
    window = data.draw(windows(axes))
    kernel, group = window.pop("kernel"), window["group"]
    fits = Geometry(kernel, *(window[name] for name in ("stride", "pad", "dilation")))
    size = data.draw(per_axis(axes, 1, 5).filter(lambda size: min(_result(kind, fits, size)) >= 1))
    x = numbers(images, depth * group, *size)
    case, expected = layer_of(kind, x, share * group, kernel, **window, bias=False)
    (y,) = case.forward()
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-11)
    dy = numbers(*y.shape, seed=5)
    case.parameter_diffs[0][...] = 0
    (dx,) = case.backward(dy)
    (dw,), (w,) = case.parameter_diffs, case.parameters
    for other_x, other_w in ((numbers(*x.shape, seed=6), w), (x, numbers(*w.shape, seed=7))):
        moved = float((REFERENCES[kind](other_x, other_w, **window) * dy).sum())
        adjoint = (dx * other_x) if other_w is w else (dw * other_w)
        assert float(adjoint.sum()) == pytest.approx(moved, abs=1e-9)


def _result(kind, geometry, size):
    return (geometry.output_size if kind == "Convolution" else geometry.transposed_size)(*size)


@pytest.mark.parametrize("axes", [1, 3, 4])
def test_deconvolution_is_the_adjoint_of_convolution(device, axes):
    """<conv(x, w), y> = <x, deconv(y, w)> with the same weights and window."""
    sizes = ((2, 3, 2, 2), (2, 1, 3, 1), (1, 0, 1, 0), (1, 2, 1, 1))
    geometry = Geometry(*(given[:axes] for given in sizes), group=2)
    y, w = numbers(2, 6, *(3, 2, 2, 1)[:axes]), numbers(6, 2, *geometry.kernel)
    x = numbers(2, 4, *geometry.transposed_size(*y.shape[2:]))
    up, down = empty(*x.shape), empty(*y.shape)
    kernels.conv_forward(put(x), put(w), None, geometry, down)
    kernels.deconv_forward(put(y), put(w), None, geometry, up)
    assert float((host(down) * y).sum()) == pytest.approx(float((host(up) * x).sum()), abs=1e-11)


@pytest.mark.parametrize("kind", REFERENCES)
def test_one_axis_is_a_row_of_two(device, kind):
    """The same numbers to the bit, for the same work is done."""
    x = numbers(2, 3, 9)
    row = OneLayer(
        text_of(
            kind,
            4,
            (3,),
            (2,),
            (1,),
        ),
        x,
    )
    plane = OneLayer(
        text_of(
            kind,
            4,
            (1, 3),
            (1, 2),
            (0, 1),
        ),
        x[:, :, None],
        parameters=_planes(row),
    )
    np.testing.assert_array_equal(row.forward()[0], plane.forward()[0][:, :, 0])


def _planes(row):
    weights, bias = row.parameters
    return weights[:, :, None], bias


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_window_of_one_slice_sees_each_slice_by_itself(device, kind):
    x = numbers(1, 2, 3, 4, 5)
    whole = OneLayer(text_of(kind, 3, (1, 3, 2)), x)
    weights, bias = whole.parameters
    (y,) = whole.forward()
    for a in range(3):
        one = OneLayer(text_of(kind, 3, (3, 2)), x[:, :, a], parameters=(weights[:, :, 0], bias))
        np.testing.assert_allclose(one.forward()[0], y[:, :, a], rtol=0, atol=1e-13)


PARTS = {"a place at a time": 1, "two places at a time": 2, "an image at a time": 9, "two images at a time": 10}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", REFERENCES)
def test_a_batch_cut_into_parts_gives_what_it_gives_whole(device, monkeypatch, kind, part):
    """Slices take several times the memory of the map: only so many are made at once as fit in some megabytes."""
    window = dict(kernel=(3, 2, 3), stride=(1, 1, 2), pad=(1, 0, 1), dilation=(1, 2, 1))
    case, _ = layer_of(kind, numbers(3, 2, 5, 4, 5), 2, **window)
    (whole,) = case.forward()
    dy = numbers(*whole.shape, seed=1)
    dx, dw = _backward(case, dy)
    large, small = sorted((math.prod(blob.shape[3:]) for blob in (case.bottom[0], case.top[0])), reverse=True)
    monkeypatch.setattr(slices, "_BYTES", PARTS[part] * 8 * (3 * 2 * large + 2 * small))
    cuts, plain = [], slices._parts
    monkeypatch.setattr(slices, "_parts", lambda *arguments: cuts.append(plain(*arguments)) or cuts[-1])
    np.testing.assert_allclose(case.forward()[0], whole, rtol=0, atol=1e-12)
    for found, before in zip(_backward(case, dy), (dx, dw), strict=True):
        np.testing.assert_allclose(found, before, rtol=0, atol=1e-12)
    assert len(cuts) == 3
    for parts in cuts:
        assert len(parts) == {1: 15, 2: 9, 9: 3, 10: 2}[PARTS[part]]
        covered = np.zeros((3, 5), int)
        for one in parts:
            one.of(covered)[...] += 1
        assert (covered == 1).all()


def _backward(case, dy):
    case.parameter_diffs[0][...] = 0
    (dx,) = case.backward(dy)
    return dx, np.array(case.parameter_diffs[0])


@pytest.mark.parametrize("kind", REFERENCES)
def test_the_convolutions_of_the_slices_choose_how_they_are_computed(device, monkeypatch, kind):
    """64 channels and 3x3 windows: Winograd's tiles, also for a video."""
    chosen, plain = [], convolution.algorithm
    monkeypatch.setattr(convolution, "algorithm", lambda *a, **b: chosen.append(plain(*a, **b)) or chosen[-1])
    x = numbers(1, 16, 2, 16, 16, dtype=np.float32)
    case, expected = layer_of(kind, x, 16, (3, 3, 3), pad=(1, 1, 1), dtype=np.float32)
    assert case.layer.algorithm(case.bottom, case.top) == "slices"
    chosen.clear()
    (y,) = case.forward()
    case.backward(y)
    assert chosen == ["slices", "winograd"] * 3  # forward, the gradient of the weights, that of x
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_one_axis_is_computed_as_a_row(device):
    case = OneLayer(text_of("Convolution", 4, (3,), pad=(1,), group=4), numbers(1, 4, 9))
    assert case.layer.algorithm(case.bottom, case.top) == "gather"
    case = OneLayer(text_of("Convolution", 4, (3,), pad=(1,)), numbers(1, 4, 9))
    assert case.layer.algorithm(case.bottom, case.top) == "product"


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize("shape", [(2, 6, 40), (2, 6, 5, 6, 7)])
def test_float32_is_as_exact_as_its_digits(device, kind, shape):
    x, kernel = numbers(*shape, dtype=np.float32), (3,) * (len(shape) - 2)
    case, expected = layer_of(kind, x, 6, kernel, dtype=np.float32)
    (y,) = case.forward()
    assert y.dtype == np.float32
    dy = numbers(*y.shape, dtype=np.float32)
    exact = OneLayer(text_of(kind, 6, kernel), x, parameters=case.parameters)
    exact.forward()
    for found, wanted in zip((y, *_backward(case, dy)), (expected, *_backward(exact, dy)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=3e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize("shape", [(0, 2, 5), (0, 2, 3, 4, 3)])
def test_an_empty_batch_gives_none_and_moves_nothing(device, kind, shape):
    case = OneLayer(text_of(kind, 4, (2,) * (len(shape) - 2)), numbers(*shape))
    (y,) = case.forward()
    assert y.shape[:2] == (0, 4) and y.ndim == len(shape)
    for diff in case.parameter_diffs:
        diff[...] = 0.5
    assert case.backward(y)[0].shape == shape
    assert all((diff == 0.5).all() for diff in case.parameter_diffs)


@pytest.mark.parametrize("kind", REFERENCES)
def test_several_bottoms_of_other_sizes_share_the_filters(device, kind):
    case = OneLayer(text_of(kind, 2, (2, 2, 2)), numbers(1, 2, 2, 3, 2), numbers(2, 2, 3, 2, 2), tops=2)
    for x, y in zip(case.inputs, case.forward(), strict=True):
        np.testing.assert_allclose(y, REFERENCES[kind](x, *case.parameters), rtol=0, atol=1e-12)
    check_gradients(case)


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_nan_reaches_all_that_its_window_reaches_and_nothing_else(device, kind):
    x = numbers(1, 1, 4, 4, 4)
    x[0, 0, 1, 2, 1] = np.nan
    case, expected = layer_of(kind, x, 2, (3, 3, 3), pad=(1, 1, 1))
    (y,) = case.forward()
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    assert np.isnan(y).sum() == 2 * 27


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_size_that_is_given_once_is_that_of_every_axis(kind):
    x = numbers(1, 2, 5, 5, 5)
    once = OneLayer(text_of(kind, 2, (2,), (2,), (1,), (2,)), x)
    each = OneLayer(text_of(kind, 2, (2,) * 3, (2,) * 3, (1,) * 3, (2,) * 3), x)
    assert once.layer.geometry == each.layer.geometry


# ------------------------------------------------------------------------------------------------------------- axis


AXES = [
    ((4, 3), 0),
    ((2, 1, 4, 3), 2),
    ((2, 1, 4, 3), -2),
    ((2, 3, 4, 2, 1), 2),
    ((2, 4, 2, 1, 2), -4),
    ((1, 2, 1, 4, 2), 3),
]


@pytest.mark.parametrize("shape, axis", AXES)
@pytest.mark.parametrize("kind", REFERENCES)
def test_all_axes_before_the_channels_are_the_batch(device, kind, shape, axis):
    x, channels = numbers(*shape), shape.index(4)
    case = OneLayer(text_of(kind, 2, (3,), pad=(1,), group=2, more=f"{FILLERS} axis: {axis}"), x)
    maps = x.reshape(-1, *shape[channels:])
    each = (1,) * (maps.ndim - 2)
    expected = REFERENCES[kind](maps, *case.parameters, pad=each, group=2)
    (y,) = case.forward()
    assert y.shape == (*shape[:channels], 2, *expected.shape[2:])
    np.testing.assert_allclose(y.reshape(expected.shape), expected, rtol=0, atol=1e-12)
    check_gradients(case)


def test_without_a_spatial_axis_it_is_an_inner_product(device):
    """As Caffe's: a map of one place, that only a window of one place fits."""
    x = numbers(3, 4)
    case = OneLayer(text_of("Convolution", 2, (1,)), x)
    weights, bias = case.parameters
    assert weights.shape == (2, 4)
    np.testing.assert_allclose(case.forward()[0], x @ weights.T + bias, rtol=0, atol=1e-13)
    check_gradients(case)
    last = OneLayer(text_of("Deconvolution", 2, (1,), more=f"{FILLERS} axis: -1"), numbers(3, 2, 4))
    np.testing.assert_allclose(
        last.forward()[0], numbers(3, 2, 4) @ last.parameters[0] + last.parameters[1], rtol=0, atol=1e-13
    )


# ---------------------------------------------------------------------------------------------------------- refusals


VIDEO = (1, 4, 5, 5, 5)
REFUSED = {
    "": (VIDEO, "give kernel_size$"),
    "kernel_size: 2 kernel_size: 2": (
        VIDEO,
        "kernel_size is given 2 times: once, or once for each of the 3 spatial axes",
    ),
    "kernel_size: 2 pad: 1 pad: 1 pad: 1 pad: 1": (
        VIDEO,
        "pad is given 4 times: once, or once for each of the 3 spatial axes",
    ),
    "kernel_size: 2 stride: 2 stride: 2": ((1, 4, 5), "stride is given 2 times: once$"),
    "kernel_h: 2 kernel_w: 2": (VIDEO, "kernel_h and kernel_w are for two spatial axes, not 3: give kernel_size once"),
    "kernel_size: 2 pad_h: 2": ((1, 4, 5), "pad_h and pad_w are for two spatial axes, not 1: give pad once"),
    "kernel_size: 3 kernel_size: 0 kernel_size: 3": (VIDEO, "kernel_size must be at least 1"),
    "kernel_size: 1 axis: 5": (VIDEO, r"axis 5 does not exist in a bottom of shape \(1, 4, 5, 5, 5\)"),
    "kernel_size: 1 axis: -6": (VIDEO, "axis -6 does not exist"),
    "kernel_size: 1 group: 3": (VIDEO, "group 3 must divide the 4 input and the 6 output channels"),
    "kernel_size: 3": ((1, 4), r"\(1, 4\) has no spatial axis behind axis 1: only kernel_size: 1 fits it"),
}


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize("param", REFUSED)
def test_what_cannot_be_is_refused_by_name(kind, param):
    shape, said = REFUSED[param]
    with pytest.raises(ValueError, match=said) as caught:
        OneLayer(f'type: "{kind}" convolution_param {{ num_output: 6 {param} }}', numbers(*shape))
    assert "\n" not in str(caught.value)


def test_a_window_that_does_not_fit_is_told_with_the_least_map_that_would():
    said = r"a window of 3x2x4 with pad 0x1x0 does not fit a map of 2x1x5 \(the result would be 0x2x2\): maps from 3x1x4 on would, or more padding"
    with pytest.raises(ValueError, match=said):
        OneLayer(text_of("Convolution", 1, (3, 2, 4), pad=(0, 1, 0)), numbers(1, 1, 2, 1, 5))
    with pytest.raises(
        ValueError, match="a window of 1 with pad 2 does not fit a map of 4 .*: maps from 5 on would, or less padding"
    ):
        OneLayer(text_of("Deconvolution", 1, (1,), pad=(2,)), numbers(1, 1, 4))


def test_the_bottom_keeps_the_number_of_its_axes_and_channels():
    case = OneLayer(text_of("Convolution", 1, (1, 1, 1)), numbers(1, 2, 3, 3, 3))
    with pytest.raises(ValueError, match=r"made for bottoms of 5 axes; its bottom now has the shape \(1, 2, 3, 3\)"):
        case.reshape(numbers(1, 2, 3, 3))
    with pytest.raises(ValueError, match=r"made for 2 input channels; its bottom now has the shape \(1, 3, 3, 3, 3\)"):
        case.reshape(numbers(1, 3, 3, 3, 3))
