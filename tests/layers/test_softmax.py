"""Softmax and SoftmaxWithLoss: any axis, ignored labels, every normalization."""

import warnings

import numpy as np
import pytest
import reference
from arrays import numbers
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from one_layer import OneLayer

SHAPES = [
    ((2, 3, 4, 5), 1),
    ((2, 3), 1),
    ((2, 3, 4), 2),
    ((3, 4), 0),
    ((1, 1, 1, 1), 1),
    ((2, 4, 1, 3), -1),
    ((5,), 0),
    ((2, 3, 2, 2), -3),
]


def softmax(x, axis=1, **options):
    return OneLayer(f'type: "Softmax" softmax_param {{ axis: {axis} }}', x, **options)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("shape, axis", SHAPES)
def test_softmax_over_any_axis(device, shape, axis, in_place):
    layer = softmax(numbers(*shape), axis, in_place=in_place)
    np.testing.assert_allclose(layer.forward()[0], reference.softmax(layer.inputs[0], axis), rtol=0, atol=1e-14)
    check_gradients(layer)


@given(outer=st.integers(1, 3), classes=st.integers(1, 7), inner=st.integers(1, 600))
def test_softmax_of_any_size(device, outer, classes, inner):
    """Also beyond the run of places that one block takes."""
    layer = softmax(numbers(outer, classes, inner))
    (y,) = layer.forward()
    np.testing.assert_allclose(y, reference.softmax(layer.inputs[0], 1), rtol=0, atol=1e-14)
    dy = numbers(outer, classes, inner, seed=1)
    expected = y * (dy - (y * dy).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(layer.backward(dy)[0], expected, rtol=0, atol=1e-14)


def test_large_scores_do_not_overflow(device):
    x = np.array([[1000.0, 999, -1000], [-1e30, -1e30, -2e30]])
    np.testing.assert_allclose(softmax(x).forward()[0], reference.softmax(x, 1), rtol=1e-14)


def test_a_nan_score_makes_its_own_place_nan_and_no_other(device):
    for c in range(3):
        x = numbers(2, 3, 4)
        x[1, c, 2] = np.nan
        expected = np.zeros(x.shape, bool)
        expected[1, :, 2] = True
        np.testing.assert_array_equal(np.isnan(softmax(x).forward()[0]), expected)


def labels_of(shape, classes, seed=0, ignored=None):
    """Random labels, about a third of them ignored."""
    draw = np.random.default_rng([seed, *shape])
    labels = draw.integers(0, classes, shape).astype(float)
    if ignored is not None:
        labels[draw.random(shape) < 0.3] = ignored
    return labels


def loss_layer(x, labels, param="", axis=None, tops=1, dtype=np.float64):
    axis = f"softmax_param {{ axis: {axis} }}" if axis is not None else ""
    return OneLayer(f'type: "SoftmaxWithLoss" loss_param {{ {param} }} {axis}', x, labels, tops=tops, dtype=dtype)


DIVISORS = {
    "": "counted",
    "normalization: VALID": "counted",
    "normalization: FULL": "places",
    "normalization: BATCH_SIZE": "images",
    "normalization: NONE": "one",
    "normalize: true": "counted",
    "normalize: false": "images",
    "normalize: false normalization: FULL": "places",
}


@pytest.mark.parametrize("ignored", [None, 255, 0, -1])
@pytest.mark.parametrize("normalization", DIVISORS)
def test_the_loss_and_its_gradient_by_every_normalization(device, normalization, ignored):
    x, labels = numbers(3, 5, 4, 2), labels_of((3, 4, 2), 5, ignored=ignored)
    if ignored != 0:
        labels[0, 0, :] = [0, 4]
    param = normalization + (f" ignore_label: {ignored}" if ignored is not None else "")
    layer = loss_layer(x, labels[:, None], param)
    total, counted, gradient = reference.softmax_loss(x, labels, ignored)
    divisor = {"counted": counted, "places": 24, "images": 3, "one": 1}[DIVISORS[normalization]]
    (loss,) = layer.forward()
    assert loss.shape == ()
    assert float(loss) == pytest.approx(total / divisor, rel=1e-13)
    np.testing.assert_allclose(layer.backward(np.array(2.5))[0], 2.5 * gradient / divisor, rtol=0, atol=1e-14)
    check_gradients(layer)


@pytest.mark.parametrize("shape, axis", [((2, 3, 4), 2), ((4, 3), 0), ((3, 4), -1), ((2, 3, 2, 2), -3), ((6, 2), None)])
def test_the_loss_over_any_axis(device, shape, axis):
    at = 1 if axis is None else axis
    places = np.delete(shape, at)
    labels = labels_of(tuple(places), shape[at])
    layer = loss_layer(numbers(*shape), labels, axis=axis)
    moved = np.moveaxis(layer.inputs[0], at, 1) if len(shape) > 1 and at % len(shape) != 0 else layer.inputs[0].T
    total, counted, _ = reference.softmax_loss(moved, labels)
    assert float(layer.forward()[0]) == pytest.approx(total / counted, rel=1e-13)
    check_gradients(layer)


@given(
    images=st.integers(1, 3),
    classes=st.integers(1, 6),
    inner=st.integers(1, 600),
    ignored=st.sampled_from([None, 255, 2]),
)
def test_any_number_of_places(device, images, classes, inner, ignored):
    x, labels = numbers(images, classes, 1, inner), labels_of((images, 1, inner), classes, ignored=ignored)
    layer = loss_layer(x, labels, f"ignore_label: {ignored}" if ignored is not None else "")
    total, counted, gradient = reference.softmax_loss(x, labels, ignored)
    assert float(layer.forward()[0]) == pytest.approx(total / max(1, counted), rel=1e-12, abs=1e-15)
    np.testing.assert_allclose(layer.backward(np.array(1.0))[0], gradient / max(1, counted), rtol=0, atol=1e-14)


@pytest.mark.parametrize("ignored", [None, 2])
def test_class_weighting_weighs_places_but_not_their_number(device, ignored):
    """SegNet's: the sum of the weighted losses is divided by how many places count."""
    x, weights = numbers(2, 3, 4, 5), np.array([0.25, 3, 1.5])
    labels = labels_of((2, 1, 4, 5), 3)
    param = f"{f'ignore_label: {ignored}' if ignored else ''} weight_by_label_freqs: true " + " ".join(
        f"class_weighting: {weight}" for weight in weights
    )
    layer = loss_layer(x, labels, param)
    places = -np.log(np.take_along_axis(reference.softmax(x, 1), labels.astype(int), 1))
    counted = labels != ignored
    expected = (weights[labels.astype(int)] * places)[counted].sum() / counted.sum()
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-13)
    check_gradients(layer)


