"""What scripts for pycaffe do with a solver."""

import numpy as np
from tiny_training import dummy_solver

import deconvnet as caffe


def solver(fields=""):
    return caffe.SGDSolver(dummy_solver(fields))


def test_a_test_net_runs_on_from_the_middle_on_the_batch_it_read_before_the_steps():
    """The loop of Caffe's notebook 01-learning-lenet: forward(start=...) after each step, to follow one batch."""
    trained = solver("test_iter: 1 test_interval: 100 test_initialization: false")
    test = trained.test_nets[0]
    test.forward()
    batch = test.blobs["data"].data.copy()
    trained.step(2)
    test.forward(start="conv")
    np.testing.assert_array_equal(test.blobs["data"].data, batch)
    weights, bias = (blob.data for blob in trained.net.params["ip"])
    expected = test.blobs["conv"].data.reshape(4, -1) @ weights.T + bias
    np.testing.assert_allclose(test.blobs["ip"].data, expected, rtol=1e-4, atol=1e-6)
