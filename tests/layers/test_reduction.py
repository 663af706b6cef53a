"""Reduction over the last axes, and ArgMax."""

import numpy as np
import pytest
from arrays import numbers, spaced
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from one_layer import OneLayer

OPERATIONS = {
    "SUM": lambda rows: rows.sum(axis=1),
    "ASUM": lambda rows: np.abs(rows).sum(axis=1),
    "SUMSQ": lambda rows: (rows**2).sum(axis=1),
    "MEAN": lambda rows: rows.mean(axis=1),
}
REDUCTION = 'type: "Reduction" reduction_param { operation: %s axis: %d coeff: 0.5 }'


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("axis, shape", [(0, ()), (1, (2,)), (2, (2, 3)), (3, (2, 3, 4)), (-1, (2, 3, 4))])
def test_reduction(device, operation, axis, shape):
    x = spaced(2, 3, 4, 5)
    case = OneLayer(REDUCTION % (operation, axis), x)
    (y,) = case.forward()
    expected = 0.5 * OPERATIONS[operation](x.reshape(int(np.prod(shape)), -1))
    np.testing.assert_allclose(y, expected.reshape(shape), rtol=1e-12, atol=1e-13)
    check_gradients(case)


@given(rows=st.integers(1, 4), size=st.integers(1, 10000))
@pytest.mark.parametrize("operation", OPERATIONS)
def test_reduction_of_rows_of_any_length(device, operation, rows, size):
    """float32: the error stays that of the last digit, however long a row is."""
    x = (1 + numbers(rows, size) ** 2).astype(np.float32)
    (y,) = OneLayer(REDUCTION % (operation, 1), x, dtype=np.float32).forward()
    np.testing.assert_allclose(y, 0.5 * OPERATIONS[operation](x.astype(np.float64)), rtol=1e-6)


def test_the_magnitude_has_no_slope_at_zero(device):
    case = OneLayer(REDUCTION % ("ASUM", 0), np.array([-1.0, 0.0, 2.0]))
    case.forward()
    np.testing.assert_array_equal(case.backward(np.array(2.0))[0], [-1, 0, 1])


def best(x, axis, k):
    """Indices of the k largest along the axis; of equal values the larger index first."""
    return np.flip(np.argsort(x, axis=axis, kind="stable"), axis=axis).take(range(k), axis=axis)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -2])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_argmax_along_an_axis(device, axis, top_k):
    x = np.round(2 * numbers(3, 4, 5, 3))  # with ties
    indices = best(x, axis, top_k)
    text = f'type: "ArgMax" argmax_param {{ axis: {axis} top_k: {top_k} %s }}'
    np.testing.assert_array_equal(OneLayer(text % "", x).forward()[0], indices)
    values = OneLayer(text % "out_max_val: true", x).forward()[0]
    np.testing.assert_array_equal(values, np.take_along_axis(x, indices, axis))


@pytest.mark.parametrize(
    "shape, ones", [((3, 20), ()), ((3, 4, 5), ()), ((3, 4, 5, 2), (1,)), ((3, 4, 5, 2, 1), (1, 1))]
)
@pytest.mark.parametrize("top_k", [1, 4])
def test_argmax_over_whole_images(device, shape, ones, top_k):
    x = np.round(2 * numbers(*shape))
    rows = x.reshape(3, -1)
    indices = best(rows, 1, top_k)
    text = f'type: "ArgMax" argmax_param {{ top_k: {top_k} %s }}'
    (found,) = OneLayer(text % "", x).forward()
    assert found.shape == (3, 1, top_k, *ones)
    np.testing.assert_array_equal(found.reshape(3, top_k), indices)
    (found,) = OneLayer(text % "out_max_val: true", x).forward()
    assert found.shape == (3, 2, top_k, *ones)
    np.testing.assert_array_equal(found.reshape(3, 2, top_k)[:, 0], indices)
    np.testing.assert_array_equal(found.reshape(3, 2, top_k)[:, 1], np.take_along_axis(rows, indices, 1))


@given(shape=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 300)), data=st.data())
def test_argmax_of_any_shape(device, shape, data):
    x, top_k = np.round(numbers(*shape)), data.draw(st.integers(1, shape[1]))
    (y,) = OneLayer(f'type: "ArgMax" argmax_param {{ axis: 1 top_k: {top_k} }}', x).forward()
    np.testing.assert_array_equal(y, best(x, 1, top_k))


def test_argmax_puts_a_nan_last(device):
    x = np.array([[np.nan, 1.0, np.nan, -np.inf]])
    (y,) = OneLayer('type: "ArgMax" argmax_param { axis: 1 top_k: 4 }', x).forward()
    np.testing.assert_array_equal(y, [[1, 3, 2, 0]])


@pytest.mark.parametrize("fields, values", [("top_k: 0", 12), ("top_k: 13", 12), ("axis: 2 top_k: 5", 4)])
def test_argmax_takes_no_more_than_there_are(fields, values):
    with pytest.raises(ValueError, match=f"top_k must lie between 1 and the {values} values to choose from"):
        OneLayer(f'type: "ArgMax" argmax_param {{ {fields} }}', numbers(2, 3, 4))
