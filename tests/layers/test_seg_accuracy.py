"""SegAccuracy: three scores of a confusion matrix."""

import numpy as np
import pytest
from arrays import numbers
from one_layer import OneLayer


def layer_of(x, labels, fields=""):
    return OneLayer(f'type: "SegAccuracy" seg_accuracy_param {{ {fields} }}', x, labels)


def scores(labels, found, classes):
    """Accuracy, mean recall of the classes that are there, mean intersection over union, 1 for a class that is nowhere."""
    recalls, overlaps = [], []
    for k in range(classes):
        both, either = ((labels == k) & (found == k)).sum(), ((labels == k) | (found == k)).sum()
        overlaps.append(both / either if either else 1)
        if (labels == k).any():
            recalls.append(both / (labels == k).sum())
    return [(labels == found).mean(), np.mean(recalls), np.mean(overlaps)]


def example(seed, images=2):
    draw = np.random.default_rng(seed)
    return numbers(images, 5, 4, 6, seed=seed), draw.choice([0.0, 1, 3, 255], (images, 1, 4, 6))


def test_the_scores_of_a_batch_without_ignored_labels(device):
    x, labels = example(1)
    layer = layer_of(x, labels, "ignore_label: 255 ignore_label: 3")
    counted = (labels != 255) & (labels != 3)
    expected = scores(labels[counted], x.argmax(1)[:, None][counted], 5)
    for _ in range(2):  # each batch anew
        (y,) = layer.forward()
        assert y.shape == (1, 1, 1, 3)
        np.testing.assert_allclose(y.ravel(), expected, rtol=1e-13)


def test_without_reset_the_scores_are_of_all_batches(device):
    layer = layer_of(*example(1), "ignore_label: 255 reset: false")
    layer.forward()
    both = [np.concatenate(pair) for pair in zip(example(1), example(2), strict=True)]
    layer.inputs = list(example(2))
    for _ in range(2):
        (y,) = layer.forward()
        counted = both[1] != 255
        expected = scores(both[1][counted], both[0].argmax(1)[:, None][counted], 5)
        np.testing.assert_allclose(y.ravel(), expected, rtol=1e-13)
        layer.layer.rewind()  # and from what the last pass began with


def test_of_equal_scores_the_larger_class_is_found(device):
    layer = layer_of(np.zeros((1, 3, 1, 2)), np.array([2.0, 1]).reshape(1, 1, 1, 2))
    np.testing.assert_allclose(layer.forward()[0].ravel(), [0.5, 0.5, 0.5])


def test_a_batch_of_ignored_places_scores_nothing(device):
    layer = layer_of(numbers(1, 3, 2, 2), np.full((1, 1, 2, 2), 255.0), "ignore_label: 255")
    assert layer.forward()[0].ravel().tolist() == [0, 0, 1]


@pytest.mark.parametrize("label", [-1, 3, np.nan])
def test_a_label_that_is_no_class_is_named(device, label):
    with pytest.raises(
        ValueError, match=f"label {label:g} is not one of the 3 classes .*seg_accuracy_param {{ ignore_label }}"
    ):
        layer_of(numbers(1, 3, 1, 1), np.full((1, 1, 1, 1), label), "ignore_label: 255").forward()
