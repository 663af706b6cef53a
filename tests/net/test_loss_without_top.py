"""Losses whose prototxt names no top, as those of old nets do: Caffe gives them one."""

import numpy as np
import pytest
from tiny_training import DUMMY_NET

from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2, parse

UNNAMED = DUMMY_NET.replace('bottom: "label" top: "loss"', 'bottom: "label"')
V1 = """
layers { name: "data" type: DUMMY_DATA top: "data" top: "label"
  dummy_data_param { num: 4 channels: 2 height: 1 width: 1 num: 4 channels: 1 height: 1 width: 1 data_filler { type: "gaussian" }
    data_filler { type: "constant" } } }
layers { name: "ip" type: INNER_PRODUCT bottom: "data" top: "ip" inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "ip" bottom: "label" %s }
"""


def net(text, phase=caffe_pb2.TRAIN, **given):
    return Net(parse(text, caffe_pb2.NetParameter()), phase, seed=1, **given)


@pytest.mark.parametrize("share", [False, True])
def test_it_trains_as_one_with_a_named_top_does(share):
    named, unnamed = net(DUMMY_NET), net(UNNAMED, share=share)
    assert named.forward_loss() == unnamed.forward_loss() > 0
    for one in (named, unnamed):
        one.backward()
    for ours, theirs in zip(unnamed.params["conv"], named.params["conv"], strict=True):
        assert ours.diff.any()
        np.testing.assert_array_equal(ours.diff, theirs.diff)


def test_its_loss_weight_counts():
    twice = UNNAMED.replace('name: "loss"', 'name: "loss" loss_weight: 2')
    assert net(twice).forward_loss() == pytest.approx(2 * net(DUMMY_NET).forward_loss())


def test_its_top_is_no_output_also_after_the_way_through_a_file(tmp_path):
    test = net(UNNAMED, caffe_pb2.TEST)
    test.save(tmp_path / "w.caffemodel")
    stored = caffe_pb2.NetParameter.FromString((tmp_path / "w.caffemodel").read_bytes())
    assert test.outputs == Net(stored, caffe_pb2.TEST).outputs == ["accuracy"]
    assert net(UNNAMED).outputs == []


def test_v1_losses_too():
    assert net(V1 % "").forward_loss() == net(V1 % 'top: "loss"').forward_loss() > 0


def test_other_layers_need_their_tops():
    with pytest.raises(NetError, match=r"layer 'accuracy' \(Accuracy\): takes 1 to 2 tops, not 0"):
        net(UNNAMED.replace('top: "accuracy" include', "include"), caffe_pb2.TEST)
