"""Convolution and Deconvolution against their definitions, over every way a window can move."""

import re

import numpy as np
import pytest
import reference
from arrays import empty, host, numbers, put
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from one_layer import OneLayer

from deconvnet.core.kernels import Geometry, bands, convolution, gather

FILLERS = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "gaussian" std: 0.5 }'
REFERENCES = {"Convolution": reference.conv, "Deconvolution": reference.deconv}


def layer_of(
    kind, x, outputs, kernel, stride=(1, 1), pad=(0, 0), dilation=(1, 1), group=1, bias=True, dtype=np.float64
):
    """The layer over x, and what the definition says about it."""
    text = (
        f'type: "{kind}" convolution_param {{ num_output: {outputs} group: {group} {FILLERS} bias_term: {str(bias).lower()} '
        f"kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {stride[0]} stride_w: {stride[1]} pad_h: {pad[0]} pad_w: {pad[1]} "
        f"dilation: {dilation[0]} dilation: {dilation[1]} }}"
    )
    case = OneLayer(text, x, dtype=dtype)
    expected = REFERENCES[kind](x, *case.parameters, stride=stride, pad=pad, dilation=dilation, group=group)
    return case, expected


GEOMETRIES = {
    "one place": ((2, 3, 1, 1), 2, dict(kernel=(1, 1))),
    "1x1": ((2, 3, 4, 3), 2, dict(kernel=(1, 1))),
    "1x1 with stride": ((1, 2, 5, 4), 3, dict(kernel=(1, 1), stride=(2, 2))),
    "1x1 with padding": ((1, 2, 3, 4), 2, dict(kernel=(1, 1), pad=(1, 1))),
    "3x3 as in the paper": ((2, 2, 4, 5), 3, dict(kernel=(3, 3), pad=(1, 1))),
    "whole map": ((2, 2, 3, 3), 2, dict(kernel=(3, 3))),
    "odd size, stride 2": ((1, 2, 7, 5), 2, dict(kernel=(3, 3), stride=(2, 2), pad=(1, 1))),
    "stride beyond the kernel": ((1, 1, 7, 8), 2, dict(kernel=(2, 2), stride=(3, 3))),
    "rectangular": ((2, 2, 5, 6), 2, dict(kernel=(4, 1), stride=(1, 2), pad=(2, 0))),
    "rectangular, the other way": ((1, 2, 4, 6), 2, dict(kernel=(1, 3), stride=(2, 1), pad=(0, 2))),
    "dilated": ((1, 2, 7, 6), 2, dict(kernel=(3, 2), dilation=(2, 3), pad=(2, 1))),
    "dilated with stride": ((1, 2, 8, 7), 2, dict(kernel=(3, 2), dilation=(2, 2), stride=(2, 3), pad=(1, 1))),
    "padding wider than the map": ((1, 1, 2, 2), 1, dict(kernel=(3, 3), pad=(2, 2), stride=(3, 2))),
    "groups": ((2, 4, 4, 3), 6, dict(kernel=(3, 2), group=2, pad=(1, 1))),
    "a group per channel": ((1, 3, 4, 5), 3, dict(kernel=(4, 4), stride=(2, 2), pad=(1, 1), group=3)),
    "3x3 in groups": ((2, 4, 4, 5), 4, dict(kernel=(3, 3), group=2, pad=(1, 1))),
    "3x3 in groups, dilated": ((1, 4, 5, 6), 2, dict(kernel=(3, 3), group=2, pad=(2, 1), dilation=(2, 1))),
    "3x3 in groups, stride 2": ((1, 4, 5, 6), 4, dict(kernel=(3, 3), group=2, pad=(1, 1), stride=(2, 2))),
    "grouped 1x1": ((2, 4, 2, 3), 2, dict(kernel=(1, 1), group=2)),
    "many channels a group": ((1, 10, 3, 2), 10, dict(kernel=(2, 2), stride=(2, 1), group=2)),
    "no bias": ((1, 2, 3, 3), 2, dict(kernel=(2, 2), bias=False)),
}


