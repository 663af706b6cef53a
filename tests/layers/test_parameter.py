"""Parameter: a parameter as a blob."""

import numpy as np
import pytest
from arrays import numbers
from gradient_check import check_gradients
from one_layer import OneLayer
from tiny_training import dummy_solver

from deconvnet.core.net import Net, NetError, data_shapes, with_inputs
from deconvnet.core.proto import caffe_pb2, parse
from deconvnet.core.solver import SGDSolver, training_need

# the loss pulls the parameter `w` towards `x` by ReLU in place, which must not overwrite the parameter
NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "own" type: "Parameter" top: "w" parameter_param { shape { dim: 2 dim: 3 } } }
layer { name: "relu" type: "ReLU" bottom: "w" top: "w" }
layer { name: "loss" type: "EuclideanLoss" bottom: "w" bottom: "x" top: "loss" }
"""
VALUES = np.array([[1, -2, 3], [-4, 5, -6]], float)


def net(text=NET, phase=caffe_pb2.TRAIN, **options):
    built = Net(parse(text, caffe_pb2.NetParameter()), phase, dtype=np.float64, **options)
    built.params["own"][0].data[...] = VALUES
    return built


@pytest.mark.parametrize("dims", [[], [1], [5], [2, 3], [2, 1, 3, 2], [2, 0]])
def test_the_top_is_the_parameter_which_starts_at_0_and_adds_its_gradient(device, dims):
    text = " ".join(f"dim: {size}" for size in dims)
    case = OneLayer(f'type: "Parameter" parameter_param {{ shape {{ {text} }} }}')
    (y,) = case.forward()
    assert y.shape == tuple(dims)
    np.testing.assert_array_equal(y, 0)
    case.parameters[0][...] = numbers(*dims)
    np.testing.assert_array_equal(case.forward()[0], numbers(*dims))
    check_gradients(case)


def test_one_that_does_not_learn_gets_no_gradient(device):
    case = OneLayer('type: "Parameter" parameter_param { shape { dim: 2 } }')
    case.layer.param_propagate_down = [False]
    case.forward()
    case.backward(np.ones(2))
    np.testing.assert_array_equal(case.parameter_diffs[0], 0)


def test_a_shape_is_needed():
    with pytest.raises(ValueError, match="parameter_param.shape is missing: write shape { } for a single value"):
        OneLayer('type: "Parameter"')


@pytest.mark.parametrize(
    "options", [{}, {"share": True}, {"phase": caffe_pb2.TEST}, {"phase": caffe_pb2.TEST, "share": True}]
)
def test_layers_above_leave_the_parameter_as_it_is(device, options):
    built = net(**options)
    for _ in range(2):
        loss = built.forward_loss()
        np.testing.assert_array_equal(built.params["own"][0].data, VALUES)
    assert loss == (np.maximum(VALUES, 0) ** 2).sum() / 4


def test_gradients_of_several_passes_add_up_until_they_are_cleared(device):
    built, once = net(), np.maximum(VALUES, 0) / 2
    for passes in (1, 2, 3):
        built.forward()
        built.backward()
        np.testing.assert_array_equal(built.params["own"][0].diff, passes * once)
    built.clear_param_diffs()
    np.testing.assert_array_equal(built.params["own"][0].diff, 0)


def test_two_layers_of_one_name_of_parameter_hold_one_and_sum_their_gradients(device):
    text = (
        NET.replace('top: "w" parameter', 'top: "w" param { name: "shared" } parameter')
        + """
    layer { name: "other" type: "Parameter" top: "v" param { name: "shared" } parameter_param { shape { dim: 2 dim: 3 } } }
    layer { name: "pull" type: "EuclideanLoss" bottom: "v" bottom: "x" top: "pull" }
    """
    )
    built = net(text)
    built.forward()
    built.backward()
    np.testing.assert_array_equal(built.params["other"][0].data, VALUES)
    np.testing.assert_array_equal(built.params["own"][0].diff, np.maximum(VALUES, 0) / 2 + VALUES / 2)


def test_a_weight_of_another_layer_can_be_shared_with_it(device):
    """So a net can be pulled towards small weights, or two layers tied by a loss."""
    text = (
        NET.replace('top: "w" parameter', 'top: "w" param { name: "shared" } parameter')
        + """
    layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" param { name: "shared" }
      inner_product_param { num_output: 2 bias_term: false } }
    """
    )
    built = net(text)
    x = numbers(2, 3)
    np.testing.assert_allclose(built.forward(x=x)["y"], x @ VALUES.T, rtol=1e-14)


def test_force_backward_gives_a_gradient_without_a_loss(device):
    built = net(NET[: NET.index('layer { name: "relu"')] + "force_backward: true")
    built.forward()
    built.backward(w=np.ones((2, 3)))
    np.testing.assert_array_equal(built.params["own"][0].diff, 1)


@pytest.mark.parametrize("iter_size", [1, 4])
def test_a_solver_moves_it_whatever_the_iter_size(device, iter_size):
    constants = """layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 dim: 3 } data_filler { value: 8 } } }
    layer { name: "own" type: "Parameter" top: "w" parameter_param { shape { dim: 1 dim: 3 } } }
    layer { name: "loss" type: "EuclideanLoss" bottom: "w" bottom: "x" top: "loss" }"""
    fields = f"base_lr: 0.5 momentum: 0 weight_decay: 0 iter_size: {iter_size}"
    solver = SGDSolver(dummy_solver(fields, constants))
    for expected in (4, 6, 7):
        solver.step(1)
        np.testing.assert_array_equal(solver.net.params["own"][0].data, expected)


@pytest.mark.parametrize("suffix", ["caffemodel", "caffemodel.h5", "npz", "safetensors"])
def test_weights_go_out_and_in(device, tmp_path, suffix):
    path = tmp_path / f"w.{suffix}"
    net().save(path)
    loaded = Net(parse(NET, caffe_pb2.NetParameter()), caffe_pb2.TEST, weights=path)
    np.testing.assert_array_equal(loaded.params["own"][0].data, VALUES)
    np.testing.assert_array_equal(loaded.forward(end="own")["w"], VALUES)


def test_weights_of_another_size_are_refused_in_one_line(tmp_path):
    net().save(tmp_path / "w.caffemodel")
    other = Net(parse(NET.replace("dim: 2 dim: 3", "dim: 2 dim: 2"), caffe_pb2.NetParameter()), caffe_pb2.TEST)
    with pytest.raises(
        NetError, match=r"parameter 0 of layer 'own' has the shape \(2, 3\) there and \(2, 2\) in the net"
    ):
        other.copy_from(tmp_path / "w.caffemodel")


def test_it_is_no_data_that_inputs_could_replace():
    param = parse(NET, caffe_pb2.NetParameter())
    assert data_shapes(param, 7) == {"x": (7, 3)}
    with pytest.raises(NetError, match="'w' is no input or data of the net: those are x"):
        with_inputs(param, {"w": (1, 1)})


def test_a_predicted_memory_counts_it_with_gradient_and_momentum():
    large = NET.replace("dim: 2 dim: 3", "dim: 64 dim: 500")
    need = training_need(dummy_solver("momentum: 0.9", large))
    assert [need.parameters, need.gradients, need.momentum] == [4 * 64 * 500] * 3
