"""MemoryData: arrays from Python, batch by batch."""

import numpy as np
import pytest
from arrays import numbers

from deconvnet.core import proto
from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2

TEXT = """
layer { name: "memory" type: "MemoryData" top: "data" top: "label"
        memory_data_param { batch_size: 2 channels: 3 height: 4 width: 5 } %s }
layer { name: "doubled" type: "Power" bottom: "data" top: "doubled" power_param { scale: 2 } }
"""


def net_of(text=TEXT % ""):
    return Net(proto.parse(text, caffe_pb2.NetParameter()), caffe_pb2.TRAIN)


@pytest.mark.parametrize("label_shape", [(6,), (6, 1, 1, 1)])
def test_batches_come_in_order_and_over_again(device, label_shape):
    net, data, labels = (
        net_of(),
        numbers(6, 3, 4, 5, dtype=np.float32),
        np.arange(6, dtype=np.float32).reshape(label_shape),
    )
    net.set_input_arrays(data, labels)
    for first in (0, 2, 4, 0):
        found = net.forward()
        np.testing.assert_array_equal(found["label"], labels[first : first + 2].reshape(2, 1, 1, 1))
        np.testing.assert_array_equal(found["doubled"], 2 * data[first : first + 2])


def test_new_arrays_start_from_their_first_item(device):
    net = net_of()
    net.set_input_arrays(np.zeros((4, 3, 4, 5)), np.arange(4))
    net.forward()
    net.set_input_arrays(np.zeros((2, 3, 4, 5)), np.array([7, 8]))
    assert net.forward()["label"].ravel().tolist() == [7, 8]


def test_a_position_continues_the_run(device):
    net = net_of()
    net.set_input_arrays(np.zeros((6, 3, 4, 5)), np.arange(6))
    net.forward()
    assert net.layers_by_name()["memory"].position == 2
    net.layers_by_name()["memory"].position = 10
    assert net.forward()["label"].ravel().tolist() == [4, 5]


def test_a_net_without_its_arrays_says_what_to_call():
    with pytest.raises(NetError, match=r"layer 'memory' \(MemoryData\): has no arrays: call net.set_input_arrays"):
        net_of().forward()


@pytest.mark.parametrize(
    "data, labels, said",
    [
        ((4, 3, 4, 6), (4,), r"data must have the shape \(N, 3, 4, 5\), not \(4, 3, 4, 6\)"),
        ((4, 3, 4, 5), (4, 2), r"one label an item: 4 items, labels of shape \(4, 2\)"),
        ((3, 3, 4, 5), (3,), "must be a multiple of batch_size 2, not 3"),
        ((0, 3, 4, 5), (0,), "must be a multiple of batch_size 2, not 0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(data, labels, said):
    with pytest.raises(NetError, match=said):
        net_of().set_input_arrays(np.zeros(data), np.zeros(labels))


def test_what_cannot_be_is_refused():
    with pytest.warns(UserWarning, match="layer 'memory' .MemoryData.: transform_param does not apply to arrays"):
        net_of(TEXT % "transform_param { mirror: true }")
    with pytest.raises(NetError, match="needs batch_size, channels, height and width of at least 1"):
        net_of(TEXT.replace("height: 4", "") % "")
    with pytest.raises(NetError, match="needs a MemoryData layer, and there is none"):
        net_of('layer { name: "x" type: "Input" top: "x" }').set_input_arrays(np.zeros((2, 3, 4, 5)), np.zeros(2))
