"""Caffe's Accuracy and the release's EltwiseAccuracy: top k, ties, ignored labels, shares per class."""

import numpy as np
import pytest
import reference
from arrays import numbers
from hypothesis import given
from hypothesis import strategies as st
from one_layer import TEST, OneLayer

PARAMS = {"Accuracy": "accuracy_param", "EltwiseAccuracy": "eltwise_accuracy_param"}


def layer_of(kind, x, labels, param="", tops=1):
    return OneLayer(f'type: "{kind}" {PARAMS[kind]} {{ {param} }}', x, labels, tops=tops, phase=TEST)


@pytest.mark.parametrize("kind", PARAMS)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 3), st.integers(1, 300)),
    top_k=st.integers(1, 5),
    ties=st.booleans(),
    ignored=st.sampled_from([None, 255, 0]),
)
def test_the_share_of_labels_among_the_top_k(device, kind, shape, top_k, ties, ignored):
    top_k = min(top_k, shape[1])
    x = np.round(numbers(*shape)) if ties else numbers(*shape)
    labels = np.random.default_rng(shape).integers(0, shape[1], (shape[0], *shape[2:])).astype(float)
    if ignored == 255:
        labels[..., ::3] = 255
    param = f"top_k: {top_k}" + (f" ignore_label: {ignored}" if ignored is not None else "")
    (share,) = layer_of(kind, x, labels[:, None], param).forward()
    right = reference.ranked(x, labels, top_k, ignored, ties_are_errors=kind == "Accuracy")
    assert float(share.ravel()[0]) == pytest.approx((right == 1).sum() / max(1, (right >= 0).sum()), rel=1e-15)


@pytest.mark.parametrize("label, accuracy, eltwise", [(0, 0, 0), (1, 0, 0), (2, 0, 1)])
def test_ties_are_errors_for_caffe_and_go_to_the_larger_class_in_the_release(device, label, accuracy, eltwise):
    x, labels = np.ones((1, 3, 1, 1)), np.full((1, 1, 1, 1), float(label))
    assert float(layer_of("Accuracy", x, labels).forward()[0]) == accuracy
    assert float(layer_of("EltwiseAccuracy", x, labels).forward()[0].item()) == eltwise


def test_the_tops_shapes(device):
    x, labels = numbers(2, 3, 4, 4), np.zeros((2, 1, 4, 4))
    assert [top.shape for top in layer_of("Accuracy", x, labels, tops=2).forward()] == [(), (3,)]
    assert layer_of("EltwiseAccuracy", x, labels).forward()[0].shape == (1, 1, 1, 1)


def test_the_second_top_of_accuracy_is_the_share_per_class(device):
    """0 for a class without labels; ignored places do not count."""
    x = np.zeros((1, 4, 1, 6))
    x[0, [0, 0, 1, 2, 2, 1], 0, range(6)] = 1
    labels = np.array([0.0, 1, 1, 2, 255, 2]).reshape(1, 1, 1, 6)
    share, classes = layer_of("Accuracy", x, labels, "ignore_label: 255", tops=2).forward()
    assert float(share) == pytest.approx(3 / 5)
    np.testing.assert_allclose(classes, [1, 0.5, 0.5, 0])


@pytest.mark.parametrize("axis, shape, labels", [(0, (3, 4), (4,)), (2, (2, 4, 3), (2, 4)), (-1, (2, 4, 3), (2, 4))])
def test_the_classes_may_lie_along_any_axis(device, axis, shape, labels):
    x = numbers(*shape)
    best = x.argmax(axis=axis).astype(float).reshape(labels)
    best.ravel()[0] = (best.ravel()[0] + 1) % 3
    (share,) = layer_of("Accuracy", x, best, f"axis: {axis}").forward()
    assert float(share) == pytest.approx(1 - 1 / best.size)


@pytest.mark.parametrize("kind", PARAMS)
def test_where_all_places_are_ignored_the_accuracy_is_zero_not_nan(device, kind):
    layer = layer_of(kind, numbers(1, 3, 2, 2), np.full((1, 1, 2, 2), 255.0), "ignore_label: 255")
    assert float(layer.forward()[0].item()) == 0


@pytest.mark.parametrize("kind", PARAMS)
@pytest.mark.parametrize("where", [0, 1, 2])
def test_scores_with_a_nan_are_never_right(device, kind, where):
    """A net that broke down must not look accurate, wherever the NaN stands."""
    x = np.array([0.0, 5, 1]).reshape(1, 3, 1, 1)
    x[0, where] = np.nan
    assert float(layer_of(kind, x, np.ones((1, 1, 1, 1))).forward()[0].item()) == 0


@pytest.mark.parametrize("kind", PARAMS)
def test_a_label_that_is_no_class_is_named(device, kind):
    with pytest.raises(ValueError, match="label 7 is not one of the 3 classes"):
        layer_of(kind, numbers(1, 3, 1, 2), np.array([0.0, 7]).reshape(1, 1, 1, 2)).forward()
    with pytest.raises(ValueError, match="set ignore_label: 255 in the layer's parameters"):
        layer_of(kind, numbers(1, 3, 1, 2), np.array([0.0, 255]).reshape(1, 1, 1, 2)).forward()


@pytest.mark.parametrize("kind", PARAMS)
def test_what_cannot_be_is_refused(kind):
    with pytest.raises(ValueError, match="top_k 4 is more than the 3 classes"):
        layer_of(kind, numbers(1, 3, 2, 2), np.zeros((1, 1, 2, 2)), "top_k: 4")
    with pytest.raises(ValueError, match="there must be one label a place"):
        layer_of(kind, numbers(1, 3, 2, 2), np.zeros((1, 1, 2, 3)))


@pytest.mark.parametrize("kind", PARAMS)
def test_no_gradient_flows(device, kind):
    layer = layer_of(kind, numbers(1, 3, 2, 2), np.zeros((1, 1, 2, 2)))
    layer.forward()
    assert all(np.isnan(diff).all() for diff in layer.backward(1.0))
