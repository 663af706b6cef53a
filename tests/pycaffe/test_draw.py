"""caffe.draw: pictures of nets, by a stand-in for graphviz's program."""

import pytest
from google.protobuf import text_format

import deconvnet as caffe
import deconvnet.draw
from deconvnet.proto import caffe_pb2

NET = """
layer { name: "data" type: "Input" top: "data" }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" param { lr_mult: 3 } inner_product_param { num_output: 5 } }
layer { name: "dropped" type: "Dropout" bottom: "ip" top: "ip" include { phase: TRAIN } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" include { phase: TEST } }
"""


@pytest.fixture
def net():
    return text_format.Parse(NET, caffe_pb2.NetParameter())


@pytest.fixture
def dot(tmp_path, monkeypatch):
    """A program that says how it was called and repeats the graph."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "dot"
    program.write_text('#!/bin/sh\necho "drawn $@"\n/bin/cat\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.mark.parametrize(
    "phase, there", [(None, {"dropped", "prob"}), (caffe.TRAIN, {"dropped"}), (caffe.TEST, {"prob"})]
)
def test_the_layers_of_a_phase_or_of_both_are_drawn(dot, net, phase, there):
    picture = deconvnet.draw.draw_net(net, "TB", phase=phase).decode()
    assert picture.startswith("drawn -Tpng\n") and "rankdir=TB" in picture
    assert {name for name in ("dropped", "prob") if name in picture} == there


def test_a_file_takes_the_form_of_its_suffix(dot, net, tmp_path):
    deconvnet.draw.draw_net_to_file(net, str(tmp_path / "net.svg"), display_lrm=True)
    picture = (tmp_path / "net.svg").read_text()
    assert picture.startswith("drawn -Tsvg\n") and "rankdir=LR" in picture and "lr mult: 3" in picture


def test_the_graph_as_text_needs_no_program(net, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    deconvnet.draw.draw_net_to_file(net, str(tmp_path / "net.dot"))
    assert (tmp_path / "net.dot").read_text().startswith("digraph")
    with pytest.raises(caffe.NetError, match="the program dot is not installed: install graphviz"):
        deconvnet.draw.draw_net(net, "LR")


def test_old_syntax_is_drawn_too(net):
    old = text_format.Parse('layers { name: "relu" type: RELU bottom: "a" top: "b" }', caffe_pb2.NetParameter())
    assert b"relu\\nReLU" in deconvnet.draw.draw_net(old, "LR", ext="dot")


def test_a_direction_that_graphviz_does_not_know_is_from_top_to_bottom(net):
    """DIGITS asks for UD."""
    picture = deconvnet.draw.draw_net(net, "UD", ext="dot")
    assert picture == deconvnet.draw.draw_net(net, "TB", ext="dot") != deconvnet.draw.draw_net(net, "LR", ext="dot")
