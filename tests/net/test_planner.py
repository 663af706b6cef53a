"""Net(share=True): blobs whose lives do not meet use one memory, and nothing else changes."""

from pathlib import Path

import numpy as np
import pytest

from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2, parse, read_net

PROTOTXT = Path(__file__).resolve().parents[2] / "prototxt" / "demo"
TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST


def train_net(**given):
    """The demo's stage-2 train net on inputs; its score is split between loss and accuracy."""
    param = read_net(PROTOTXT / "stage2_train_val.prototxt")
    layers = [layer for layer in param.layer if layer.type != "WindowSegData"]
    del param.layer[:]
    data = param.layer.add(name="data", type="Input", top=["data", "label"])
    for channels in (3, 1):
        data.input_param.shape.add().dim.extend([2, channels, 32, 32])
    param.layer.extend(layers)
    net = Net(param, TRAIN, seed=1, **given)
    draw = np.random.default_rng(0)
    net.blobs["data"].data[...] = draw.normal(size=net.blobs["data"].shape)
    net.blobs["label"].data[...] = draw.integers(0, 7, net.blobs["label"].shape)
    return net


def inference_net(**given):
    return Net(PROTOTXT / "deploy.prototxt", TEST, seed=1, **given)


def memory(net, side):
    """Bytes that the blobs hold on one side, each memory once."""
    memories = {id(held): held for held in (getattr(blob, f"{side}_memory") for blob in net._named_blobs.values())}
    return sum(held._host.nbytes for held in memories.values() if held._host is not None)


def test_inference_computes_the_same_in_less_memory():
    x = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype("f")
    plain, shared = inference_net(), inference_net(share=True)
    np.testing.assert_array_equal(shared.forward(data=x)["seg-score"], plain.forward(data=x)["seg-score"])
    assert memory(shared, "data") < 0.6 * memory(plain, "data")


def test_training_computes_the_same_gradients_in_less_memory_iteration_after_iteration():
    plain, shared = train_net(), train_net(share=True)
    for _ in range(2):
        for net in (plain, shared):
            net.forward_loss()
            net.backward()  # parameter gradients add up
    for name, blobs in plain.params.items():
        for ours, theirs in zip(shared.params[name], blobs, strict=True):
            np.testing.assert_array_equal(ours.diff, theirs.diff, err_msg=name)
    assert memory(shared, "diff") < 0.4 * memory(plain, "diff")


def test_another_size_is_followed():
    plain, shared = inference_net(), inference_net(share=True)
    for size in ((1, 3, 32, 32), (2, 3, 64, 48)):
        x = np.random.default_rng(1).normal(size=size).astype("f")
        np.testing.assert_array_equal(shared.forward(data=x)["seg-score"], plain.forward(data=x)["seg-score"])


def test_a_blob_that_is_gone_says_so_and_how_to_keep_it():
    net = inference_net(share=True)
    net.forward()
    with pytest.raises(RuntimeError, match=r"the data of blob 'conv1_1' is gone.*keep=\['conv1_1'\]"):
        _ = net.blobs["conv1_1"].data


def test_a_gradient_that_is_gone_says_so():
    net = train_net(share=True)
    with pytest.raises(RuntimeError, match="the diff of blob 'deconv1_1' is gone"):
        _ = net.blobs["deconv1_1"].diff
    assert net.blobs["deconv1_1"].data.shape == (2, 16, 32, 32)


def test_a_kept_blob_and_the_end_of_a_partial_pass_hold_what_they_hold_without_sharing():
    x = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype("f")
    plain, shared = inference_net(), inference_net(share=True, keep=["conv2_1"])
    wanted = plain.forward(data=x, blobs=["conv2_1"])
    np.testing.assert_array_equal(shared.forward(data=x, blobs=["conv2_1"])["conv2_1"], wanted["conv2_1"])
    np.testing.assert_array_equal(shared.forward(data=x, end="relu3_1")["conv3_1"], plain.blobs["conv3_1"].data)


def test_inputs_losses_and_outputs_stay_readable():
    net = train_net(share=True)
    net.forward_loss()
    net.backward()
    assert net.blobs["seg-loss"].data > 0 and net.blobs["seg-accuracy"].data >= 0
    assert net.blobs["data"].data.any()


def test_a_gradient_that_no_layer_writes_stays_zero():
    # the accuracy's share of the score: Split adds it to the loss's
    net = train_net(share=True)
    for _ in range(2):
        net.forward_loss()
        net.backward()
    unread = [name for name in net.blobs if name.startswith("seg-score_seg-score-voc_0_split")]
    assert len(unread) == 2
    assert any(not net._named_blobs[name].host_diff.any() for name in unread)


def test_backward_without_the_data_is_refused():
    net = inference_net(share=True)
    with pytest.raises(NetError, match="share=True in TEST"):
        net.backward()


def test_keep_names_blobs_of_the_net():
    with pytest.raises(NetError, match="no blob of the net: conv9"):
        inference_net(share=True, keep=["conv9"])


def test_force_backward_in_test_keeps_the_data():
    text = """force_backward: true
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
    layer { name: "b" type: "ReLU" bottom: "a" top: "b" }
    layer { name: "c" type: "InnerProduct" bottom: "b" top: "c" inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
    """
    results = []
    for share in (False, True):
        net = Net(parse(text, caffe_pb2.NetParameter()), TEST, seed=1, share=share)
        net.forward(x=np.arange(6).reshape(2, 3))
        results.append(net.backward(c=np.ones((2, 3)))["x"].copy())
    np.testing.assert_array_equal(*results)
