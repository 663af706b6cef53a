"""A net as DOT text."""

import re
from pathlib import Path

import pytest

from deconvnet.core.net import dot_source
from deconvnet.core.proto import caffe_pb2, filter_net, parse, read_net

ROOT = Path(__file__).resolve().parents[2]

NET = """
name: "a \\"net\\""
layer { name: "data" type: "Input" top: "data" }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 8 kernel_size: 3 stride: 2 } }
layer { name: "bn" type: "BN" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" top: "mask" pooling_param { kernel_h: 2 kernel_w: 3 } }
layer { name: "up" type: "Unpooling" bottom: "pool" bottom: "mask" top: "up" }
layer { name: "sum" type: "Eltwise" bottom: "up" bottom: "conv" top: "sum" }
"""


def graph(text=NET, **options):
    return dot_source(parse(text, caffe_pb2.NetParameter()), **options)


def boxes(source):
    """The labels of the boxes, in order."""
    return [label.split("\\n") for label in re.findall(r'^  n\d+ \[label="(.*?)", fillcolor', source, re.MULTILINE)]


def arrows(source):
    """(from, to, label) by the names of the boxes."""
    names = [label[0] for label in boxes(source)]
    found = re.findall(r'^  n(\d+) -> n(\d+) \[label="(.*)"\];$', source, re.MULTILINE)
    return [(names[int(a)], names[int(b)], label) for a, b, label in found]


def test_a_box_is_a_layer_with_those_that_work_on_its_top_in_place():
    assert boxes(graph()) == [
        ["data", "Input"],
        ["conv", "Convolution 8, 3x3 / 2", "BN: bn", "ReLU: relu"],
        ["pool", "Pooling 2x3"],
        ["up", "Unpooling"],
        ["sum", "Eltwise"],
    ]


def test_arrows_are_blobs_named_where_they_are_not_called_as_their_layer():
    assert arrows(graph()) == [
        ("data", "conv", ""),
        ("conv", "pool", ""),
        ("pool", "up", ""),
        ("pool", "up", "mask"),
        ("up", "sum", ""),
        ("conv", "sum", ""),
    ]


def test_what_no_layer_reads_is_an_output():
    assert re.findall(r'out\d+ \[label="(.*?)", shape=ellipse', graph()) == ["sum"]


def test_shapes_stand_on_the_arrows_and_outputs():
    source = graph(shapes={"conv": (1, 8, 5, 5), "mask": (1, 8, 2, 2), "sum": (2,)})
    assert ("conv", "pool", "1x8x5x5") in arrows(source)
    assert ("pool", "up", r"mask\n1x8x2x2") in arrows(source)
    assert 'label="sum\\n2", shape=ellipse' in source


def test_names_are_quoted():
    assert graph().startswith('digraph "a \\"net\\"" {')


def test_the_direction_is_chosen():
    assert "rankdir=LR;" in graph(direction="LR")
    with pytest.raises(ValueError, match="no such direction: up; it is one of TB, LR, BT, RL"):
        graph(direction="up")


def test_rates_stand_in_the_boxes_of_layers_that_give_them():
    rated = NET.replace(
        'top: "conv" convolution_param', 'top: "conv" param { lr_mult: 1 } param { lr_mult: 0.5 } convolution_param'
    )
    assert boxes(graph(rated, rates=True))[1] == [
        "conv",
        "Convolution 8, 3x3 / 2",
        "lr mult: 1, 0.5",
        "BN: bn",
        "ReLU: relu",
    ]
    assert boxes(graph(rated)) == boxes(graph())
    assert boxes(graph(rates=True)) == boxes(graph())


@pytest.mark.parametrize("path", sorted((ROOT / "prototxt").rglob("*.prototxt")), ids=lambda path: path.name)
def test_every_layer_of_our_nets_is_drawn(path):
    net = filter_net(read_net(path), caffe_pb2.NetState(phase=caffe_pb2.TRAIN))
    drawn = {
        line.split(": ")[-1] if number else line
        for box in boxes(dot_source(net))
        for number, line in enumerate(box)
        if number != 1
    }
    assert drawn == {layer.name for layer in net.layer}
