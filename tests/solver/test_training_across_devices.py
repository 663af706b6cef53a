"""One training on the CPU and on a GPU: the same curve, snapshots that go from one to the other, and a GPU that repeats itself to the bit."""

import contextlib

import numpy as np
import pytest
import tiny_training

from deconvnet.core import kernels
from deconvnet.core.solver import get_solver

FIELDS = "random_seed: 5 iter_size: 2 clip_gradients: 10 test_iter: 2 test_interval: 2 average_loss: 40 max_iter: 40"


def train(path, mode, iterations, state=None):
    """(losses, weights and momentum) after so many iterations in the mode, from a snapshot's state where one is given; and a new state."""
    kernels.set_mode(mode)
    with contextlib.closing(get_solver(path, share=True)) as solver:
        if state:
            solver.restore(state)
        solver.step(iterations)
        arrays = [blob.data.copy() for blobs in solver.net.params.values() for blob in blobs]
        arrays += [kernels.to_host(velocity.data).copy() for velocity in solver.history]
        return list(solver.losses), arrays, solver.snapshot()


def assert_near(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_the_curve_of_a_gpu_is_that_of_the_cpu(gpu, tmp_path):
    path = tiny_training.write_seg_solver(tmp_path, FIELDS)
    expected, found = train(path, "cpu", 20)[0], train(path, "gpu", 20)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert np.mean(found[-5:]) < 0.9 * found[0]


def test_weights_and_momentum_of_a_gpu_are_those_of_the_cpu(gpu, tmp_path):
    path = tiny_training.write_seg_solver(tmp_path, FIELDS)
    assert_near(train(path, "gpu", 4)[1], train(path, "cpu", 4)[1])


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("first, second", [("gpu", "cpu"), ("cpu", "gpu")])
def test_a_snapshot_of_one_device_is_resumed_on_the_other(gpu, tmp_path, first, second, form):
    path = tiny_training.write_seg_solver(tmp_path, f"{FIELDS} snapshot_format: {form}")
    *_, state = train(path, first, 2)
    assert_near(train(path, second, 2, state)[1], train(path, first, 4)[1])


def test_two_runs_of_one_seed_on_a_gpu_agree_bit_for_bit(gpu, tmp_path):
    path = tiny_training.write_seg_solver(tmp_path, FIELDS)
    (losses, arrays, _), (again, repeated, _) = train(path, "gpu", 6), train(path, "gpu", 6)
    assert losses == again
    for one, other in zip(arrays, repeated, strict=True):
        np.testing.assert_array_equal(one, other)
