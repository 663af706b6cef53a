"""A bottom that no layer makes: what is said of it."""

import pytest

from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2, parse

NET = """
layer { name: "images" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } include { phase: TRAIN } include { stage: "deploy" } }
layer { name: "relu" type: "ReLU" bottom: "%s" top: "relu" }
"""


def error(bottom):
    with pytest.raises(NetError) as raised:
        Net(parse(NET % bottom, caffe_pb2.NetParameter()), caffe_pb2.TEST)
    return str(raised.value)


def test_a_layer_that_makes_it_under_other_rules_is_named_with_them():
    assert error("data") == (
        "net: layer 'relu' (ReLU): no layer before it makes its bottom 'data'; layer 'images' makes it, but takes no part in this "
        'phase, level and stages: include { phase: TRAIN } include { stage: "deploy" }'
    )


@pytest.mark.parametrize("rules", ["include { phase: TEST }", "exclude { phase: TRAIN }"])
def test_a_layer_that_takes_part_or_only_reads_it_is_not_named(rules):
    reader = f'layer {{ name: "r" type: "ReLU" bottom: "dat" top: "dat" {rules} }}'
    data = 'layer { name: "d" type: "Input" top: "data" input_param { shape { dim: 1 } } }'
    with pytest.raises(NetError, match="makes its bottom 'dat'; did you mean 'data'"):
        Net(parse(data + reader, caffe_pb2.NetParameter()), caffe_pb2.TEST)


def test_one_that_nobody_makes_is_said_alone():
    assert error("gone").endswith("no layer before it makes its bottom 'gone'")
