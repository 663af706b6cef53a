"""InnerProduct over any axis, transposed or not, with or without a bias."""

import numpy as np
import pytest
from arrays import numbers
from gradient_check import check_gradients
from one_layer import OneLayer

FILLERS = 'weight_filler { type: "gaussian" std: 1 } bias_filler { type: "gaussian" std: 1 }'


def layer_of(x, param=""):
    return OneLayer(f'type: "InnerProduct" inner_product_param {{ num_output: 3 {FILLERS} {param} }}', x)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize(
    "shape, axis", [((2, 4), 1), ((2, 3, 2, 2), 1), ((2, 3, 4), 2), ((2, 3, 4), -1), ((3, 4), 0), ((1, 1), 1)]
)
def test_it_is_x_times_weights_plus_bias(device, shape, axis, transpose, bias):
    layer = layer_of(
        numbers(*shape), f"axis: {axis} transpose: {str(transpose).lower()} bias_term: {str(bias).lower()}"
    )
    at = axis % len(shape)
    flat = layer.inputs[0].reshape(int(np.prod(shape[:at])), -1)
    weights = layer.parameters[0] if transpose else layer.parameters[0].T
    assert weights.shape == (flat.shape[1], 3)
    expected = flat @ weights + (layer.parameters[1] if bias else 0)
    (y,) = layer.forward()
    assert y.shape == (*shape[:at], 3)
    np.testing.assert_allclose(y.reshape(-1, 3), expected, rtol=0, atol=1e-13)
    check_gradients(layer)


def test_the_batch_may_change_but_not_what_it_was_made_for(device):
    layer = layer_of(numbers(2, 4))
    layer.reshape(numbers(5, 2, 2))
    assert layer.forward()[0].shape == (5, 3)
    with pytest.raises(ValueError, match=r"made for 4 values from axis 1 on; its bottom now has the shape \(2, 5\)"):
        layer.reshape(numbers(2, 5))


def test_num_output_is_asked_for():
    with pytest.raises(ValueError, match="num_output must be at least 1"):
        OneLayer('type: "InnerProduct"', numbers(2, 3))


def test_a_nan_spoils_its_own_row_only(device):
    x = numbers(3, 4)
    x[1, 2] = np.nan
    np.testing.assert_array_equal(np.isnan(layer_of(x).forward()[0]).all(axis=1), [False, True, False])
    assert np.isfinite(layer_of(x).forward()[0][[0, 2]]).all()


@pytest.mark.filterwarnings("error")
def test_an_infinity_goes_through_without_a_warning(device):
    case = OneLayer(
        'type: "InnerProduct" inner_product_param { num_output: 2 bias_term: false }', np.array([[np.inf, 1.0]])
    )
    case.parameters[0][...] = [[1, 0], [0, 1]]
    y = case.forward()[0]
    assert y[0, 0] == np.inf and np.isnan(y[0, 1])
