"""Caffe's neurons against their formulas, and their gradients away from kinks."""

import numpy as np
import pytest
from arrays import numbers, spaced
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from one_layer import OneLayer


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# text of the layer, the formula, and how its inputs are made
NEURONS = {
    'type: "Sigmoid"': (sigmoid, spaced),
    'type: "TanH"': (np.tanh, spaced),
    'type: "AbsVal"': (np.abs, spaced),
    'type: "BNLL"': (lambda x: np.log(1 + np.exp(x)), spaced),
    'type: "Power"': (lambda x: x, spaced),
    'type: "Power" power_param { power: 2 scale: 0.5 shift: 0.25 }': (lambda x: (0.25 + 0.5 * x) ** 2, spaced),
    'type: "Power" power_param { power: 3 scale: -0.5 }': (lambda x: (-0.5 * x) ** 3, spaced),
    'type: "Power" power_param { power: 0 shift: 2 }': (np.ones_like, spaced),
    'type: "Power" power_param { power: 3 scale: 0 shift: 2 }': (lambda x: np.full_like(x, 8), spaced),
    'type: "Power" power_param { power: -0.5 shift: 0.5 }': (
        lambda x: (x + 0.5) ** -0.5,
        lambda *s: np.abs(spaced(*s)),
    ),
    'type: "Exp"': (np.exp, numbers),
    'type: "Exp" exp_param { base: 2 scale: 0.5 shift: 0.25 }': (lambda x: 2 ** (0.25 + 0.5 * x), numbers),
    'type: "Log"': (np.log, lambda *s: 0.5 + np.abs(spaced(*s))),
    'type: "Log" log_param { base: 10 scale: 2 shift: 0.5 }': (
        lambda x: np.log10(0.5 + 2 * x),
        lambda *s: np.abs(spaced(*s)),
    ),
    'type: "ELU"': (lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1), spaced),
    'type: "ELU" elu_param { alpha: 0.5 }': (
        lambda x: np.where(x > 0, x, 0.5 * (np.exp(np.minimum(x, 0)) - 1)),
        spaced,
    ),
    'type: "Clip" clip_param { min: -0.5 max: 0.6875 }': (lambda x: np.clip(x, -0.5, 0.6875), spaced),
    'type: "Swish" swish_param { beta: 1.5 }': (lambda x: x * sigmoid(1.5 * x), spaced),
}
SHAPES = [(2, 3, 4, 5), (1, 1, 1, 1), (1, 7), (3,), ()]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("text", NEURONS)
def test_forward_is_the_formula(device, text, shape, in_place):
    formula, inputs = NEURONS[text]
    x = inputs(*shape)
    (y,) = OneLayer(text, x, in_place=in_place).forward()
    np.testing.assert_allclose(y, formula(x), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", [(2, 3, 2, 3), (1, 7)])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("text", NEURONS)
def test_gradients(device, text, shape, in_place):
    check_gradients(OneLayer(text, NEURONS[text][1](*shape), in_place=in_place))


def test_a_power_that_the_input_has_no_part_in_has_no_gradient(device):
    """Even where the power itself is infinite, as in Caffe."""
    layer = OneLayer('type: "Power" power_param { power: -1 scale: 0 shift: 0 }', numbers(2, 3))
    layer.forward()
    np.testing.assert_array_equal(layer.backward(np.ones((2, 3)))[0], np.zeros((2, 3)))


@pytest.mark.parametrize("text", ['type: "Sigmoid"', 'type: "TanH"', 'type: "BNLL"', 'type: "ELU"', 'type: "Swish"'])
def test_large_values_overflow_nowhere(device, text):
    x = np.array([-1e4, -200.0, 200.0, 1e4])
    layer = OneLayer(text, x, dtype=np.float32)
    (y,) = layer.forward()
    (dx,) = layer.backward(np.ones(4))
    assert np.isfinite(y).all() and np.isfinite(dx).all()
    limits = {"Sigmoid": (0, 1), "TanH": (-1, 1), "BNLL": (0, 1e4), "ELU": (-1, 1e4), "Swish": (0, 1e4)}
    assert (y[0], y[-1]) == limits[layer.layer.param.type]


@pytest.mark.parametrize(
    "text", ['type: "AbsVal"', 'type: "Clip" clip_param { min: 0 max: 1 }', 'type: "Sigmoid"', 'type: "ELU"']
)
def test_a_nan_stays_a_nan(device, text):
    np.testing.assert_array_equal(np.isnan(OneLayer(text, np.array([0.5, np.nan])).forward()[0]), [False, True])


def test_threshold_marks_what_lies_above_it_and_passes_nothing_back(device):
    case = OneLayer('type: "Threshold" threshold_param { threshold: 0.25 }', np.array([0.0, 0.25, 0.5]))
    np.testing.assert_array_equal(case.forward()[0], [0, 0, 1])
    assert case.layer.without_gradient == (0,)


def test_exp_and_log_of_one_base_undo_each_other(device):
    x = numbers(3, 5)
    y = OneLayer('type: "Exp" exp_param { base: 3 scale: 2 shift: -1 }', x).forward()[0]
    back = OneLayer('type: "Log" log_param { base: 3 }', y).forward()[0]
    np.testing.assert_allclose((back + 1) / 2, x, rtol=1e-12)


PRELU = 'type: "PReLU" prelu_param { filler { type: "uniform" min: -0.5 max: 1.5 } channel_shared: %s }'


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 2, 1, 1), (3, 4), (2, 1, 7)])
@pytest.mark.parametrize("shared", ["true", "false"])
@pytest.mark.parametrize("in_place", [False, True])
def test_prelu_has_a_slope_per_channel_or_one(device, shape, shared, in_place):
    x = spaced(*shape)
    case = OneLayer(PRELU % shared, x, in_place=in_place)
    (slope,) = case.parameters
    assert slope.shape == (() if shared == "true" else (shape[1],))
    slope = slope.reshape(1, -1, *(1,) * (len(shape) - 2))
    np.testing.assert_allclose(case.forward()[0], np.where(x > 0, x, slope * x), rtol=1e-14)
    check_gradients(case)