@pytest.fixture(params=GEOMETRIES, ids=lambda name: name.replace(" ", "-"))
def geometry(request):
    return GEOMETRIES[request.param]


@pytest.mark.parametrize("kind", REFERENCES)
def test_forward_is_the_definition(device, kind, geometry):
    shape, outputs, window = geometry
    case, expected = layer_of(kind, numbers(*shape), outputs, **window)
    (y,) = case.forward()
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", REFERENCES)
def test_gradients(device, kind, geometry):
    shape, outputs, window = geometry
    case, _ = layer_of(kind, numbers(*shape), outputs, **window)
    check_gradients(case)


windows = st.fixed_dictionaries(
    {
        "kernel": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "pad": st.tuples(st.integers(0, 2), st.integers(0, 2)),
        "dilation": st.tuples(st.integers(1, 2), st.integers(1, 3)),
        "group": st.integers(1, 3),
    }
)
sizes = st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7))


@pytest.mark.parametrize("kind", REFERENCES)
@given(window=windows, size=sizes, depth=st.integers(1, 2), share=st.integers(1, 2))
def test_any_window_forward_and_backward(device, kind, window, size, depth, share):
    """Forward is the definition; backward is its adjoint: <y(x, w), dy> moves by <x', dx> and by <w', dw>."""
    images, height, width = size
    shape = (images, depth * window["group"], height, width)
    spans = [d * (k - 1) + 1 for k, d in zip(window["kernel"], window["dilation"], strict=True)]
    if kind == "Convolution":
        fits = all(n + 2 * p >= span for n, p, span in zip(shape[2:], window["pad"], spans, strict=True))
    else:
        results = zip(shape[2:], window["stride"], window["pad"], spans, strict=True)
        fits = all(s * (n - 1) + span - 2 * p >= 1 for n, s, p, span in results)
    if not fits:
        with pytest.raises(ValueError, match=r"does not fit a map of .*: maps from \d+x\d+ on would") as caught:
            layer_of(kind, numbers(*shape), share * window["group"], **window)
        least = [int(side) for side in re.search(r"maps from (\d+)x(\d+) on", str(caught.value)).groups()]
        fitting = layer_of(kind, numbers(*shape[:2], *least), share * window["group"], **window)[0]
        assert min(fitting.forward()[0].shape) >= 1
        assert any(side > given for side, given in zip(least, shape[2:], strict=True))
        return
    case, expected = layer_of(kind, numbers(*shape), share * window["group"], **window, bias=False)
    (y,) = case.forward()
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-11)
    dy = numbers(*y.shape, seed=5)
    case.parameter_diffs[0][...] = 0
    (dx,) = case.backward(dy)
    total = float((y * dy).sum())  # y is linear in x and in the weights
    assert float((dx * case.inputs[0]).sum()) == pytest.approx(total, abs=1e-9)
    assert float((case.parameter_diffs[0] * case.parameters[0]).sum()) == pytest.approx(total, abs=1e-9)
    other = numbers(*shape, seed=6)
    expected = REFERENCES[kind](other, case.parameters[0], **{k: v for k, v in window.items() if k != "kernel"})
    assert float((dx * other).sum()) == pytest.approx(float((expected * dy).sum()), abs=1e-9)


