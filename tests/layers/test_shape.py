"""Flatten, Reshape, Slice and Tile: the same values in other places."""

import numpy as np
import pytest
from arrays import numbers
from gradient_check import check_gradients
from one_layer import TRAIN, OneLayer

from deconvnet.core import proto
from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2

X = (2, 3, 4, 5)
SAME_VALUES = {
    'type: "Flatten"': (2, 60),
    'type: "Flatten" flatten_param { axis: 2 }': (2, 3, 20),
    'type: "Flatten" flatten_param { axis: 1 end_axis: 2 }': (2, 12, 5),
    'type: "Flatten" flatten_param { axis: -3 end_axis: -2 }': (2, 12, 5),
    'type: "Flatten" flatten_param { axis: 0 end_axis: 0 }': (2, 3, 4, 5),
    'type: "Reshape" reshape_param { shape { dim: 0 dim: -1 } }': (2, 60),
    'type: "Reshape" reshape_param { shape { dim: 6 dim: 20 } }': (6, 20),
    'type: "Reshape" reshape_param { shape { dim: -1 } axis: 1 num_axes: 2 }': (2, 12, 5),
    'type: "Reshape" reshape_param { shape { dim: 1 } axis: 1 num_axes: 0 }': (2, 1, 3, 4, 5),
    'type: "Reshape" reshape_param { shape { dim: 1 } axis: -1 num_axes: 0 }': (2, 3, 4, 5, 1),
    'type: "Reshape" reshape_param { shape { dim: 5 dim: -1 } axis: 2 }': (2, 3, 5, 4),
}


@pytest.mark.parametrize("text", SAME_VALUES)
def test_flatten_and_reshape_keep_the_values_in_order(device, text):
    case = OneLayer(text, numbers(*X))
    (y,) = case.forward()
    assert y.shape == SAME_VALUES[text]
    np.testing.assert_array_equal(y.ravel(), case.inputs[0].ravel())


@pytest.mark.parametrize("text", ['type: "Flatten"', 'type: "Reshape" reshape_param { shape { dim: -1 dim: 5 } }'])
def test_flatten_and_reshape_in_a_net_pass_values_and_gradients_through(device, text):
    """Top and bottom share their memory, also where the bottom goes elsewhere too."""
    text = f"""
    force_backward: true
    layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 3 dim: 5 }} }} }}
    layer {{ name: "flat" {text} bottom: "x" top: "flat" }}
    layer {{ name: "doubled" type: "Power" bottom: "flat" top: "doubled" power_param {{ scale: 2 }} }}
    layer {{ name: "squared" type: "Power" bottom: "x" top: "squared" power_param {{ power: 2 }} }}
    """
    net = Net(proto.parse(text, caffe_pb2.NetParameter()), TRAIN, dtype=np.float64)
    for shape in ((2, 3, 5), (4, 6, 5)):
        x, first = numbers(*shape), numbers(*shape, seed=1)
        net.forward(x=x)
        np.testing.assert_array_equal(net.blobs["doubled"].data.ravel(), 2 * x.ravel())
        net.backward(doubled=first.reshape(net.blobs["doubled"].shape), squared=np.ones(shape))
        np.testing.assert_allclose(net.blobs["x"].diff, 2 * first + 2 * x, rtol=1e-14)


def test_reshape_of_nothing_but_minus_one_follows_the_batch():
    case = OneLayer('type: "Reshape" reshape_param { shape { dim: -1 dim: 0 } }', numbers(2, 3))
    case.reshape(numbers(5, 3))
    assert case.top[0].shape == (5, 3)


SLICES = {
    "": [(0, 2), (2, 4), (4, 6)],
    "slice_point: 1 slice_point: 4": [(0, 1), (1, 4), (4, 6)],
    "slice_dim: 1 slice_point: 1 slice_point: 2": [(0, 1), (1, 2), (2, 6)],
    "axis: -3 slice_point: 3 slice_point: 4": [(0, 3), (3, 4), (4, 6)],
}


@pytest.mark.parametrize("fields", SLICES)
def test_slice_cuts_at_its_points_or_evenly(device, fields):
    x = numbers(2, 6, 3, 2)
    case = OneLayer(f'type: "Slice" slice_param {{ {fields} }}', x, tops=3)
    for y, (first, last) in zip(case.forward(), SLICES[fields], strict=True):
        np.testing.assert_array_equal(y, x[:, first:last])
    check_gradients(case)


def test_slice_into_one_part_is_a_copy(device):
    check_gradients(OneLayer('type: "Slice"', numbers(2, 3)))


@pytest.mark.parametrize("axis, repeats", [(0, (2, 1, 1)), (1, (1, 2, 1)), (2, (1, 1, 2)), (-1, (1, 1, 2))])
def test_tile_repeats_along_an_axis(device, axis, repeats):
    x = numbers(2, 3, 4)
    case = OneLayer(f'type: "Tile" tile_param {{ axis: {axis} tiles: 2 }}', x)
    np.testing.assert_array_equal(case.forward()[0], np.tile(x, repeats))
    check_gradients(case)


REFUSED = {
    'type: "Flatten" flatten_param { axis: 2 end_axis: 1 }': "end_axis 1 comes before axis 2",
    'type: "Flatten" flatten_param { axis: 4 }': "axis 4 does not exist",
    'type: "Reshape" reshape_param { shape { dim: -1 dim: -1 } }': "may hold sizes, 0 and at most one -1",
    'type: "Reshape" reshape_param { shape { dim: -2 } }': "may hold sizes, 0 and at most one -1",
    'type: "Reshape" reshape_param { shape { dim: 7 } }': r"120 values .* the shape \(7,\)",
    'type: "Reshape" reshape_param { shape { dim: 7 dim: -1 } }': r"120 values .* the shape \(7, 17\)",
    'type: "Reshape" reshape_param { axis: 3 shape { dim: 5 dim: 0 } }': "dim 1 of reshape_param.shape is 0, but .* has no axis 4",
    'type: "Reshape" reshape_param { axis: 5 shape { dim: 1 } }': "axis 5 and num_axes -1 do not fit",
    'type: "Reshape" reshape_param { axis: 3 num_axes: 2 shape { dim: 1 } }': "axis 3 and num_axes 2 do not fit",
    'type: "Slice" slice_param { axis: 1 slice_dim: 1 }': "give axis or slice_dim; not both",
    'type: "Slice" slice_param { slice_point: 1 }': "has 3 tops and 1 slice_point: give 2 or none",
    'type: "Slice" slice_param { axis: 2 }': "cannot cut the 4 of axis 2 into 3 equal parts: give slice_point",
    'type: "Slice" slice_param { slice_point: 2 slice_point: 1 }': "must rise between 0 and the 3 of axis 1",
    'type: "Slice" slice_param { slice_point: 1 slice_point: 3 }': "must rise between 0 and the 3 of axis 1",
    'type: "Tile"': "tiles must be at least 1",
}


@pytest.mark.parametrize("text", REFUSED)
def test_shapes_that_cannot_be_are_refused(text):
    with pytest.raises(ValueError, match=REFUSED[text]):
        OneLayer(text, numbers(*X), tops=3 if "Slice" in text else 1)


@pytest.mark.parametrize("text", ['type: "Flatten"', 'type: "Reshape" reshape_param { shape { dim: -1 } }'])
def test_another_shape_needs_another_blob(text):
    with pytest.raises(ValueError, match="cannot work in place"):
        OneLayer(text, numbers(2, 3), in_place=True)
