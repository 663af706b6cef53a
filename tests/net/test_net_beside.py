"""A test net beside its train net: one set of parameters and buffers for both (design: never two full sets of activations)."""

import numpy as np
import pytest

from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2, parse

NET = """
layer { name: "data" type: "DummyData" top: "data" top: "label" include { phase: TRAIN }
  dummy_data_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } shape { dim: 2 dim: 1 dim: 8 dim: 8 } data_filler { type: "gaussian" }
    data_filler { type: "constant" value: 1 } } }
layer { name: "data" type: "Input" top: "data" top: "label" include { phase: TEST }
  input_param { shape { dim: 5 dim: 3 dim: 8 dim: 8 } shape { dim: 5 dim: 1 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "bn" type: "BN" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" top: "mask" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "unpool" type: "Unpooling" bottom: "pool" bottom: "mask" top: "unpool" }
layer { name: "score" type: "Convolution" bottom: "unpool" top: "score" convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""


def net(phase, **given):
    return Net(parse(NET, caffe_pb2.NetParameter()), phase, seed=1, **given)


@pytest.fixture
def pair():
    train = net(caffe_pb2.TRAIN, share=True)
    return train, net(caffe_pb2.TEST, beside=train, share=True)


def test_it_has_the_train_nets_parameters(pair):
    train, test = pair
    train.params["conv"][0].data[...] = 7
    assert (test.params["conv"][0].data == 7).all()


def test_every_computed_blob_and_layer_buffer_lies_in_the_train_nets_memory(pair):
    train, test = pair
    test.forward()
    train.forward()
    for name in ("conv", "pool", "mask", "unpool", "score"):
        for what in ("host_data", "host_diff"):
            larger, smaller = (getattr(one._named_blobs[name], what) for one in (test, train))
            assert np.shares_memory(larger, smaller), f"{what} of {name}"
    for name in ("bn", "pool", "loss"):
        ours, theirs = (one.layers_by_name()[name].buffers() for one in (test, train))
        assert ours and all(np.shares_memory(a.host_data, b.host_data) for a, b in zip(ours, theirs, strict=True)), name


def test_what_was_put_into_its_inputs_stays_through_training(pair):
    train, test = pair
    test.blobs["data"].data[...] = 3
    train.forward()
    assert (test.blobs["data"].data == 3).all()


def test_without_share_neither_net_overwrites_what_the_other_holds():
    """As in pycaffe: what a script looks at in one net, or starts from in the middle, is still what that net computed."""
    train = net(caffe_pb2.TRAIN)
    test = net(caffe_pb2.TEST, beside=train)
    test.blobs["data"].data[...] = np.random.default_rng(0).normal(size=test.blobs["data"].shape)
    before = {name: array.copy() for name, array in test.forward(blobs=list(test.blobs)).items()}
    train.forward()
    train.backward()
    for name, array in before.items():
        np.testing.assert_array_equal(test.blobs[name].data, array, err_msg=name)


def test_a_pass_of_the_test_net_between_two_iterations_changes_no_gradient():
    alone, train = net(caffe_pb2.TRAIN, share=True), net(caffe_pb2.TRAIN, share=True)
    test = net(caffe_pb2.TEST, beside=train, share=True)
    for iteration in range(3):
        if iteration:
            test.forward()
        for one in (alone, train):
            one.forward_loss()
            one.clear_param_diffs()
            one.backward()
    for ours, theirs in zip(train.params["conv"], alone.params["conv"], strict=True):
        np.testing.assert_array_equal(ours.diff, theirs.diff)


def test_parameters_of_other_sizes_are_refused_with_both_shapes():
    wider = parse(NET.replace("num_output: 2", "num_output: 3"), caffe_pb2.NetParameter())
    with pytest.raises(NetError, match=r"layer 'score'.*\(3, 4, 1, 1\).*\(2, 4, 1, 1\)"):
        Net(wider, caffe_pb2.TEST, beside=net(caffe_pb2.TRAIN))
