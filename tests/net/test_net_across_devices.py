"""Every layer of a whole net on the CPU and on a GPU, each from the same numbers: the same results forward and backward.

Layer by layer, because a whole pass tells little: where two values of a pooling window are nearly equal, or batch norm has few values
of a channel, rounding alone sends it another way.
"""

from pathlib import Path

import numpy as np
import pytest

from deconvnet.core import kernels
from deconvnet.core.net import Net, data_shapes, with_inputs
from deconvnet.core.proto import caffe_pb2, filter_net, read_net

PROTOTXT = Path(__file__).resolve().parents[2] / "prototxt"
TOLERANCE = 1e-4
BATCH = 4  # with two images batch norm over maps of 1x1 has no gradient but rounding


def train_net(model):
    """A train net with its inputs filled in the place of its data layers."""
    train = filter_net(read_net(PROTOTXT / model), caffe_pb2.NetState(phase=caffe_pb2.TRAIN))
    net = Net(with_inputs(train, data_shapes(train, BATCH)), caffe_pb2.TRAIN, seed=3)
    draw = np.random.default_rng(4)
    net.blobs["data"].data[...] = draw.normal(0, 50, net.blobs["data"].shape)
    net.blobs["label"].data[...] = draw.integers(0, 3, net.blobs["label"].shape)
    return net


def computed(mode, layer, inputs, bottom, top):
    """What the layer writes in the mode, from values of its bottoms and drawn gradients of its tops: {what: array}."""
    kernels.set_mode(mode)
    for blob, values in zip(bottom, inputs, strict=True):
        blob.host_data[...] = values
    layer.forward(bottom, top)
    found = {f"top {number}": blob.host_data.copy() for number, blob in enumerate(top)}
    if not layer.may_need_backward:
        return found
    for number, blob in enumerate(top):
        blob.host_diff[...] = layer.loss_weights[number] or np.random.default_rng(number).normal(size=blob.shape)
    for blob in layer.blobs:
        blob.host_diff[...] = 0
    layer.backward(top, [number == 0 for number in range(len(bottom))], bottom)
    found["gradient of bottom 0"] = bottom[0].host_diff.copy()
    return found | {f"gradient of parameter {n}": blob.host_diff.copy() for n, blob in enumerate(layer.blobs)}


@pytest.mark.parametrize("model", ["demo/stage2_train_val.prototxt", "deconvnet_stage2_train_val.prototxt"])
def test_every_layer_gives_on_a_gpu_what_it_gives_on_the_cpu(gpu, model):
    if gpu != "gpu" and not model.startswith("demo"):
        pytest.skip("the full net takes too long where the host does the work of a GPU")
    off = {}
    for layer, bottom, top in train_net(model).connections():
        inputs = [blob.host_data.copy() for blob in bottom]
        found = computed("gpu", layer, inputs, bottom, top)
        for what, expected in computed("cpu", layer, inputs, bottom, top).items():
            off[layer.name, what] = np.linalg.norm(found[what] - expected) / max(np.linalg.norm(expected), 1e-30)
    assert len(off) > 50
    assert {place: share for place, share in off.items() if not share < TOLERANCE} == {}
