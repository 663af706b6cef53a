"""BatchNorm, LRN and MVN against their definitions."""

import numpy as np
import pytest
from arrays import numbers
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from one_layer import TEST, TRAIN, OneLayer

from deconvnet.core import proto
from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2

BATCH_NORM = 'type: "BatchNorm" batch_norm_param { eps: 0.01 %s }'
SHAPES = [(3, 2, 4, 5), (1, 3, 3, 3), (5, 2), (4, 2, 7), (6,)]


def statistics(x):
    """Mean and biased variance of each channel, shaped to fit x."""
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    return x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("in_place", [False, True])
def test_batch_norm_takes_the_batch_in_train(device, shape, in_place):
    x = 3 + 2 * numbers(*shape)
    case = OneLayer(BATCH_NORM % "", x, in_place=in_place)
    mean, variance = statistics(x)
    eps = case.layer.param.batch_norm_param.eps
    np.testing.assert_allclose(case.forward()[0], (x - mean) / np.sqrt(variance + eps), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_batch_norm_gradients(device, shape, in_place, phase):
    """By the batch in TRAIN, by the running statistics in TEST; what the check moves between forwards does not change them."""
    channels = shape[1] if len(shape) > 1 else 1
    running = (numbers(channels), 1 + numbers(channels, seed=1) ** 2, np.array([2.0]))
    case = OneLayer(BATCH_NORM % "", numbers(*shape), in_place=in_place, phase=phase, parameters=running)
    case.layer.blobs, kept = [], case.layer.blobs  # statistics have no gradient to check
    forward = case.layer.forward

    def forward_with_statistics(bottom, top):
        case.layer.blobs = kept
        forward(bottom, top)
        case.layer.blobs = []

    case.layer.forward = forward_with_statistics
    check_gradients(case)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("text, phase", [("", TEST), ("use_global_stats: true", TRAIN)])
def test_batch_norm_takes_running_statistics_in_test_or_where_told(device, text, phase, in_place):
    x = numbers(2, 3, 4, 5)
    sums, variances, weight = numbers(3), 1 + numbers(3, seed=1) ** 2, np.array([2.5])
    case = OneLayer(BATCH_NORM % text, x, phase=phase, in_place=in_place, parameters=(sums, variances, weight))
    eps = case.layer.param.batch_norm_param.eps
    expected = (x - (sums / 2.5)[:, None, None]) / np.sqrt((variances / 2.5)[:, None, None] + eps)
    np.testing.assert_allclose(case.forward()[0], expected, rtol=0, atol=1e-12)
    for parameter, before in zip(case.parameters, (sums, variances, weight), strict=True):
        np.testing.assert_array_equal(parameter, before)


def test_batch_norm_without_a_forward_yet_has_zero_mean_and_variance(device):
    """Caffe's rule for a weight of 0: nothing is divided by it."""
    case = OneLayer(BATCH_NORM % "", numbers(2, 3), phase=TEST)
    np.testing.assert_allclose(case.forward()[0], case.inputs[0] / np.sqrt(case.layer.param.batch_norm_param.eps))


def test_batch_norm_gathers_running_statistics(device):
    """Each forward: sums * fraction + the batch's mean, its variance (unbiased) and 1."""
    case = OneLayer(BATCH_NORM % "moving_average_fraction: 0.75", numbers(3, 2, 4))
    batches = [numbers(3, 2, 4, seed=seed) for seed in (1, 2, 3)]
    means, variances, weight = np.zeros(2), np.zeros(2), 0.0
    for batch in batches:
        case.inputs[0][...] = batch
        case.forward()
        mean, variance = (values.ravel() for values in statistics(batch))
        means, variances = 0.75 * means + mean, 0.75 * variances + variance * 12 / 11
        weight = 0.75 * weight + 1
    for found, expected in zip(case.parameters, (means, variances, [weight]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_batch_norm_use_global_stats_false_takes_the_batch_in_test(device):
    x = numbers(4, 2)
    texts = ("use_global_stats: false", TEST), ("", TRAIN)
    in_test, in_train = (OneLayer(BATCH_NORM % text, x, phase=phase).forward()[0] for text, phase in texts)
    np.testing.assert_array_equal(in_test, in_train)


def test_batch_norm_of_one_value_a_channel(device):
    """No variance to correct: m / (m - 1) counts as 1."""
    case = OneLayer(BATCH_NORM % "", numbers(1, 3))
    np.testing.assert_array_equal(case.forward()[0], np.zeros((1, 3)))
    np.testing.assert_array_equal(case.parameters[1], np.zeros(3))


NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "norm" type: "BatchNorm" bottom: "x" top: "y" %s }
layer { name: "loss" type: "Reduction" bottom: "y" top: "loss" loss_weight: 1 }
"""


def net_of(params):
    return Net(proto.parse(NET % params, caffe_pb2.NetParameter()), TRAIN)


@pytest.mark.parametrize("params", ["", "param { lr_mult: 0 decay_mult: 0 } " * 3, "param { lr_mult: 1 } " * 3])
def test_a_solver_never_moves_batch_norm_statistics(params):
    """Three `param` are old syntax, which Caffe sets to 0; fewer must say 0, none is 0."""
    assert [(p.name, p.lr_mult, p.decay_mult) for p in net_of(params).learnable] == [
        (f"norm/{i}", 0, 0) for i in range(3)
    ]


def test_batch_norm_statistics_that_would_learn_are_refused():
    with pytest.raises(NetError, match=r"layer 'norm' \(BatchNorm\): parameter 0 holds statistics.*set lr_mult: 0"):
        net_of("param { lr_mult: 1 }")


def lrn_by_definition(x, size, alpha, beta, k, within):
    """Every window by itself."""
    q = np.empty_like(x)
    radius = size // 2
    for n, c, i, j in np.ndindex(x.shape):
        if within:
            window = x[n, c, max(0, i - radius) : i + radius + 1, max(0, j - radius) : j + radius + 1]
        else:
            window = x[n, max(0, c - radius) : c + radius + 1, i, j]
        q[n, c, i, j] = k + alpha * (window**2).sum() / size ** (2 if within else 1)
    return x * q**-beta


REGIONS = {"ACROSS_CHANNELS": False, "WITHIN_CHANNEL": True}
LRN = 'type: "LRN" lrn_param { local_size: %d alpha: 0.5 beta: %s k: 2 norm_region: %s }'


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("shape", [(2, 7, 4, 3), (1, 1, 1, 1), (2, 3, 1, 6), (1, 2, 5, 1)])
@pytest.mark.parametrize("size, beta", [(1, 0.75), (3, 0.625), (3, 0.75), (5, 1), (9, 0.75)])
def test_lrn_is_the_definition(device, region, shape, size, beta):
    x = numbers(*shape)
    within = REGIONS[region]
    expected = lrn_by_definition(x, size, 0.5, beta, 1 if within else 2, within)
    case = OneLayer(LRN % (size, beta, region), x)
    np.testing.assert_allclose(case.forward()[0], expected, rtol=1e-12)


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("shape", [(2, 4, 3, 2), (1, 1, 1, 1), (1, 2, 1, 5)])
@pytest.mark.parametrize("size, beta", [(1, 0.75), (3, 0.75), (3, 0.625), (5, 0.75)])
def test_lrn_gradients(device, region, shape, size, beta):
    check_gradients(OneLayer(LRN % (size, beta, region), numbers(*shape)))


@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 4), st.integers(1, 5)),
    radius=st.integers(0, 4),
)
@pytest.mark.parametrize("region", REGIONS)
def test_lrn_of_any_shape(device, region, shape, radius):
    x, within = numbers(*shape), REGIONS[region]
    expected = lrn_by_definition(x, 2 * radius + 1, 0.5, 0.75, 1 if within else 2, within)
    np.testing.assert_allclose(OneLayer(LRN % (2 * radius + 1, 0.75, region), x).forward()[0], expected, rtol=1e-12)


def test_lrn_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="local_size must be odd, not 4"):
        OneLayer('type: "LRN" lrn_param { local_size: 4 }', numbers(1, 2, 3, 3))
    with pytest.raises(ValueError, match=r"shape \(N, C, H, W\), not \(2, 3\)"):
        OneLayer('type: "LRN"', numbers(2, 3))
    with pytest.raises(ValueError, match="cannot work in place"):
        OneLayer('type: "LRN"', numbers(1, 2, 3, 3), in_place=True)


MVN = 'type: "MVN" mvn_param { %s }'


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 2, 7), (1, 1, 5, 3)])
def test_mvn(device, shape, across, scaled, in_place):
    x = 3 + numbers(*shape)
    axes = tuple(range(1 if across else 2, len(shape)))
    expected = x - x.mean(axis=axes, keepdims=True)
    if scaled:
        expected /= x.std(axis=axes, keepdims=True) + 1e-9
    fields = f"across_channels: {str(across).lower()} normalize_variance: {str(scaled).lower()}"
    case = OneLayer(MVN % fields, x, in_place=in_place)
    np.testing.assert_allclose(case.forward()[0], expected, rtol=0, atol=1e-12)
    check_gradients(case)


def test_mvn_of_a_plane_of_one_value_is_zero(device):
    np.testing.assert_array_equal(
        OneLayer('type: "MVN"', numbers(2, 3, 4, 4) * 0 + 7).forward()[0], np.zeros((2, 3, 4, 4))
    )
