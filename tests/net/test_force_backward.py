"""Net.force_backward: gradients where no loss asks for them."""

import numpy as np
import pytest

from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2, parse

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 weight_filler { value: 0.5 } } }
"""


def net(**options):
    return Net(parse(NET, caffe_pb2.NetParameter()), caffe_pb2.TRAIN, **options)


@pytest.mark.parametrize("forced, expected", [(False, 0), (True, 2)])
def test_a_net_without_a_loss_runs_backward_when_it_is_forced(forced, expected):
    built = net()
    if forced:
        built.force_backward()
    built.forward()
    built.backward(ip=np.array([[1, 3]]))
    assert (built.blobs["data"].diff == expected).all()


def test_a_net_whose_memory_is_planned_for_other_passes_refuses():
    with pytest.raises(NetError, match="make it without share"):
        net(share=True).force_backward()


@pytest.mark.parametrize("layer", ["BN", "Scale", "PReLU"])
def test_in_test_a_layer_in_place_says_that_it_kept_nothing_for_backward_unless_it_is_forced(layer):
    text = NET.replace("dim: 1 dim: 2", "dim: 1 dim: 2 dim: 1 dim: 1") + (
        f'layer {{ name: "own" type: "{layer}" bottom: "ip" top: "ip" bn_param {{ bn_mode: INFERENCE }} }}'
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }'
    )
    text = 'layer { name: "label" type: "DummyData" top: "label" dummy_data_param { shape { dim: 1 } } }' + text
    for forced in (False, True):
        built = Net(parse(text, caffe_pb2.NetParameter()), caffe_pb2.TEST)
        if forced:
            built.force_backward()
        built.forward(data=-np.ones((1, 2, 1, 1)))
        if not forced:
            with pytest.raises(NetError, match=r"layer 'own' .* in TEST, write force_backward: true or call"):
                built.backward()
        else:
            built.backward()
            assert built.params["own"][0].diff.any()
