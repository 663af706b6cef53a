"""debug_info: what a net logs of all that it computes, in Caffe's words."""

import re

import numpy as np
import pytest

from deconvnet.core import proto
from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2
from deconvnet.core.solver import SGDSolver

NET = """
debug_info: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" param { name: "shared" } param { lr_mult: 0 }
  inner_product_param { num_output: 2 weight_filler { value: 0.5 } bias_filler { value: -1 } } }
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }
layer { name: "top" type: "InnerProduct" bottom: "ip" top: "top" inner_product_param { num_output: 2 bias_term: false } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "top" bottom: "label" top: "loss" }
"""


def net(text=NET):
    built = Net(proto.parse(text, caffe_pb2.NetParameter()), caffe_pb2.TRAIN)
    built.blobs["data"].data[...] = [7, -1]
    built.params["top"][0].data[...] = [[1, 0], [0, 0.5]]
    return built


def said(capsys):
    """The lines without their prefix."""
    return [re.sub(r"^\S+ \S+ +\d+ \S+\] ", "", line) for line in capsys.readouterr().err.splitlines()]


def test_forward_tells_tops_and_parameters_of_every_layer(device, capsys):
    net().forward()
    assert said(capsys) == [
        "    [Forward] Layer data, top blob data data: 4",
        "    [Forward] Layer label, top blob label data: 0",
        "    [Forward] Layer ip, top blob ip data: 2",
        "    [Forward] Layer ip, param blob shared data: 0.5",
        "    [Forward] Layer ip, param blob 1 data: 1",
        "    [Forward] Layer relu, top blob ip data: 2",
        "    [Forward] Layer top, top blob top data: 1.5",
        "    [Forward] Layer top, param blob 0 data: 0.375",
        f"    [Forward] Layer loss, top blob loss data: {np.log(1 + np.exp(-1)):g}",
    ]


def test_backward_tells_the_gradients_that_are_computed_and_the_norms_of_all_parameters(device, capsys):
    built = net()
    built.forward()
    said(capsys)
    built.backward()
    score = 1 / (1 + np.exp(1))  # of the class that is not the label; the gradient of the scores is (-score, score)
    below = np.array([-score, score / 2])
    of_ip, of_top = np.outer(below, [7, -1]), np.outer([-score, score], [2, 2])
    one = np.abs(of_ip).sum() + np.abs(of_top).sum()
    two = np.sqrt((of_ip**2).sum() + (of_top**2).sum())
    assert said(capsys) == [
        f"    [Backward] Layer loss, bottom blob top diff: {score:g}",
        f"    [Backward] Layer top, bottom blob ip diff: {np.abs(below).mean():g}",
        f"    [Backward] Layer top, param blob 0 diff: {np.abs(of_top).mean():g}",
        f"    [Backward] Layer relu, bottom blob ip diff: {np.abs(below).mean():g}",
        f"    [Backward] Layer ip, param blob shared diff: {np.abs(of_ip).mean():g}",
        f"    [Backward] All net params (data, diff): L1 norm = (5.5, {one:g}); L2 norm = ({np.sqrt(4.25):g}, {two:g})",
    ]


def test_a_net_that_is_not_asked_says_nothing(capsys):
    built = net(NET.replace("debug_info: true", ""))
    built.forward()
    built.backward()
    assert said(capsys) == []


@pytest.mark.parametrize("asked", ["true", "false"])
def test_a_solver_that_is_asked_asks_its_nets(capsys, asked):
    fields = f'base_lr: 0.1 lr_policy: "fixed" test_iter: 1 test_interval: 9 display: 2 debug_info: {asked} net_param {{ {NET} }}'
    solver = SGDSolver(proto.parse(fields.replace("debug_info: true\n", ""), caffe_pb2.SolverParameter()))
    said(capsys)
    solver.test()
    tested = said(capsys)
    solver.step(1)
    trained = said(capsys)
    assert any("[Forward] Layer ip" in line for line in tested) == (asked == "true")
    assert any("[Backward] All net params" in line for line in trained) == (asked == "true")
    solver.step(1)  # not displayed: Caffe logs nothing of it either
    assert said(capsys) == []
