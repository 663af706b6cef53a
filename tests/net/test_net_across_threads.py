"""Nets that run in several Python threads at once: each has its own memory, and the threads that compute serve them in turn."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from deconvnet.core.kernels import leave_strays, take_strays
from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2, parse

SIDES = range(24, 32)  # of the maps, so that no two nets take a workspace of one size
MODEL = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 24 dim: %d dim: %d } } }
layer { name: "winograd" type: "Convolution" bottom: "x" top: "a" convolution_param { num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "direct" type: "Convolution" bottom: "a" top: "b" convolution_param { num_output: 8 kernel_size: 5 weight_filler { type: "xavier" } } }
"""


def passes(side: int) -> list[np.ndarray]:
    """What passes of a net of its own give, forward and backward."""
    net = Net(parse(MODEL % (side, side), caffe_pb2.NetParameter(force_backward=True)), caffe_pb2.TRAIN, seed=side)
    found = []
    for number in range(6):
        net.blobs["x"].data[...] = np.random.default_rng(number).normal(size=net.blobs["x"].shape)
        found.append(net.forward()["b"].copy())
        net.blobs["b"].diff[...] = found[-1]
        found.append(net.backward()["x"].copy())
    return found


def test_nets_in_several_threads_give_what_they_give_in_turn():
    in_turn = [passes(side) for side in SIDES]
    with ThreadPoolExecutor(len(SIDES)) as pool:
        at_once = list(pool.map(passes, SIDES))
    for expected, found in zip(in_turn, at_once, strict=True):
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_array_equal(one, other)


def test_lost_switches_that_wait_to_be_counted_are_those_of_their_thread():
    leave_strays([(np.zeros(1, np.int32), (1, 1, 2, 2))])
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(take_strays).result() == []
    assert len(take_strays()) == 1