def test_class_weighting_does_nothing_unless_it_is_asked_for(device):
    x, labels = numbers(2, 3, 4, 5), labels_of((2, 1, 4, 5), 3)
    plain = loss_layer(x, labels).forward()[0]
    assert loss_layer(x, labels, "class_weighting: 7").forward()[0] == plain


def test_there_is_one_class_weighting_a_class():
    with pytest.raises(
        ValueError, match="has 2 class_weighting for 3 classes: weight_by_label_freqs needs one for each"
    ):
        loss_layer(
            numbers(1, 3, 2, 2),
            np.zeros((1, 1, 2, 2)),
            "weight_by_label_freqs: true class_weighting: 1 class_weighting: 2",
        )


def test_the_second_top_holds_the_probabilities(device):
    x = numbers(2, 3, 2, 2)
    layer = loss_layer(x, labels_of((2, 2, 2), 3), tops=2)
    np.testing.assert_allclose(layer.forward()[1], reference.softmax(x, 1), rtol=0, atol=1e-14)
    check_gradients(layer, differentiable_tops=[0])


@pytest.mark.parametrize("normalization", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
def test_a_batch_of_ignored_places_only_costs_nothing(device, normalization):
    """BVLC divides by at least 1; the fork gives 0/0."""
    layer = loss_layer(
        numbers(2, 3, 2, 2), np.full((2, 1, 2, 2), 255.0), f"ignore_label: 255 normalization: {normalization}"
    )
    assert float(layer.forward()[0]) == 0
    np.testing.assert_array_equal(layer.backward(np.array(1.0))[0], 0)


def test_a_probability_that_underflows_costs_minus_log_of_the_smallest_float(device):
    layer = loss_layer(np.array([[0.0, 2000.0]]), np.array([0.0]))
    assert float(layer.forward()[0]) == pytest.approx(-np.log(1.17549435e-38), rel=1e-9)
    np.testing.assert_array_equal(layer.backward(np.array(1.0))[0], [[-1, 1]])


def test_a_nan_score_reaches_the_loss_unless_its_place_is_ignored(device):
    x = numbers(1, 3, 1, 4)
    x[0, 1, 0, 2] = np.nan
    assert np.isnan(loss_layer(x, np.zeros((1, 1, 1, 4)), "ignore_label: 255").forward()[0])
    labels = np.array([0.0, 1, 255, 2]).reshape(1, 1, 1, 4)
    layer = loss_layer(x, labels, "ignore_label: 255")
    assert np.isfinite(layer.forward()[0])
    gradient = layer.backward(np.array(1.0))[0]
    assert np.isfinite(gradient).all() and not gradient[0, :, 0, 2].any()


def test_labels_are_cut_to_integers_as_caffe_cuts_them(device):
    x, labels = numbers(1, 3, 1, 2), np.array([1.25, 0.75]).reshape(1, 1, 1, 2)
    layer, cut = loss_layer(x, labels), loss_layer(x, np.floor(labels))
    assert float(layer.forward()[0]) == float(cut.forward()[0])
    np.testing.assert_array_equal(layer.backward(np.array(1.0))[0], cut.backward(np.array(1.0))[0])


@pytest.mark.parametrize(
    "label, said",
    [(3, "label 3 is not one of the 3 classes"), (-1, "label -1"), (np.nan, "label nan")],
)
@pytest.mark.parametrize("ignored", ["", "ignore_label: 255"])
def test_a_label_that_is_no_class_is_named(device, label, said, ignored):
    labels = np.array([0.0, label, 2, 1]).reshape(1, 1, 2, 2)
    with pytest.raises(ValueError, match=said), warnings.catch_warnings():
        warnings.simplefilter("error")
        loss_layer(numbers(1, 3, 2, 2), labels, ignored).forward()


@pytest.mark.parametrize(
    "label, remedy",
    [(255, "set ignore_label: 255 in loss_param"), (3, "one class more in num_output, or ignore_label: 3 where")],
)
def test_a_void_label_that_is_not_ignored_is_explained(device, label, remedy):
    with pytest.raises(ValueError, match=f"label {label} is not one of the 3 classes .0 to 2.; {remedy}"):
        loss_layer(numbers(1, 3, 1, 2), np.array([0.0, label]).reshape(1, 1, 1, 2)).forward()


def test_there_is_one_label_a_place():
    with pytest.raises(ValueError, match=r"scores \(2, 3, 4, 4\) have 32 places, labels \(2, 1, 4, 3\) are 24"):
        loss_layer(numbers(2, 3, 4, 4), np.zeros((2, 1, 4, 3)))


def test_an_axis_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"axis 4 does not exist in a bottom of shape \(2, 3\)"):
        softmax(numbers(2, 3), 4)
