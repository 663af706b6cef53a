"""Scale and Bias: where the second operand lies in the first, learned or given."""

import numpy as np
import pytest
from arrays import numbers
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from one_layer import OneLayer

FILLER = 'filler { type: "gaussian" }'
KINDS = {"Scale": "scale_param", "Bias": "bias_param"}


def text_of(kind, fields="", filler=FILLER):
    return f'type: "{kind}" {KINDS[kind]} {{ {filler} {fields} }}'


def expected(kind, x, operand, axis):
    """x with the operand spread over the axes around it."""
    spread = operand.reshape(*operand.shape, *(1,) * (x.ndim - axis - operand.ndim)) if operand.ndim else operand
    return x * spread if kind == "Scale" else x + spread


PLACES = {
    "": (1, (3,)),
    "axis: 0": (0, (2,)),
    "axis: -1": (3, (5,)),
    "axis: 0 num_axes: 2": (0, (2, 3)),
    "axis: 1 num_axes: -1": (1, (3, 4, 5)),
    "axis: 2 num_axes: 2": (2, (4, 5)),
    "num_axes: 0": (0, ()),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fields", PLACES)
@pytest.mark.parametrize("in_place", [False, True])
def test_the_parameter_lies_along_its_axes(device, kind, fields, in_place):
    x = numbers(2, 3, 4, 5)
    axis, shape = PLACES[fields]
    case = OneLayer(text_of(kind, fields), x, in_place=in_place)
    assert case.parameters[0].shape == shape
    np.testing.assert_allclose(case.forward()[0], expected(kind, x, case.parameters[0], axis), rtol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fields", PLACES)
@pytest.mark.parametrize("in_place", [False, True])
def test_gradients_of_the_parameter(device, kind, fields, in_place):
    check_gradients(OneLayer(text_of(kind, fields), numbers(2, 3, 4, 5), in_place=in_place))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis, shape", [(0, (2,)), (1, (3,)), (1, (3, 4)), (2, (4, 5)), (0, (2, 3, 4, 5)), (1, ())])
def test_a_second_bottom_is_the_operand(device, kind, axis, shape):
    x, operand = numbers(2, 3, 4, 5), numbers(*shape, seed=1)
    case = OneLayer(text_of(kind, f"axis: {axis} num_axes: 7", filler=""), x, operand)
    assert not case.parameters
    np.testing.assert_allclose(case.forward()[0], expected(kind, x, operand, axis if shape else 0), rtol=1e-14)
    check_gradients(case)


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_bottom_in_place_of_the_first(device, kind):
    check_gradients(OneLayer(text_of(kind), numbers(2, 3, 4), numbers(3, seed=1), in_place=True))


@pytest.mark.parametrize("bottoms", [1, 2])
@pytest.mark.parametrize("in_place", [False, True])
def test_scale_takes_a_bias_of_its_own_shape(device, bottoms, in_place):
    x, operand = numbers(2, 3, 4), numbers(3, seed=1)
    text = text_of("Scale", 'bias_term: true bias_filler { type: "gaussian" }')
    case = OneLayer(text, *(x, operand)[:bottoms], in_place=in_place)
    scale, bias = [operand, *case.parameters][-2:]
    np.testing.assert_allclose(case.forward()[0], x * scale[:, None] + bias[:, None], rtol=1e-14)
    check_gradients(case)


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 40)), axis=st.integers(0, 3)
)
def test_any_shape_and_axis(device, shape, axis):
    x, dy = numbers(*shape), numbers(*shape, seed=1)
    case = OneLayer(text_of("Scale", f"axis: {axis} bias_term: true"), x)
    (y,) = case.forward()
    np.testing.assert_allclose(y, expected("Scale", x, case.parameters[0], axis), rtol=1e-14)
    for diff in case.parameter_diffs:
        diff[...] = 0
    (dx,) = case.backward(dy)
    np.testing.assert_allclose(dx, expected("Scale", dy, case.parameters[0], axis), rtol=1e-14)
    others = tuple(other for other in range(4) if other != axis)
    np.testing.assert_allclose(case.parameter_diffs[0], (x * dy).sum(axis=others), rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(case.parameter_diffs[1], dy.sum(axis=others), rtol=1e-10, atol=1e-11)


def test_they_start_as_the_identity(device):
    x = numbers(2, 3)
    for kind in KINDS:
        np.testing.assert_array_equal(OneLayer(f'type: "{kind}"', x).forward()[0], x)


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_is_refused(kind):
    x = numbers(2, 3, 4)
    with pytest.raises(
        ValueError, match=r"second bottom \(4,\) does not fit the bottom's shape \(2, 3, 4\) from axis 1"
    ):
        OneLayer(text_of(kind), x, numbers(4))
    with pytest.raises(ValueError, match=r"num_axes 3 from axis 1 on reaches beyond the bottom's shape \(2, 3, 4\)"):
        OneLayer(text_of(kind, "num_axes: 3"), x)
    with pytest.raises(ValueError, match="num_axes must be -1, 0 or more, not -2"):
        OneLayer(text_of(kind, "num_axes: -2"), x)
    with pytest.raises(ValueError, match="axis 3 does not exist"):
        OneLayer(text_of(kind, "axis: 3"), x)
    case = OneLayer(text_of(kind), x)
    with pytest.raises(ValueError, match=r"its parameter \(3,\) does not fit the bottom's shape \(2, 5, 4\)"):
        case.reshape(numbers(2, 5, 4))


@pytest.mark.parametrize("of_factors", [(2, 3), (2, 3, 1, 1)])
def test_axpy_is_a_factor_for_each_channel_of_each_image_and_a_summand(device, of_factors):
    a, x, z = numbers(*of_factors), numbers(2, 3, 4, 5, seed=1), numbers(2, 3, 4, 5, seed=2)
    case = OneLayer('type: "Axpy"', a, x, z)
    np.testing.assert_allclose(case.forward()[0], a.reshape(2, 3, 1, 1) * x + z, rtol=1e-12)
    check_gradients(case)


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True)])
def test_axpy_leaves_unwanted_gradients_alone(device, wanted):
    case = OneLayer('type: "Axpy"', numbers(2, 3), numbers(2, 3, 4), numbers(2, 3, 4, seed=1))
    case.forward()
    found = case.backward(numbers(2, 3, 4, seed=2), propagate_down=list(wanted))
    assert tuple(np.isfinite(diff).all() for diff in found) == wanted


def test_axpy_names_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(2, 4\), \(2, 3, 4\) and \(2, 3, 4\): \(N, C\) and twice"):
        OneLayer('type: "Axpy"', numbers(2, 4), numbers(2, 3, 4), numbers(2, 3, 4))
