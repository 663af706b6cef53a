"""EuclideanLoss, SigmoidCrossEntropyLoss and HingeLoss against their definitions."""

import numpy as np
import pytest
from arrays import numbers, spaced
from gradient_check import check_gradients
from one_layer import OneLayer


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1), (5,)])
def test_euclidean(device, shape):
    """Half the squared distance, over the items; both bottoms have a gradient."""
    a, b = numbers(*shape), numbers(*shape, seed=1)
    case = OneLayer('type: "EuclideanLoss"', a, b)
    assert case.forward()[0] == pytest.approx(((a - b) ** 2).sum() / (2 * shape[0]), rel=1e-12)
    check_gradients(case)


def test_euclidean_leaves_an_unwanted_gradient_alone(device):
    case = OneLayer('type: "EuclideanLoss"', numbers(2, 3), numbers(2, 3, seed=1))
    case.forward()
    wanted, unwanted = case.backward(1.0, propagate_down=[True, False])
    assert np.isfinite(wanted).all() and np.isnan(unwanted).all()


def test_euclidean_compares_shapes_of_equal_count(device):
    a, b = numbers(2, 3, 1), numbers(2, 3, seed=1)
    assert OneLayer('type: "EuclideanLoss"', a, b).forward()[0] == pytest.approx(((a[..., 0] - b) ** 2).sum() / 4)
    with pytest.raises(ValueError, match=r"\[\(2, 3\), \(2, 4\)\]: they must hold the same number of items and values"):
        OneLayer('type: "EuclideanLoss"', numbers(2, 3), numbers(2, 4))
    with pytest.raises(ValueError, match="same number of items"):
        OneLayer('type: "EuclideanLoss"', numbers(2, 3), numbers(3, 2))


def smooth_l1(d, sigma):
    """The loss of Fast R-CNN, section 2.3."""
    return np.where(np.abs(d) < 1 / sigma**2, (sigma * d) ** 2 / 2, np.abs(d) - 0.5 / sigma**2)


@pytest.mark.parametrize("weights", [0, 1, 2])
@pytest.mark.parametrize("sigma", [1, 3, 0.5])
@pytest.mark.parametrize("shape", [(3, 5), (2, 8, 3, 4), (70, 90)])
def test_smooth_l1(device, shape, sigma, weights):
    """Inside weights before the bend, outside weights behind it; both bottoms have a gradient, weights none."""
    a, b, inner, outer = (numbers(*shape, seed=seed) for seed in range(4))
    case = OneLayer(f'type: "SmoothL1Loss" smooth_l1_loss_param {{ sigma: {sigma} }}', a, b, *(inner, outer)[:weights])
    d = (inner if weights else 1) * (a - b)
    of_each = (outer if weights > 1 else 1) * smooth_l1(d, sigma)
    assert case.forward()[0] == pytest.approx(of_each.sum() / shape[0], rel=1e-12)
    if a.size < 1000:
        check_gradients(case)


def test_smooth_l1_leaves_an_unwanted_gradient_alone_and_bends_at_its_place(device):
    a = np.array([[-2.0, -1, -0.5, 0, 0.5, 1, 2]])
    case = OneLayer('type: "SmoothL1Loss"', a, np.zeros_like(a))
    case.forward()
    wanted, unwanted = case.backward(1.0, propagate_down=[True, False])
    assert wanted.tolist() == [[-1, -1, -0.5, 0, 0.5, 1, 1]] and np.isnan(unwanted).all()


def test_smooth_l1_of_a_nan_is_one(device):
    case = OneLayer('type: "SmoothL1Loss"', np.array([[np.nan, 1.0]]), np.zeros((1, 2)))
    assert np.isnan(case.forward()[0])


def test_smooth_l1_compares_counts_and_asks_for_a_sigma(device):
    with pytest.raises(ValueError, match="must hold the same number of items and values"):
        OneLayer('type: "SmoothL1Loss"', numbers(2, 3), numbers(2, 3), numbers(2, 4))
    with pytest.raises(ValueError, match="sigma must be above 0, not -1"):
        OneLayer('type: "SmoothL1Loss" smooth_l1_loss_param { sigma: -1 }', numbers(2, 3), numbers(2, 3))


@pytest.mark.parametrize("shape", [(3, 4, 2), (5,), (1, 300)])
def test_l1_is_the_sum_of_magnitudes_over_the_items(device, shape):
    a, b = spaced(*shape), spaced(*shape, seed=1) + 0.25
    case = OneLayer('type: "L1Loss"', a, b)
    assert float(case.forward()[0]) == pytest.approx(np.abs(a - b).sum() / shape[0], rel=1e-6)
    check_gradients(case)


