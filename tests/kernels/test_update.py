"""The solver's passes over one parameter, and the element-wise functions that no layer shows by themselves."""

import numpy as np
import pytest
from arrays import empty, host, numbers, put
from hypothesis import given
from hypothesis import strategies as st

from deconvnet.core import kernels


@pytest.mark.parametrize("l1", [False, True])
@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 3, 4, 5)])
def test_sgd_moves_weights_by_momentum_rate_and_decay(device, shape, l1):
    """v = momentum v + rate (scale g + decay w), w -= v, and the gradient becomes the step, as in Caffe."""
    w, g, v = (numbers(*shape, seed=k) for k in range(3))
    w.flat[0] = 0  # its sign is 0
    weights, gradient, velocity = put(w), put(g), put(v)
    kernels.sgd_update(weights, gradient, velocity, scale=0.25, rate=0.1, momentum=0.9, decay=0.5, l1=l1)
    step = 0.9 * v + 0.1 * (0.25 * g + 0.5 * (np.sign(w) if l1 else w))
    np.testing.assert_allclose(host(velocity), step, rtol=0, atol=1e-14)
    np.testing.assert_allclose(host(gradient), step, rtol=0, atol=1e-14)
    np.testing.assert_allclose(host(weights), w - step, rtol=0, atol=1e-14)


@given(size=st.one_of(st.integers(1, 40), st.sampled_from([(1 << 14) - 1, 1 << 14, (1 << 14) + 1, 50000])))
def test_sum_of_squares(device, size):
    for dtype, tolerance in ((np.float64, 1e-13), (np.float32, 1e-6)):
        x = numbers(size, dtype=dtype)
        assert kernels.sum_of_squares(put(x)) == pytest.approx(float((x.astype(np.float64) ** 2).sum()), rel=tolerance)


@pytest.mark.parametrize("in_one", [False, True])
@pytest.mark.parametrize("l1", [False, True])
def test_all_parameters_move_as_each_would_alone(device, in_one, l1):
    """Sizes below, at and beyond what a block takes at a time, each with multipliers of its own."""
    sizes = [(1,), (8192,), (3, 5), (8193,), (2, 20000)]
    arrays = [tuple(numbers(*size, seed=seed) for seed in range(3)) for size in sizes]
    multipliers = [(1.0, 1.0), (2.0, 0.0), (0.0, 1.0), (0.5, 3.0), (10.0, 1.0)]
    rule = {"scale": 0.25, "momentum": 0.9, "l1": l1}
    together, table = [tuple(map(put, row)) for row in arrays], kernels.ArrayTable()
    alone = [tuple(map(put, row)) for row in arrays]
    for rate in (0.1, 0.01):
        rows = [(*row, *own) for row, own in zip(together, multipliers, strict=True)]
        kernels.sgd_update_all(rows, table, **rule, rate=rate, decay=0.5, in_one=in_one)
        for row, (lr, decay) in zip(alone, multipliers, strict=True):
            kernels.sgd_update(*row, **rule, rate=rate * lr, decay=0.5 * decay)
    for one, other in zip(together, alone, strict=True):
        for found, expected in zip(one, other, strict=True):
            np.testing.assert_allclose(host(found), host(expected), rtol=0, atol=1e-14)


@pytest.mark.parametrize("in_one", [False, True])
def test_squares_of_all_arrays_are_summed_and_all_are_cleared(device, in_one):
    arrays = [numbers(*size) for size in [(1,), (8192,), (3, 5), (20000,)]]
    there, table = list(map(put, arrays)), kernels.ArrayTable()
    total = kernels.sum_of_squares_all(there, table, in_one=in_one)
    assert total == pytest.approx(sum(float((array**2).sum()) for array in arrays), rel=1e-13)
    kernels.clear_all(there[1:], table, in_one=in_one)
    assert not any(host(array).any() for array in there[1:]) and host(there[0])[0] == arrays[0][0]
    assert kernels.sum_of_squares_all([], table, in_one=in_one) == 0


def test_a_table_follows_arrays_that_move_grow_or_change_their_multipliers(device):
    table, rule = kernels.ArrayTable(), {"scale": 1.0, "rate": 1.0, "momentum": 0.0, "decay": 0.0, "l1": False}
    for size, lr in ((3, 1.0), (3, 2.0), (9000, 2.0)):
        row = put(np.zeros(size)), put(np.ones(size)), put(np.zeros(size))
        for _ in range(2):
            kernels.sgd_update_all([(*row, lr, 1.0)], table, **rule, in_one=True)
        np.testing.assert_array_equal(host(row[0]), -lr - lr * lr)


@pytest.mark.parametrize("wrong", [np.zeros(4, np.float32), np.zeros((4, 4)).T[:2]])
def test_a_table_refuses_arrays_of_several_dtypes_or_with_gaps(wrong):
    with pytest.raises(ValueError, match="an array table takes contiguous float64 arrays, not float"):
        kernels.clear_all([np.zeros(3), wrong], kernels.ArrayTable(), in_one=True)


def test_sum_of_squares_of_a_large_float32_array_is_exact_to_1e_6(device):
    """A flat sum in float32 of a million ones would be off by more."""
    assert kernels.sum_of_squares(put(np.full(1 << 20, 1.1, np.float32))) == pytest.approx(
        (1 << 20) * float(np.float32(1.1)) ** 2, rel=1e-6
    )


def test_scale_add(device):
    x, y = numbers(3, 4), numbers(3, 4, seed=1)
    target = put(y)
    kernels.scale_add(put(x), 2.0, target, -0.5)
    np.testing.assert_allclose(host(target), 2 * x - 0.5 * y, rtol=0, atol=1e-14)
    target = empty(3, 4)
    kernels.scale_add(put(x), 3.0, target, 0)
    np.testing.assert_allclose(host(target), 3 * x, rtol=0, atol=1e-14)


@pytest.mark.parametrize("backward", [kernels.batch_norm_backward, kernels.channel_affine_backward])
def test_gradients_of_batch_norm_that_are_not_wanted_are_left_out(device, backward):
    """dx, dscale and dshift each alone give what they give together; dscale and dshift are added to."""
    dy, x, scale = numbers(2, 3, 4, 5, seed=1), numbers(2, 3, 4, 5, seed=2), numbers(3, seed=3)
    rest = (put(np.zeros(3)), put(np.zeros(3)), put(np.ones(3)), 0) if backward is kernels.batch_norm_backward else ()
    together = {"dx": empty(2, 3, 4, 5), "dscale": put(np.ones(3)), "dshift": put(np.ones(3))}
    backward(put(dy), put(x), put(scale), *rest, **together)
    np.testing.assert_allclose(host(together["dshift"]), 1 + dy.sum(axis=(0, 2, 3)), rtol=0, atol=1e-13)
    np.testing.assert_allclose(host(together["dscale"]), 1 + (dy * x).sum(axis=(0, 2, 3)), rtol=0, atol=1e-13)
    for name, whole in together.items():
        alone = empty(2, 3, 4, 5) if name == "dx" else put(np.ones(3))
        backward(put(dy), put(x), put(scale), *rest, **{name: alone})
        np.testing.assert_array_equal(host(alone), host(whole))
