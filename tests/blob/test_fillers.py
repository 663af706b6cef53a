"""Fillers: the formulas and, over many values, the statistics of what they draw."""

import math

import numpy as np
import pytest

from deconvnet.core.blob import fill, generator
from deconvnet.core.proto import caffe_pb2, parse

SHAPE = (40, 25, 6, 5)
FAN_IN, FAN_OUT = 25 * 30, 40 * 30


def filled(text, shape=SHAPE, seed=0):
    values = np.full(shape, np.nan)
    fill(values, parse(text, caffe_pb2.FillerParameter()), generator(seed, "test"))
    return values


def is_uniform(values, low, high):
    """Bounds, mean and deviation, each to within five deviations of a fair draw."""
    n, deviation = values.size, (high - low) / math.sqrt(12)
    assert low <= values.min() < low + (high - low) * 20 / n and high - (high - low) * 20 / n < values.max() <= high
    assert abs(values.mean() - (low + high) / 2) < 5 * deviation / math.sqrt(n)
    assert abs(values.std() / deviation - 1) < 5 / math.sqrt(n)


def is_normal(values, mean, deviation):
    n = values.size
    assert abs(values.mean() - mean) < 5 * deviation / math.sqrt(n)
    assert abs(values.std() / deviation - 1) < 5 / math.sqrt(2 * n)
    for k, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
        assert abs((np.abs(values - mean) < k * deviation).mean() - share) < 5 / math.sqrt(n)


def test_constant():
    np.testing.assert_array_equal(filled('type: "constant" value: 0.25'), 0.25)
    np.testing.assert_array_equal(filled(""), 0)


def test_uniform():
    is_uniform(filled('type: "uniform" min: -1 max: 3'), -1, 3)
    is_uniform(filled('type: "uniform"'), 0, 1)


def test_gaussian():
    is_normal(filled('type: "gaussian" mean: 2 std: 0.5'), 2, 0.5)


def test_sparse_gaussian_keeps_about_that_many_inputs_of_each_output():
    """Each value is kept with probability sparse / outputs, as Caffe has it."""
    values = filled('type: "gaussian" std: 1 sparse: 10')
    share = (values != 0).mean()
    assert abs(share - 10 / 40) < 5 * math.sqrt(0.25 * 0.75 / values.size)
    is_normal(values[values != 0], 0, 1)


NORMS = {
    "": FAN_IN,
    "variance_norm: FAN_IN": FAN_IN,
    "variance_norm: FAN_OUT": FAN_OUT,
    "variance_norm: AVERAGE": (FAN_IN + FAN_OUT) / 2,
}


@pytest.mark.parametrize("norm", NORMS)
def test_xavier(norm):
    limit = math.sqrt(3 / NORMS[norm])
    is_uniform(filled(f'type: "xavier" {norm}'), -limit, limit)


@pytest.mark.parametrize("norm", NORMS)
def test_msra(norm):
    is_normal(filled(f'type: "msra" {norm}'), 0, math.sqrt(2 / NORMS[norm]))


def test_the_fans_of_a_fully_connected_layer():
    """Weights (outputs, inputs): each output has `inputs` inputs."""
    is_uniform(filled('type: "xavier"', (200, 300)), -0.1, 0.1)
    is_uniform(filled('type: "xavier" variance_norm: FAN_OUT', (300, 200)), -0.1, 0.1)


def test_positive_unitball_rows_sum_to_one():
    values = filled('type: "positive_unitball"')
    assert (values >= 0).all()
    np.testing.assert_allclose(values.reshape(40, -1).sum(axis=1), 1)


@pytest.mark.parametrize(
    "size, row",
    [
        (1, [1]),
        (2, [0.5, 0.5]),
        (3, [0.5, 1, 0.5]),
        (4, [0.25, 0.75, 0.75, 0.25]),
        (5, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]),
    ],
)
def test_bilinear(size, row):
    """The same for every channel: a tent around the middle, that of upsampling where the size is 2s - s % 2 for a stride s.

    Caffe's formula since the end of 2017; in 1.0 tents of sizes such as 3, 6 and 7 lay off the middle.
    """
    values = filled('type: "bilinear"', (3, 2, size, size))
    np.testing.assert_allclose(values, np.broadcast_to(np.outer(row, row), values.shape))


def test_bilinear_is_for_square_kernels():
    for shape in ((2, 2, 3, 4), (9, 9)):
        with pytest.raises(ValueError, match=r"square kernels \(N, C, k, k\)"):
            filled('type: "bilinear"', shape)


def test_bilinear_diagonal_leads_each_channel_to_itself():
    values = filled('type: "bilinear_diagonal"', (3, 3, 4, 4))
    row = [0.25, 0.75, 0.75, 0.25]
    np.testing.assert_allclose(values, np.eye(3)[:, :, None, None] * np.outer(row, row))


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (3, 1, 4, 4), (9, 9)])
def test_bilinear_diagonal_is_for_as_many_outputs_as_inputs(shape):
    with pytest.raises(ValueError, match=r"as many outputs as inputs, \(N, N, k, k\)"):
        filled('type: "bilinear_diagonal"', shape)


def test_an_unknown_filler_is_answered_with_the_nearest_and_all_known_ones():
    with pytest.raises(
        ValueError, match="unknown filler 'xavir'.*xavier.*known: bilinear, bilinear_diagonal, constant, gaussian, msra"
    ):
        filled('type: "xavir"')


def test_draws_follow_from_seed_stream_and_index():
    text = parse('type: "gaussian" std: 1', caffe_pb2.FillerParameter())

    def draw(*key):
        values = np.empty(20)
        fill(values, text, generator(*key))
        return values

    np.testing.assert_array_equal(draw(1, "a", 0), draw(1, "a", 0))
    others = [draw(2, "a", 0), draw(1, "b", 0), draw(1, "a", 1)]
    assert not any(np.array_equal(draw(1, "a", 0), other) for other in others)


def test_an_empty_blob_needs_no_values():
    assert filled('type: "xavier"', (0, 3, 2, 2)).size == 0
