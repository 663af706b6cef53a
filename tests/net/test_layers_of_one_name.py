"""Layers of one name: a layer that only computes may be called as one that learns."""

import numpy as np
import pytest

from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2, parse

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 weight_filler { type: "gaussian" } } }
layer { name: "ip" type: "ReLU" bottom: "ip" top: "relu" }
"""


def net(seed, **given):
    return Net(parse(NET, caffe_pb2.NetParameter()), caffe_pb2.TEST, seed=seed, **given)


@pytest.fixture
def weights(tmp_path):
    """A function that writes a net's weights in a form and names the file."""

    def write(trained, suffix):
        trained.save(tmp_path / f"w{suffix}")
        return str(tmp_path / f"w{suffix}")

    return write


def test_a_test_net_has_the_parameters_of_the_train_net():
    trained = net(1)
    for other in (net(2, beside=trained), net(2)):
        other.share_with(trained)
        trained.params["ip"][0].data[...] += 1
        np.testing.assert_array_equal(other.params["ip"][0].data, trained.params["ip"][0].data)


@pytest.mark.parametrize("suffix", [".caffemodel", ".caffemodel.h5", ".npz", ".safetensors"])
def test_weights_are_loaded(weights, suffix):
    trained = net(1)
    other = net(2, weights=weights(trained, suffix))
    np.testing.assert_array_equal(other.params["ip"][0].data, trained.params["ip"][0].data)


def test_python_sees_the_parameters_of_the_one_that_has_some():
    assert [blob.shape for blob in net(1).params["ip"]] == [(2, 3), (2,)]
    assert [layer.type for layer in net(1).layers] == ["Input", "InnerProduct", "ReLU"]


def test_two_that_both_learn_are_refused_as_their_weights_could_not_be_told_apart():
    with pytest.raises(NetError, match="layer 'ip' .InnerProduct.: has parameters, and so has a layer of that name"):
        Net(
            parse(
                NET.replace('"ReLU"', '"InnerProduct" inner_product_param { num_output: 2 }'), caffe_pb2.NetParameter()
            ),
            caffe_pb2.TEST,
        )