def test_l1_of_equal_values_has_no_gradient(device):
    case = OneLayer('type: "L1Loss"', numbers(2, 3), numbers(2, 3))
    assert float(case.forward()[0]) == 0 and not np.any(case.backward(np.array(1.0)))


SIGMOID = 'type: "SigmoidCrossEntropyLoss" loss_param { %s }'
# the divisor, for N items of 12 scores of which 7 are ignored
DIVISORS = {
    "": lambda n: n,
    "normalization: BATCH_SIZE": lambda n: n,
    "normalization: FULL": lambda n: 12 * n,
    "normalization: NONE": lambda n: 1,
    "normalization: VALID": lambda n: 12 * n,
    "normalize: true": lambda n: 12 * n,
    "normalize: false": lambda n: n,
    "normalize: true normalization: NONE": lambda n: 1,
    "ignore_label: 255": lambda n: n,
    "ignore_label: 255 normalization: VALID": lambda n: 12 * n - 7,
    "ignore_label: 255 normalization: FULL": lambda n: 12 * n,
}


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("fields", DIVISORS)
def test_sigmoid_cross_entropy(device, fields, n):
    x = 2 * numbers(n, 3, 4)
    targets = np.random.default_rng(n).random((n, 3, 4))
    counted = np.ones(targets.shape, bool)
    if "ignore_label" in fields:
        counted.ravel()[np.random.default_rng(0).permutation(targets.size)[:7]] = False
        targets[~counted] = 255
    p = 1 / (1 + np.exp(-x))
    losses = -(targets * np.log(p) + (1 - targets) * np.log(1 - p))
    case = OneLayer(SIGMOID % fields, x, targets)
    assert case.forward()[0] == pytest.approx(losses[counted].sum() / DIVISORS[fields](n), rel=1e-12)
    check_gradients(case)


def test_sigmoid_cross_entropy_of_large_scores(device):
    """ln of a probability that rounds to 0 or 1 is never taken."""
    x = np.array([[1000.0, -1000.0, 1000.0, -1000.0]])
    case = OneLayer(SIGMOID % "", x, np.array([[1.0, 0.0, 0.0, 1.0]]), dtype=np.float32)
    assert case.forward()[0] == 2000
    np.testing.assert_array_equal(case.backward(1.0)[0], [[0, 0, 1, -1]])


def test_sigmoid_cross_entropy_of_ignored_targets_only_is_zero(device):
    case = OneLayer(SIGMOID % "ignore_label: 0 normalization: VALID", numbers(2, 3), np.zeros((2, 3)))
    assert case.forward()[0] == 0
    np.testing.assert_array_equal(case.backward(1.0)[0], np.zeros((2, 3)))


@pytest.mark.parametrize(
    "label, ignored", [(0, [-0.99, 0, 0.5]), (1, [1, 1.5]), (-1, [-1, -1.5]), (2, [2.25]), (-2, [-2.25])]
)
def test_a_soft_target_is_ignored_where_its_integer_part_is(device, label, ignored):
    """As Caffe casts it: of targets between -1 and 1 all are 0."""
    targets = np.array([[-2.25, -1.5, -1, -0.99, 0, 0.5, 1, 1.5, 2.25]])
    case = OneLayer(SIGMOID % f"ignore_label: {label}", numbers(1, 9), targets)
    case.forward()
    (dx, *_) = case.backward(1.0)
    np.testing.assert_array_equal(dx == 0, np.isin(targets, ignored))


def test_sigmoid_cross_entropy_of_many_scores(device):
    """More than one run of the kernel."""
    x, targets = numbers(3, 5000), np.random.default_rng(0).random((3, 5000))
    expected = (np.maximum(x, 0) - x * targets + np.log1p(np.exp(-np.abs(x)))).sum() / 3
    assert OneLayer(SIGMOID % "", x, targets).forward()[0] == pytest.approx(expected, rel=1e-12)


def test_sigmoid_cross_entropy_needs_a_target_for_each_score():
    with pytest.raises(
        ValueError, match=r"scores \(2, 3\) and targets \(2, 4\): there must be one target for each score"
    ):
        OneLayer(SIGMOID % "", numbers(2, 3), numbers(2, 4))