@given(shape=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 9), st.integers(1, 40)))
def test_prelu_on_any_shape(device, shape):
    """Forward by the formula; backward is its adjoint in x, and in the slopes."""
    x, dy = numbers(*shape), numbers(*shape, seed=1)
    case = OneLayer(PRELU % "false", x)
    (y,) = case.forward()
    slope = case.parameters[0].reshape(1, -1, 1, 1)
    np.testing.assert_allclose(y, np.where(x > 0, x, slope * x), rtol=1e-14)
    case.parameter_diffs[0][...] = 0
    (dx,) = case.backward(dy)
    np.testing.assert_allclose(dx, np.where(x > 0, dy, slope * dy), rtol=1e-14)
    expected = np.where(x > 0, 0, x * dy).sum(axis=(0, 2, 3))
    np.testing.assert_allclose(case.parameter_diffs[0], expected, rtol=1e-10, atol=1e-12)


def test_prelu_starts_at_a_quarter(device):
    assert OneLayer('type: "PReLU"', numbers(2, 3)).parameters[0].tolist() == [0.25] * 3


REFUSED = {
    'type: "Exp" exp_param { base: 0 }': "base must be positive, or -1 for e, not 0",
    'type: "Log" log_param { base: -2 }': "base must be positive, or -1 for e, not -2",
    'type: "Log" log_param { base: 1 }': "there is no logarithm to base 1",
    'type: "Clip" clip_param { min: 2 max: 1 }': "min 2 is above max 1",
    'type: "PReLU"': "needs a bottom with channels",
}


@pytest.mark.parametrize("text", REFUSED)
def test_parameters_that_cannot_be_are_refused(text):
    with pytest.raises(ValueError, match=REFUSED[text]):
        OneLayer(text, numbers(3))


def test_a_negative_alpha_needs_a_top_of_its_own(device):
    text = 'type: "ELU" elu_param { alpha: -0.5 }'
    check_gradients(OneLayer(text, spaced(2, 3)))
    with pytest.raises(ValueError, match="an alpha below 0 loses the sign in place"):
        OneLayer(text, spaced(2, 3), in_place=True)


def test_prelu_keeps_its_channels():
    case = OneLayer('type: "PReLU"', numbers(2, 3, 1, 1))
    with pytest.raises(ValueError, match=r"made for 3 channels; its bottom now has the shape \(2, 4, 1, 1\)"):
        case.reshape(numbers(2, 4, 1, 1))


def test_relu6_holds_values_between_0_and_6(device):
    x = 4 * spaced(2, 3, 5)
    case = OneLayer('type: "ReLU6"', x)
    np.testing.assert_array_equal(case.forward()[0], x.clip(0, 6))
    check_gradients(case)
