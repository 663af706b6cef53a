"""Eltwise: sums with coefficients, products by both gradient rules, maxima."""

import numpy as np
import pytest
from arrays import numbers, spaced
from gradient_check import check_gradients
from one_layer import OneLayer

SHAPES = [(2, 3, 4, 2), (1,), (1, 1, 1, 1)]


def layer_of(param, *bottoms, **options):
    return OneLayer(f'type: "Eltwise" eltwise_param {{ {param} }}', *bottoms, **options)


def apart(count, shape):
    """Arrays of which no two values are near each other or zero."""
    return list(spaced(count, *shape))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [2, 3])
def test_sum(device, shape, count):
    bottoms = [numbers(*shape, seed=k) for k in range(count)]
    layer = layer_of("", *bottoms)
    np.testing.assert_allclose(layer.forward()[0], sum(bottoms), rtol=0, atol=1e-14)
    check_gradients(layer)
    coefficients = [0.5, -2, 3][:count]
    layer = layer_of("operation: SUM " + " ".join(f"coeff: {c}" for c in coefficients), *bottoms)
    np.testing.assert_allclose(
        layer.forward()[0], sum(c * b for c, b in zip(coefficients, bottoms, strict=True)), rtol=0, atol=1e-14
    )
    check_gradients(layer)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("rule", ["", "stable_prod_grad: true", "stable_prod_grad: false"])
def test_product(device, shape, count, rule):
    bottoms = apart(count, shape)
    layer = layer_of("operation: PROD " + rule, *bottoms)
    np.testing.assert_allclose(layer.forward()[0], np.prod(bottoms, axis=0), rtol=1e-14)
    check_gradients(layer)


def test_the_stable_gradient_of_a_product_survives_a_zero(device):
    a, b = np.array([0.0, 2.0]), np.array([3.0, 0.0])
    layer = layer_of("operation: PROD", a, b)
    layer.forward()
    np.testing.assert_array_equal(layer.backward(np.ones(2)), [b, a])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [2, 3, 4])
def test_maximum(device, shape, count):
    bottoms = apart(count, shape)
    layer = layer_of("operation: MAX", *bottoms)
    np.testing.assert_array_equal(layer.forward()[0], np.max(bottoms, axis=0))
    check_gradients(layer)


def test_of_equal_values_the_one_that_caffe_takes_has_the_gradient(device):
    """Of the first two the second, which a later one has to exceed."""
    layer = layer_of("operation: MAX", np.array([1.0, 2, 4]), np.array([1.0, 3, 1]), np.array([1.0, 3, 4]))
    layer.forward()
    np.testing.assert_array_equal(layer.backward(np.array([5.0, 7, 9])), [[0, 0, 9], [5, 7, 0], [0, 0, 0]])


@pytest.mark.parametrize("operation", ["SUM", "PROD", "MAX"])
@pytest.mark.parametrize("where", [0, 1, 2])
def test_a_nan_in_any_bottom_reaches_the_top(device, operation, where):
    bottoms = apart(3, (2, 3))
    bottoms[where][1, 2] = np.nan
    (y,) = layer_of(f"operation: {operation}", *bottoms).forward()
    assert [tuple(int(k) for k in at) for at in np.argwhere(np.isnan(y))] == [(1, 2)]


def test_what_a_sum_held_before_does_not_matter(device):
    """A top full of NaN from an earlier run is written, not added to."""
    layer = layer_of("", numbers(3), numbers(3, seed=1))
    layer.top[0].host_data[...] = np.nan
    np.testing.assert_allclose(layer.forward()[0], numbers(3) + numbers(3, seed=1))


@pytest.mark.parametrize(
    "fields, factor",
    [
        ("", 1),
        ("coeff: -2.5", -2.5),
        ("operation: PROD", 1),
        ("operation: PROD stable_prod_grad: false", 1),
        ("operation: MAX", 1),
    ],
)
def test_one_bottom_alone(device, fields, factor):
    layer = layer_of(fields, numbers(2, 3))
    np.testing.assert_array_equal(layer.forward()[0], factor * layer.inputs[0])
    check_gradients(layer)


def test_what_cannot_be_is_refused():
    a, b = numbers(2, 3), numbers(3, 2)
    with pytest.raises(ValueError, match="they must be the same"):
        layer_of("", a, b)
    with pytest.raises(ValueError, match="2 bottoms and 1 coeff: give one for each or none"):
        layer_of("coeff: 1", a, a)
    with pytest.raises(ValueError, match="coeff goes with operation: SUM only"):
        layer_of("operation: PROD coeff: 1 coeff: 1", a, a)
