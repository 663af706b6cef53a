"""Permute: NumPy's transpose."""

import math

import numpy as np
import pytest
from arrays import numbers
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from one_layer import OneLayer

from deconvnet.core import kernels


def permute(x, order):
    return OneLayer(f'type: "Permute" permute_param {{ {" ".join(f"order: {axis}" for axis in order)} }}', x)


# each more than one block takes: bands of a plane, parts of its rows, planes
CASES = [
    ((2, 3, 4, 5), (0, 2, 3, 1)),
    ((1, 20, 3, 100), (0, 2, 3, 1)),
    ((1, 3, 100, 20), (0, 3, 1, 2)),
    ((2, 37, 300), (0, 2, 1)),
    ((3, 40, 270), (1, 0, 2)),
    ((300, 18, 3), (2, 1, 0)),
    ((3, 2, 4, 2, 5), (4, 2, 0, 3, 1)),
    ((7,), (0,)),
    ((), ()),
]


@pytest.mark.parametrize("shape, order", CASES)
def test_axes_come_in_the_order_named(device, shape, order):
    layer = permute(numbers(*shape), order)
    np.testing.assert_array_equal(layer.forward()[0], layer.inputs[0].transpose(order))
    dy = numbers(*layer.top[0].shape, seed=1)
    np.testing.assert_array_equal(layer.backward(dy)[0].transpose(order), dy)


@given(data=st.data(), sizes=st.lists(st.integers(0, 4), max_size=7))
def test_any_axes_in_any_order(device, data, sizes):
    order = data.draw(st.permutations(range(len(sizes))))
    layer = permute(numbers(*sizes), order)
    np.testing.assert_array_equal(layer.forward()[0], layer.inputs[0].transpose(order))
    dy = numbers(*layer.top[0].shape, seed=1)
    np.testing.assert_array_equal(layer.backward(dy)[0].transpose(order), dy)


def test_gradients(device):
    check_gradients(permute(numbers(2, 3, 2, 3), (0, 2, 3, 1)))


@pytest.mark.parametrize("named, order", [((), (0, 1, 2)), ((2,), (2, 0, 1)), ((0, 2), (0, 2, 1))])
def test_axes_that_are_not_named_follow(named, order):
    layer = permute(numbers(2, 3, 4), named)
    np.testing.assert_array_equal(layer.forward()[0], layer.inputs[0].transpose(order))


@pytest.mark.parametrize("shape", [(1, 1, 5, 6), (2, 1, 5, 6), (1, 24, 1, 1), (0, 3, 4, 5)])
def test_where_no_value_moves_there_is_only_a_copy(shape):
    order = (0, 2, 3, 1)
    assert kernels.permutation(shape, order, np.zeros(0)) is None
    layer = permute(numbers(*shape), order)
    np.testing.assert_array_equal(layer.forward()[0], layer.inputs[0].transpose(order))


@pytest.mark.parametrize(
    "shape, order, planes, down, across",
    [
        ((2, 3, 4, 5), (0, 2, 3, 1), 2, 3, 20),
        ((2, 3, 4, 5), (2, 3, 0, 1), 1, 6, 20),
        ((2, 3, 1, 5), (1, 2, 3, 0), 1, 2, 15),
        ((2, 3, 4, 5), (1, 0, 3, 2), 6, 4, 5),
    ],
)
def test_axes_that_stay_neighbours_move_as_one(shape, order, planes, down, across):
    how = kernels.permutation(shape, order, np.zeros(0))
    assert (how.planes, how.down, how.across) == (planes, down, across)
    assert how.planes * how.down * how.across == math.prod(shape)


@pytest.mark.parametrize("order, named", [((0, 0), r"\[0, 0\]"), ((0, 3), r"\[0, 3\]"), ((4294967295,), "4294967295")])
def test_an_order_that_is_none_is_refused(order, named):
    with pytest.raises(ValueError, match=f"order .*{named}.* must name axes of a bottom of shape .2, 3, 4., each once"):
        permute(numbers(2, 3, 4), order)


@pytest.mark.parametrize("shape", [(2, 12, 3, 5), (1, 6, 7, 1), (3, 12)])
@pytest.mark.parametrize("group", [1, 2, 3, 6])
def test_channels_of_groups_take_turns(device, shape, group):
    """ShuffleChannel: of 6 channels in 2 groups 0 3 1 4 2 5."""
    x = numbers(*shape)
    layer = OneLayer(f'type: "ShuffleChannel" shuffle_channel_param {{ group: {group} }}', x)
    turns = np.arange(shape[1]).reshape(group, -1).T.ravel()
    np.testing.assert_array_equal(layer.forward()[0], x[:, turns])
    dy = numbers(*shape, seed=1)
    np.testing.assert_array_equal(layer.backward(dy)[0][:, turns], dy)


@pytest.mark.parametrize("group", [0, 4])
def test_groups_that_do_not_divide_the_channels_are_refused(group):
    with pytest.raises(ValueError, match=f"group {group} must divide the 6 channels"):
        OneLayer(f'type: "ShuffleChannel" shuffle_channel_param {{ group: {group} }}', numbers(1, 6, 2, 2))


def test_transpose_is_permute_by_another_name(device):
    x = numbers(2, 3, 4, 5)
    case = OneLayer('type: "Transpose" transpose_param { dim: [2, 0, 3, 1] }', x)
    np.testing.assert_array_equal(case.forward()[0], x.transpose(2, 0, 3, 1))
    check_gradients(case)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 1), (0, 3, 2, 2)])
def test_an_axis_is_reversed(device, axis, shape):
    x = numbers(*shape)
    case = OneLayer(f'type: "Reverse" reverse_param {{ axis: {axis} }}', x)
    np.testing.assert_array_equal(case.forward()[0], np.flip(x, axis))
    if x.size:
        check_gradients(case)
