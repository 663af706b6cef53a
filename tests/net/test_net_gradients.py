"""Gradients of whole nets by central differences in float64: splits, shared parameters, in-place layers, several losses, switches."""

import numpy as np
import pytest
from arrays import numbers

from deconvnet.core import proto
from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2

STEP = 1e-6
TOLERANCE = 1e-6  # of the largest gradient of the blob

INPUTS = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 2 dim: 5 dim: 6 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 dim: 1 dim: 5 dim: 6 } } }
"""


def conv(name, bottom, top, outputs, kind="Convolution", window="kernel_size: 3 pad: 1", param=""):
    filler = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "gaussian" std: 0.5 }'
    return (
        f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {param} '
        f"convolution_param {{ num_output: {outputs} {window} {filler} }} }}"
    )


def loss(name, bottom, weight="", ignored=""):
    return (
        f'layer {{ name: "{name}" type: "SoftmaxWithLoss" bottom: "{bottom}" bottom: "label" top: "{name}" {weight} '
        f"loss_param {{ {ignored} }} }}"
    )


def batch_norm_and_relu(blob):
    return (
        f'layer {{ name: "bn_{blob}" type: "BN" bottom: "{blob}" top: "{blob}" }}'
        f'layer {{ name: "relu_{blob}" type: "ReLU" bottom: "{blob}" top: "{blob}" }}'
    )


NETS = {
    "a blob used three times": [
        conv("a", "data", "a", 3),
        'layer { name: "b" type: "ReLU" bottom: "a" top: "b" relu_param { negative_slope: 0.3 } }',
        'layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" bottom: "a" top: "sum" eltwise_param { coeff: 1 coeff: -2 coeff: 3 } }',
        loss("loss", "sum"),
    ],
    "a blob multiplied by itself": [
        'layer { name: "square" type: "Eltwise" bottom: "data" bottom: "data" top: "square" eltwise_param { operation: PROD } }',
        conv("score", "square", "score", 3),
        loss("loss", "score"),
    ],
    "parameters shared by two layers": [
        conv("a", "data", "a", 2, param='param { name: "w" } param { name: "b" }'),
        'layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }',
        conv("c", "a", "c", 2, param='param { name: "w" } param { name: "b" }'),
        loss("loss", "c"),
    ],
    "two losses by their weights": [
        conv("a", "data", "a", 3),
        loss("first", "a", weight="loss_weight: 0.25"),
        conv("c", "a", "c", 3, window="kernel_size: 1"),
        loss("second", "c", weight="loss_weight: 2", ignored="ignore_label: 0"),
    ],
    "pooling, unpooling and batch norm in place, as DeconvNet has them": [
        conv("conv1", "data", "conv1", 4),
        batch_norm_and_relu("conv1"),
        'layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" top: "mask" '
        "pooling_param { pool: MAX kernel_size: 2 stride: 2 } }",
        conv("fc6", "pool1", "fc6", 4, window="kernel_size: 3"),
        batch_norm_and_relu("fc6"),
        conv("fc6-deconv", "fc6", "fc6-deconv", 4, kind="Deconvolution", window="kernel_size: 3"),
        'layer { name: "unpool1" type: "Unpooling" bottom: "fc6-deconv" bottom: "mask" top: "unpool1" unpooling_param { unpool: MAX } }',
        conv("deconv1", "unpool1", "deconv1", 3, kind="Deconvolution"),
        loss("loss", "deconv1"),
    ],
    "crop, concat and dropout": [
        conv("a", "data", "a", 2, window="kernel_size: 3 pad: 3"),
        'layer { name: "crop" type: "Crop" bottom: "a" bottom: "data" top: "crop" crop_param { offset: 1 offset: 2 } }',
        'layer { name: "concat" type: "Concat" bottom: "crop" bottom: "data" top: "concat" }',
        'layer { name: "drop" type: "Dropout" bottom: "concat" top: "concat" }',
        conv("score", "concat", "score", 3),
        loss("loss", "score"),
    ],
}


def build(name):
    """The net with random inputs and labels, and the positions of its drawing layers at the start."""
    definition = proto.parse(INPUTS + "\n".join(NETS[name]), caffe_pb2.NetParameter())
    net = Net(definition, caffe_pb2.TRAIN, dtype=np.float64, seed=3)
    net.blobs["data"].data[...] = numbers(2, 2, 5, 6)
    net.blobs["label"].data[...] = np.random.default_rng(0).integers(0, 2, (2, 1, 5, 6))
    return net


@pytest.mark.parametrize("name", NETS, ids=lambda name: name.replace(" ", "-"))
def test_gradients_of_every_parameter_and_of_the_input(device, name):
    net = build(name)
    net.clear_param_diffs()

    def total():
        for layer, *_ in net.connections():
            if layer.position is not None:
                layer.position = 0
        return net.forward_loss()

    total()
    net.backward()
    places = {"data": net.blobs["data"]}
    places |= {f"{layer}/{i}": blob for layer, blobs in net.params.items() for i, blob in enumerate(blobs)}
    found = {place: np.array(blob.diff) for place, blob in places.items()}
    for place, blob in places.items():
        expected = np.empty(blob.shape)
        for at in np.ndindex(blob.shape):
            held = float(blob.data[at])
            blob.data[at] = held + STEP
            above = total()
            blob.data[at] = held - STEP
            expected[at] = (above - total()) / (2 * STEP)
            blob.data[at] = held
        scale = max(1e-3, float(np.abs(expected).max()))
        error = np.abs(found[place] - expected).max() / scale
        assert error <= TOLERANCE, f"gradient of {place}: off by {error:.3g} of the largest, {scale:.3g}"


def test_a_second_backward_adds_to_the_parameters_and_rewrites_the_input(device):
    net = build("parameters shared by two layers")
    net.clear_param_diffs()
    net.forward_loss()
    net.backward()
    once = np.array(net.params["a"][0].diff), np.array(net.blobs["data"].diff)
    net.forward_loss()
    net.backward()
    np.testing.assert_allclose(net.params["c"][0].diff, 2 * once[0], rtol=1e-12)
    np.testing.assert_array_equal(net.blobs["data"].diff, once[1])
