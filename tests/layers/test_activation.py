"""ReLU and Dropout."""

import numpy as np
import pytest
from arrays import numbers, spaced
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from one_layer import TEST, TRAIN, OneLayer


def relu(x, slope=0.0, **options):
    return OneLayer(f'type: "ReLU" relu_param {{ negative_slope: {slope} }}', x, **options)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("slope", [0, 0.1, 1.5])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1,), (1, 1, 1, 1), ()])
def test_relu(device, shape, slope, in_place):
    x = spaced(*shape)
    layer = relu(x, slope, in_place=in_place)
    expected = np.where(x > 0, x, np.float32(slope) * x)
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-15, atol=0)
    check_gradients(layer)


def test_a_negative_slope_may_turn_the_sign_but_not_in_place(device):
    check_gradients(relu(spaced(3, 4), -0.5))
    with pytest.raises(ValueError, match="give the top a name of its own"):
        relu(spaced(3, 4), -0.5, in_place=True)


@pytest.mark.parametrize("slope, minus_infinity", [(0, 0), (0.5, -np.inf)])
def test_relu_of_what_is_no_number(device, slope, minus_infinity):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0])
    np.testing.assert_array_equal(relu(x, slope).forward()[0], [np.nan, np.inf, minus_infinity, 0, 0])


def test_at_zero_the_gradient_is_that_of_the_negative_side(device):
    layer = relu(np.array([0.0, -0.0]), 0.25)
    layer.forward()
    np.testing.assert_array_equal(layer.backward(np.array([2.0, 4.0]))[0], [0.5, 1.0])


def dropout(x, ratio=0.5, **options):
    return OneLayer(f'type: "Dropout" dropout_param {{ dropout_ratio: {ratio} }}', x, **options)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_gradients_of_dropout(device, ratio, in_place):
    check_gradients(dropout(numbers(2, 3, 4, 5), ratio, in_place=in_place))


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.9])
def test_a_share_is_dropped_and_the_rest_is_scaled_up(device, ratio):
    """Of n values n * ratio are dropped, to within five deviations of a fair draw."""
    n = 40000
    (y,) = dropout(np.ones((4, n // 4)), ratio).forward()
    gain = 1 / (1 - np.float32(ratio))
    assert set(np.unique(y.astype(np.float32))) == {np.float32(0), np.float32(gain)}
    dropped = int((y == 0).sum())
    assert abs(dropped - n * ratio) < 5 * np.sqrt(n * ratio * (1 - ratio))
    rows = (y == 0).mean(axis=1)
    assert np.abs(rows - ratio).max() < 5 * np.sqrt(ratio * (1 - ratio) / (n / 4))


@given(first=st.integers(0, 2**40), second=st.integers(0, 2**40))
def test_two_draws_are_independent(device, first, second):
    """Of two seeds, of two forwards and of neighbouring places: about half of the decisions agree."""
    n = 4000
    kept = []
    for seed in (first, second + 2**41):
        layer = dropout(np.ones(n), seed=seed)
        kept.extend([layer.forward()[0] > 0, layer.forward()[0] > 0])
    pairs = [(a, b) for i, a in enumerate(kept) for b in kept[:i]] + [(k[1:], k[:-1]) for k in kept]
    for a, b in pairs:
        assert abs(int((a == b).sum()) - len(a) / 2) < 6 * np.sqrt(n) / 2


def test_what_is_dropped_follows_from_seed_name_and_number_of_forwards(device):
    x = numbers(5, 40)
    layer = dropout(x, seed=7)
    draws = [layer.forward()[0] for _ in range(3)]
    assert layer.layer.position == 3
    assert not np.array_equal(draws[0], draws[1])
    again = dropout(x, seed=7)
    again.layer.position = 2
    np.testing.assert_array_equal(again.forward()[0], draws[2])
    assert not np.array_equal(dropout(x, seed=8).forward()[0], draws[0])
    other = OneLayer('name: "other" type: "Dropout"', x, seed=7)
    assert not np.array_equal(other.forward()[0], draws[0])


def test_both_dtypes_drop_the_same_places(device):
    x = np.ones(1000)
    single, double = dropout(x, 0.3, dtype=np.float32).forward()[0], dropout(x, 0.3).forward()[0]
    np.testing.assert_array_equal(single == 0, double == 0)


def test_backward_drops_what_forward_dropped(device):
    layer = dropout(np.ones((3, 50)))
    (y,) = layer.forward()
    np.testing.assert_array_equal(layer.backward(np.ones((3, 50)))[0], y)


@pytest.mark.parametrize("in_place", [False, True])
def test_dropout_is_the_identity_in_test(device, in_place):
    layer = dropout(numbers(2, 3), phase=TEST, in_place=in_place)
    np.testing.assert_array_equal(layer.forward()[0], layer.inputs[0])
    assert layer.layer.position == 0
    check_gradients(layer)


def test_dropout_that_samples_in_test_drops_there_as_in_train_and_anew_each_time(device):
    """Bayesian SegNet's."""
    x, param = np.ones((40, 50)), "dropout_ratio: 0.5 sample_weights_test: true"
    train, test = (OneLayer(f'type: "Dropout" dropout_param {{ {param} }}', x, phase=p) for p in (TRAIN, TEST))
    first, second = test.forward()[0], test.forward()[0]
    np.testing.assert_array_equal(train.forward()[0], first)
    assert not np.array_equal(first, second) and not test.layer.only_launches
    np.testing.assert_array_equal(test.backward(x)[0], second)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_ratio_of_0_drops_nothing(device, in_place):
    x = numbers(2, 3)
    layer = dropout(x, 0, in_place=in_place, phase=TRAIN)
    np.testing.assert_array_equal(layer.forward()[0], x)
    np.testing.assert_array_equal(layer.backward(2 * x)[0], 2 * x)


@pytest.mark.parametrize("in_place", [True, False])
def test_dropout_that_does_not_scale_in_train_scales_in_test(device, in_place):
    """Faster R-CNN's scale_train: false, whose mean is the same as the other's, times 1 - dropout_ratio."""
    x, unscaled = np.ones((40, 50)), 'type: "Dropout" dropout_param { dropout_ratio: 0.3 scale_train: false }'
    train, test = (OneLayer(unscaled, x, phase=phase, in_place=in_place) for phase in (TRAIN, TEST))
    (kept,) = train.forward()
    np.testing.assert_array_equal(kept, dropout(x, 0.3).forward()[0] > 0)
    np.testing.assert_array_equal(train.backward(x)[0], kept)
    np.testing.assert_allclose(test.forward()[0], 0.7, rtol=1e-6)
    np.testing.assert_allclose(test.backward(x)[0], 0.7, rtol=1e-6)
    assert test.layer.position == 0


def test_a_ratio_of_1_is_taken_where_nothing_is_dropped():
    x = numbers(2, 3)
    np.testing.assert_array_equal(dropout(x, 1, phase=TEST).forward()[0], x)


@pytest.mark.parametrize("ratio", [-0.1, 1, 1.5])
def test_a_ratio_lies_between_0_and_1(ratio):
    with pytest.raises(ValueError, match="dropout_ratio must be at least 0 and below 1"):
        dropout(numbers(3), ratio, phase=TRAIN)


def test_a_nan_that_is_kept_stays_one_and_spreads_nowhere(device):
    x = np.ones(100)
    x[::2] = np.nan
    (y,) = dropout(x).forward()
    (plain,) = dropout(np.ones(100)).forward()
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x) & (plain > 0))