@pytest.mark.parametrize("norm", ["L1", "L2"])
@pytest.mark.parametrize("shape", [(5, 4), (1, 1), (3, 2, 3)])
def test_hinge(device, norm, shape):
    x = spaced(*shape) / 2 + 0.01
    classes = int(np.prod(shape[1:]))
    labels = np.arange(shape[0]) % classes
    signs = np.where(np.arange(classes) == labels[:, None], -1, 1)
    margins = np.maximum(0, 1 + signs * x.reshape(shape[0], -1))
    case = OneLayer(f'type: "HingeLoss" hinge_loss_param {{ norm: {norm} }}', x, labels)
    expected = (margins if norm == "L1" else margins**2).sum() / shape[0]
    assert case.forward()[0] == pytest.approx(expected, rel=1e-12)
    check_gradients(case)


def test_hinge_refuses_labels_that_are_no_class(device):
    case = OneLayer('type: "HingeLoss"', numbers(3, 4), np.array([0, 4, 1]))
    with pytest.raises(ValueError, match=r"label 4 is not one of the 4 classes \(0 to 3\)"):
        case.forward()
    with pytest.raises(ValueError, match=r"scores \(3, 4\) and labels \(4,\): there must be one label an item"):
        OneLayer('type: "HingeLoss"', numbers(3, 4), numbers(4))


@pytest.mark.parametrize("shape", [(5, 4), (1, 1), (3, 2, 2)])
def test_multinomial_logistic(device, shape):
    p = 0.1 + np.random.default_rng(0).random(shape)
    labels = np.arange(shape[0]) % int(np.prod(shape[1:]))
    case = OneLayer('type: "MultinomialLogisticLoss"', p, labels)
    chosen = p.reshape(shape[0], -1)[np.arange(shape[0]), labels]
    assert case.forward()[0] == pytest.approx(-np.log(chosen).mean(), rel=1e-12)
    check_gradients(case)


def test_multinomial_logistic_of_an_impossible_label_is_finite(device):
    case = OneLayer('type: "MultinomialLogisticLoss"', np.array([[0.0, 1.0]]), np.zeros(1))
    assert case.forward()[0] == pytest.approx(-np.log(1e-20))
    np.testing.assert_allclose(case.backward(1.0)[0], [[-1e20, 0]])


def test_multinomial_logistic_refuses_labels_that_are_no_class(device):
    with pytest.raises(ValueError, match=r"label -1 is not one of the 4 classes \(0 to 3\)"):
        OneLayer('type: "MultinomialLogisticLoss"', np.ones((2, 4)), np.array([0, -1])).forward()
    with pytest.raises(ValueError, match="there must be one label an item"):
        OneLayer('type: "MultinomialLogisticLoss"', np.ones((2, 4)), np.zeros(4))


CONTRASTIVE = 'type: "ContrastiveLoss" contrastive_loss_param { margin: 2 legacy_version: %s }'


@pytest.mark.parametrize("legacy", ["true", "false"])
def test_contrastive(device, legacy):
    """Similar, unlike within the margin and unlike beyond it."""
    a, b = 0.4 * numbers(6, 3), 0.4 * numbers(6, 3, seed=1)
    a[4:] += 9
    similar = np.array([1, 0, 1, 0, 1, 0])
    squared = ((a - b) ** 2).sum(axis=1)
    unlike = np.maximum(0, 2 - squared) if legacy == "true" else np.maximum(0, 2 - np.sqrt(squared)) ** 2
    case = OneLayer(CONTRASTIVE % legacy, a, b, similar)
    assert case.forward()[0] == pytest.approx(np.where(similar, squared, unlike).sum() / 12, rel=1e-12)
    da, db, _ = case.backward(3.0)
    distance = np.sqrt(squared)
    inside = (
        np.where(squared < 2, -1, 0)
        if legacy == "true"
        else np.where(distance < 2, -(2 - distance) / (distance + 1e-4), 0)
    )
    expected = 3 / 6 * np.where(similar, 1, inside)[:, None] * (a - b)
    np.testing.assert_allclose(da, expected, rtol=1e-12)
    np.testing.assert_array_equal(db, -da)
    if legacy == "true":  # the other rule's divisor is 1e-4 off, as Caffe's is
        check_gradients(case)


def test_contrastive_needs_pairs():
    with pytest.raises(ValueError, match=r"two alike \(N, ...\) and N labels are expected"):
        OneLayer(CONTRASTIVE % "false", numbers(2, 3), numbers(2, 4), numbers(2))
    with pytest.raises(ValueError, match=r"two alike \(N, ...\) and N labels are expected"):
        OneLayer(CONTRASTIVE % "false", numbers(2, 3), numbers(2, 3), numbers(3))
