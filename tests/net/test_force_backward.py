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