LARGE = {
    "bands of rows": ((1, 2, 75, 45), 1),
    "an image at a time": ((3, 2, 9, 7), 1),
    "two images at a time": ((5, 2, 9, 7), 2),
    "all images at once": ((3, 2, 9, 7), 10),
}
CUTS = {
    "3x3": dict(kernel=(3, 3), pad=(1, 1)),
    "1x1": dict(kernel=(1, 1)),
    "5x3, stride 2 and 1": dict(kernel=(5, 3), stride=(2, 1), pad=(2, 1)),
    "dilated": dict(kernel=(3, 3), dilation=(3, 2), pad=(3, 2)),
    "stride 1 and 2 in groups": dict(kernel=(2, 3), stride=(1, 2), pad=(1, 1), group=2),
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("part", LARGE)
@pytest.mark.parametrize("kind", REFERENCES)
def test_a_batch_cut_into_parts_gives_what_it_gives_whole(device, monkeypatch, kind, part, cut):
    """kernels/convolution.py cuts a batch so that its columns stay in the cache; where the cuts fall must not show."""
    monkeypatch.setattr(convolution, "_GATHER_TAPS", 0)
    shape, images = LARGE[part]
    case, expected = layer_of(kind, numbers(*shape), 2, **CUTS[cut])
    (whole,) = case.forward()
    dy = numbers(*whole.shape, seed=1)
    dx, dw = _backward(case, dy)
    # the columns of one image: a value for each tap at each place where the window stops
    places = np.prod(case.top[0].shape[2:] if kind == "Convolution" else shape[2:])
    depth = 2 * np.prod(CUTS[cut]["kernel"]) + 2 * (device == "gpu")  # there the rows count, too
    budget = 1 if part == "bands of rows" else int(images * places * depth * 8)
    monkeypatch.setattr(convolution, "_BAND_BYTES", budget)
    monkeypatch.setattr(convolution, "_GPU_BAND_BYTES", budget)
    monkeypatch.setattr(convolution, "_POINTWISE_PLACES", 1 << 20)
    seen = []
    plain = convolution._chunks
    monkeypatch.setattr(convolution, "_chunks", lambda *arguments: seen.append(plain(*arguments)) or seen[-1])
    (y,) = case.forward()
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-11)
    for found, before in zip(_backward(case, dy), (dx, dw), strict=True):
        np.testing.assert_allclose(found, before, rtol=0, atol=1e-10)
    # large maps: one call multiplies all images, only the weights' gradient is cut
    at_once = device == "gpu" and cut == "1x1" and part == "bands of rows"
    assert len(seen) == (1 if at_once else 3)
    for chunks in seen:
        if part == "bands of rows":
            assert len(chunks) > 2 * shape[0] and len({chunk.first for chunk in chunks}) > 2
        elif part != "all images at once":
            assert max(chunk.images for chunk in chunks) == images and len(chunks) == -(-shape[0] // images)


def _backward(case, dy):
    case.parameter_diffs[0][...] = 0
    (dx,) = case.backward(dy)
    return dx, np.array(case.parameter_diffs[0])


def test_gradients_through_bands(device, monkeypatch):
    """The same paths in the small: the smallest band that can be, one output row."""
    monkeypatch.setattr(convolution, "_GATHER_TAPS", 0)
    monkeypatch.setattr(convolution, "_chunks", _row_by_row)
    for kind in REFERENCES:
        for window in CUTS.values():
            case, expected = layer_of(kind, numbers(2, 2, 4, 5), 2, **window)
            np.testing.assert_allclose(case.forward()[0], expected, rtol=0, atol=1e-12)
            check_gradients(case)


def _row_by_row(geometry, like, images, channels, outputs, rows, width):
    return [convolution._Chunk(image, 1, row, 1) for image in range(images) for row in range(rows)]


@pytest.mark.parametrize("places, images", [(6, 1), (7, 3)])
@pytest.mark.parametrize("kind", REFERENCES)
def test_images_with_enough_places_are_their_own_columns(monkeypatch, kind, places, images):
    """Behind a 1x1 window on a CPU: each is multiplied as it lies, smaller ones side by side, with the same results."""
    monkeypatch.setattr(convolution, "_POINTWISE_PLACES", places)
    chunks = convolution._chunks(Geometry((1, 1)), np.empty(0), 3, 2, 4, 2, 3)
    assert {chunk.images for chunk in chunks} == {images} and len(chunks) * images == 3
    case, expected = layer_of(kind, numbers(3, 2, 2, 3), 4, kernel=(1, 1))
    np.testing.assert_allclose(case.forward()[0], expected, rtol=0, atol=1e-12)
    check_gradients(case)


@pytest.mark.parametrize("kind", REFERENCES)
def test_without_a_product_few_channels_a_group_give_the_same(device, monkeypatch, kind):
    """Depthwise convolution and grouped upsampling (kernels/gather.py), beside im2col or col2im and GEMM."""
    shape, window = (2, 4, 5, 4), dict(kernel=(4, 3), stride=(2, 3), pad=(1, 1), dilation=(1, 2), group=2)
    case, expected = layer_of(kind, numbers(*shape), 2, **window)
    assert case.layer.algorithm(case.bottom, case.top) == "gather"
    (gathered,) = case.forward()
    dy = numbers(*gathered.shape, seed=1)
    gradients = _backward(case, dy)
    np.testing.assert_allclose(gathered, expected, rtol=0, atol=1e-12)
    monkeypatch.setattr(convolution, "_GATHER_TAPS", 0)
    assert case.layer.algorithm(case.bottom, case.top) == "product"
    np.testing.assert_allclose(case.forward()[0], gathered, rtol=0, atol=1e-12)
    for product, direct in zip(_backward(case, dy), gradients, strict=True):
        np.testing.assert_allclose(product, direct, rtol=0, atol=1e-12)


# the smaller maps, channels of both, how the window moves: over upsampling's results or a depthwise convolution's bottom
GROUPED = {
    "bilinear": ((2, 4, 5, 6), 4, Geometry((4, 4), (2, 2), (1, 1), group=4)),
    "bilinear, odd": ((1, 3, 4, 9), 3, Geometry((5, 5), (3, 3), (1, 1), group=3)),
    "depthwise": ((2, 3, 7, 7), 3, Geometry((3, 3), (1, 1), (1, 1), group=3)),
    "depthwise, stride 2": ((2, 3, 4, 5), 3, Geometry((3, 3), (2, 2), (1, 1), group=3)),
    "rows for several blocks": ((1, 2, 20, 17), 2, Geometry((4, 4), (2, 2), (1, 1), group=2)),
    "columns for several blocks": ((1, 2, 3, 70), 2, Geometry((3, 4), (1, 2), (1, 1), group=2)),
    "one value a place": ((2, 2, 3, 17), 2, Geometry((2, 2), (2, 2), group=2)),
    "places that nothing reaches": ((1, 2, 3, 4), 2, Geometry((2, 1), (3, 2), group=2)),
    "three taps a place": ((1, 4, 5, 4), 4, Geometry((5, 3), (2, 1), (2, 1), group=4)),
    "channels in groups": ((2, 4, 5, 3), 6, Geometry((4, 3), (2, 2), (1, 0), group=2)),
    "rows and columns differ": ((1, 2, 7, 3), 2, Geometry((4, 6), (2, 3), (1, 2), group=2)),
    "padding beyond the first row": ((1, 2, 6, 6), 2, Geometry((4, 4), (2, 2), (3, 3), group=2)),
    "dilated": ((1, 2, 5, 6), 4, Geometry((3, 2), (1, 1), (2, 1), (2, 3), group=2)),
    "dilated with stride": ((2, 2, 4, 3), 2, Geometry((3, 2), (2, 4), (1, 1), (3, 3), group=2)),
}


@pytest.mark.parametrize("order", ["bands", "narrow bands", "places"])
@pytest.mark.parametrize("case", GROUPED, ids=lambda name: name.replace(" ", "-"))
def test_each_order_of_a_gather_gives_what_rows_give(device, case, order, monkeypatch):
    """Bands of windows, as a CPU's vectors like them, and places that threads own, as a GPU's do; nothing that was there stays."""
    shape, outputs, geometry = GROUPED[case]
    if order == "places" and geometry.dilation != (1, 1):
        pytest.skip("rows serve dilated windows there")
    if order == "narrow bands":
        monkeypatch.setattr(bands, "_BYTES", 8 * 80)
    small, weights = put(numbers(*shape)), put(numbers(shape[1], outputs // geometry.group, *geometry.kernel, seed=1))
    large = put(numbers(shape[0], outputs, *geometry.transposed_size(*shape[2:]), seed=2))
    results = []
    for one in ("rows", order.removeprefix("narrow ")):
        up, down, dweights = empty(*large.shape), empty(*shape), put(np.ones(weights.shape))
        up[...], down[...] = np.nan, np.nan
        gather.correlate_backward_data(small, weights, geometry, up, order=one)
        gather.correlate(large, weights, geometry, down, order=one)
        gather.correlate_backward_weights(large, small, geometry, dweights, order=one)
        results.append((host(up), host(down), host(dweights)))
    for rows, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, rows, rtol=1e-13, atol=1e-13)


def test_what_fits_no_band_goes_row_by_row(device):
    """FCN-32s's upsampling has 32 x 32 phases; a window of 12 x 12 has more taps than a gradient's band counts."""
    assert bands.of_windows((20, 20), (64, 64), (32, 32), (1, 1), 8) is None
    assert bands.of_windows((20, 20), (12, 12), (1, 1), (1, 1), 8) is not None
    for geometry in (Geometry((64, 64), (32, 32), (16, 16), group=2), Geometry((12, 12), (1, 1), (3, 3), group=2)):
        dy, x = numbers(1, 2, 3, 2), numbers(1, 2, *geometry.transposed_size(3, 2), seed=1)
        dweights = empty(2, 1, *geometry.kernel)
        dweights[...] = 0
        gather.correlate_backward_weights(put(x), put(dy), geometry, dweights)
        y = empty(*dy.shape)
        gather.correlate(put(x), dweights, geometry, y)
        total = float((host(y) * dy).sum())  # <w, w>, as the one is the other's adjoint
        assert total == pytest.approx(float((host(dweights) ** 2).sum()), rel=1e-12)


@given(
    windows=st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
    window=st.tuples(*[st.tuples(st.integers(1, 12), st.integers(1, 12))] * 3),
    itemsize=st.sampled_from([4, 8]),
)
def test_a_band_holds_what_its_windows_see(windows, window, itemsize):
    """Whatever is asked for, what the kernels write into a band lies within it."""
    kernel, stride, dilation = window
    band = bands.of_windows(windows, kernel, stride, dilation, itemsize)
    if band is None:
        return
    spans = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    places = [count + span // s for count, span, s in zip(band, spans, stride, strict=True)]
    phases = [min(s, span + 1) for s, span in zip(stride, spans, strict=True)]
    assert np.prod(places) * np.prod(phases) * itemsize <= 8192
    assert all(1 <= part <= count for part, count in zip(band, windows, strict=True))


@pytest.mark.parametrize("order", ["bands", "places"])
def test_a_nan_of_a_gathered_map_reaches_its_window_alone(device, order):
    x, y = np.zeros((1, 2, 5, 5)), empty(1, 2, 11, 11)
    x[0, 0, 2, 2] = np.nan
    weights = np.ones((2, 1, 3, 3))
    gather.correlate_backward_data(put(x), put(weights), Geometry((3, 3), (2, 2), group=2), y, order=order)
    wrong = np.zeros(y.shape, bool)
    wrong[0, 0, 4:7, 4:7] = True
    np.testing.assert_array_equal(np.isnan(host(y)), wrong)


def test_bilinear_upsampling_keeps_a_constant_map_inside(device):
    """Caffe's bilinear filler in a grouped Deconvolution of kernel 2s - s % 2, stride s is bilinear interpolation."""
    text = (
        'type: "Deconvolution" convolution_param { num_output: 2 group: 2 kernel_size: 4 stride: 2 pad: 1 bias_term: false '
        'weight_filler { type: "bilinear" } }'
    )
    (y,) = OneLayer(text, np.full((1, 2, 5, 6), 3.0)).forward()
    assert y.shape == (1, 2, 10, 12)
    np.testing.assert_allclose(y[:, :, 1:-1, 1:-1], 3.0, rtol=1e-15)


def test_bilinear_upsampling_whose_group_was_forgotten_is_pointed_out():
    """All classes would get the same map: an FCN whose upsampling does not learn would learn nothing."""
    text = 'type: "Deconvolution" convolution_param {{ num_output: {} kernel_size: 4 weight_filler {{ type: "bilinear" }} }}'
    with pytest.warns(
        UserWarning, match="make 3 outputs the same sum of inputs; group: 3 upsamples every channel by itself"
    ):
        OneLayer(text.format(3), numbers(1, 3, 2, 2))
    with pytest.warns(UserWarning, match="make 2 outputs the same sum of inputs; a group for each channel upsamples"):
        OneLayer(text.format(2), numbers(1, 3, 2, 2))
    OneLayer(text.format(1), numbers(1, 3, 2, 2))  # one sum of all: a warning is an error in tests


@pytest.mark.parametrize("kind", REFERENCES)
def test_several_bottoms_share_the_filters(device, kind):
    """Each bottom has its top; the parameters' gradients are summed over them."""
    text = f'type: "{kind}" convolution_param {{ num_output: 2 kernel_size: 2 {FILLERS} }}'
    case = OneLayer(text, numbers(1, 2, 3, 3), numbers(2, 2, 4, 3), tops=2)
    for x, y in zip(case.inputs, case.forward(), strict=True):
        np.testing.assert_allclose(y, REFERENCES[kind](x, *case.parameters), rtol=0, atol=1e-12)
    check_gradients(case)


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_nan_reaches_all_that_its_window_reaches_and_nothing_else(device, kind):
    x = numbers(2, 1, 5, 5)
    x[1, 0, 2, 2] = np.nan
    case, expected = layer_of(kind, x, 2, kernel=(3, 3), pad=(1, 1))
    (y,) = case.forward()
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    assert np.isnan(y).sum() == 18


REFUSED = {
    "num_output: 2": "give kernel_size, or both kernel_h and kernel_w",
    "num_output: 2 kernel_h: 3": "give kernel_size, or both kernel_h and kernel_w",
    "num_output: 2 kernel_size: 3 kernel_h: 3 kernel_w: 3": "give kernel_size, or kernel_h and kernel_w; not both",
    "num_output: 2 kernel_size: 0": "kernel_size must be at least 1",
    "num_output: 2 kernel_size: 3 stride: 0": "stride must be at least 1",
    "num_output: 2 kernel_size: 3 dilation: 0": "dilation must be at least 1",
    "num_output: 2 kernel_size: 3 pad: 1 pad: 1 pad: 1": "pad is given 3 times",
    "kernel_size: 3": "num_output must be at least 1",
    "num_output: 3 kernel_size: 1 group: 2": "group 2 must divide the 4 input and the 3 output channels",
    "num_output: 2 kernel_size: 1 axis: 4": "axis 4 does not exist in a bottom of shape",
}


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize("param", REFUSED)
def test_a_window_that_cannot_be_is_refused_by_name(kind, param):
    with pytest.raises(ValueError, match=REFUSED[param]):
        OneLayer(f'type: "{kind}" convolution_param {{ {param} }}', numbers(1, 4, 5, 5))


def test_the_input_must_have_the_channels_it_was_made_for():
    text = 'type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 }'
    with pytest.raises(ValueError, match=r"axis 1 does not exist in a bottom of shape \(4,\)"):
        OneLayer(text, numbers(4))
    case = OneLayer(text, numbers(1, 4, 3, 3))
    with pytest.raises(ValueError, match=r"made for 4 input channels; its bottom now has the shape \(1, 3, 3, 3\)"):
        case.reshape(numbers(1, 3, 3, 3))


@pytest.mark.parametrize("kind, given", [("DepthwiseConvolution", "group: 4"), ("ConvolutionDepthwise", "")])
def test_a_depthwise_convolution_has_a_group_for_each_channel(device, kind, given):
    fields = 'num_output: 4 kernel_size: 3 pad: 1 stride: 2 weight_filler { type: "gaussian" std: 0.5 }'
    x = numbers(2, 4, 6, 5)
    one = OneLayer(f'name: "c" type: "{kind}" convolution_param {{ {fields} {given} }}', x)
    other = OneLayer(f'name: "c" type: "Convolution" convolution_param {{ {fields} group: 4 }}', x)
    np.testing.assert_array_equal(one.forward()[0], other.forward()[0])
    assert [blob.shape for blob in one.layer.blobs] == [(4, 1, 3, 3), (4,)]
    check_gradients(one)
    with pytest.raises(ValueError, match="a group for each of its 4 channels: leave group 2 out"):
        OneLayer(f'type: "{kind}" convolution_param {{ num_output: 4 kernel_size: 3 group: 2 }}', x)
