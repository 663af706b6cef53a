"""What pycaffe's Net has beside forward and backward."""

import numpy as np
import pytest

from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2, parse

NET = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 weight_filler { type: "gaussian" } } }
layer { name: "score" type: "TanH" bottom: "ip" top: "score" }
"""
DATA = np.random.default_rng(0).random((10, 3), np.float32)
SLOPES = np.random.default_rng(1).random((10, 2), np.float32)


def build(text=NET, seed=1):
    return Net(parse(text, caffe_pb2.NetParameter()), caffe_pb2.TEST, seed=seed)


@pytest.mark.parametrize("count", [1, 4, 10])
def test_forward_all_takes_any_number_of_items(device, count):
    net = build()
    results = net.forward_all(blobs=["ip"], data=DATA[:count])
    weights, bias = (blob.data for blob in net.params["ip"])
    np.testing.assert_allclose(results["ip"], DATA[:count] @ weights.T + bias, rtol=1e-5)
    np.testing.assert_allclose(results["score"], np.tanh(results["ip"]), rtol=1e-5)
    assert net.blobs["data"].shape == (4, 3)


def test_forward_backward_all_gives_gradients_as_well(device):
    net = build()
    results, gradients = net.forward_backward_all(diffs=["ip"], data=DATA, score=SLOPES)
    np.testing.assert_allclose(gradients["ip"], SLOPES * (1 - results["score"] ** 2), rtol=1e-4)
    np.testing.assert_allclose(gradients["data"], gradients["ip"] @ net.params["ip"][0].data, rtol=1e-4)
    np.testing.assert_allclose(net.params["ip"][0].diff, gradients["ip"].T @ DATA, rtol=1e-4)


def test_a_loss_comes_once_a_batch(device):
    loss = 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 dim: 2 } } } ' + NET
    net = build(loss + 'layer { name: "loss" type: "EuclideanLoss" bottom: "score" bottom: "label" top: "loss" }')
    results, gradients = net.forward_backward_all(data=DATA, label=SLOPES)
    assert results["loss"].shape == (3,) and gradients["data"].shape == (10, 3)


def test_wrong_arrays_are_refused():
    net = build()
    with pytest.raises(NetError, match=r"must be equally long: \{'data': 10, 'score': 9\}"):
        net.forward_backward_all(data=DATA, score=SLOPES[:9])
    with pytest.raises(NetError, match="'ip' is neither an input nor an output"):
        net.forward_backward_all(data=DATA, ip=SLOPES)
    with pytest.raises(NetError, match="needs an array for each input: data"):
        net.forward_all()
    with pytest.raises(NetError, match="the net has no inputs"):
        build('layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 1 } } }').forward_all(
            d=DATA
        )


@pytest.mark.parametrize("param, shape", [("", r"\(\)"), ("input_param { shape { dim: 0 dim: 3 } }", r"\(0, 3\)")])
def test_forward_all_needs_an_input_with_a_batch(param, shape):
    net = build(f'layer {{ name: "data" type: "Input" top: "data" {param} }}')
    with pytest.raises(NetError, match=f"the input 'data' has the shape {shape}, which says no batch"):
        net.forward_all(data=DATA)


def test_share_with_uses_the_other_nets_parameters(device):
    first, second = build(), build(seed=2)
    second.share_with(first)
    first.params["ip"][0].data[...] = 7
    assert (second.params["ip"][0].data == 7).all()
    with pytest.raises(NetError, match=r"layer 'ip' .*\(3, 3\).* here and .*\(2, 3\).* in the other net"):
        build(NET.replace("num_output: 2", "num_output: 3")).share_with(first)
    with pytest.raises(NetError, match=r"layer 'ip' .*\(3, 2\).* here and .*\(2, 3\).* in the other net"):
        build(NET.replace("num_output: 2", "num_output: 2 transpose: true")).share_with(first)


def test_the_names_of_layers_and_blobs_are_lists():
    net = build()
    assert (net._layer_names, net._blob_names) == (["data", "ip", "score"], ["data", "ip", "score"])


TRAINED = """
layer { name: "data" type: "Input" top: "data" top: "label" input_param { shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 weight_filler { type: "gaussian" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def test_hooks_are_called_around_each_layer_with_its_number(device):
    net, calls = build(TRAINED), []
    for when in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(net, when)(lambda number, when=when: calls.append((when, number)))
    net.force_backward()
    net.forward()
    net.backward()
    forward = [(when, number) for number in range(3) for when in ("before_forward", "after_forward")]
    backward = [(when, number) for number in (2, 1, 0) for when in ("before_backward", "after_backward")]
    assert calls == forward + backward


def test_hooks_of_a_part_of_the_net_are_those_of_its_layers():
    net, calls = build(), []
    net.after_forward(calls.append)
    net.forward(start="ip", end="ip")
    assert calls == [1]


def test_a_hook_may_change_what_the_next_layer_reads(device):
    """As one does to look what the net makes of a blob that is changed in its midst."""
    net = build()
    net.after_forward(lambda number: number == 1 and net.blobs["ip"].data.fill(0.5))
    np.testing.assert_allclose(net.forward(data=DATA[:4])["score"], np.full((4, 2), np.tanh(0.5)), rtol=1e-6)


def test_hooks_of_a_net_that_shares_memory_are_refused():
    net = Net(parse(NET, caffe_pb2.NetParameter()), caffe_pb2.TEST, share=True)
    with pytest.raises(NetError, match="before_forward on a net made with share=True: make it without share"):
        net.before_forward(print)


def test_blobs_and_layers_that_are_not_there_are_named_before_anything_runs():
    net, ran = build(), []
    net.before_forward(ran.append)
    with pytest.raises(NetError, match="net: there is no blob 'scor'; did you mean 'score'"):
        net.forward(blobs=["scor"])
    with pytest.raises(NetError, match="net: there is no blob 'scor'; did you mean 'score'"):
        net.backward(diffs=["scor"])
    with pytest.raises(NetError, match="net: there is no layer 'ip1'; did you mean 'ip'"):
        net.forward(end="ip1")
    assert not ran


def test_the_loss_weights_of_blobs_are_told():
    weighted = TRAINED.replace('top: "loss"', 'top: "loss" loss_weight: 0.5')
    assert build(weighted).blob_loss_weights == {"data": 0, "label": 0, "ip": 0, "loss": 0.5}
    assert list(build(weighted).blob_loss_weights) == list(build(weighted).blobs)
