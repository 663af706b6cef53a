"""Lstm of caffe-lstm and CTPN: an LSTM by another name, whose gradients may be bounded, and CTPN's use of it."""

import numpy as np
import pytest
from arrays import numbers
from gradient_check import check_gradients
from one_layer import OneLayer
from test_recurrent import CONTS, FILLERS, define, sigmoid

import deconvnet as caffe
from deconvnet.core import proto
from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2

STEPS, STREAMS, SIZE = 4, 3, 2
ONE_SEQUENCE = np.arange(STEPS)[:, None] * np.ones(STREAMS) > 0


def layer_of(*cont, more="", **options):
    x = numbers(STEPS, STREAMS, 5)
    return OneLayer(f'type: "Lstm" lstm_param {{ num_output: {SIZE} {FILLERS} {more} }}', x, *cont, **options)


def reordered(parameters):
    """As `define` has them."""
    inputs, hidden, bias = parameters
    return inputs, bias, hidden


@pytest.mark.parametrize("cont", CONTS)
def test_the_outputs_are_those_of_an_lstm_with_the_same_parameters(device, cont):
    case = layer_of(CONTS[cont](STEPS, STREAMS))
    expected, _ = define("LSTM", reordered(case.parameters), *case.inputs)
    np.testing.assert_allclose(case.forward()[0], expected, rtol=1e-12, atol=1e-13)
    assert [values.shape for values in case.parameters] == [(8, 5), (8, 2), (8,)]


def test_without_a_second_bottom_every_pass_is_one_sequence(device):
    case = layer_of()
    expected, _ = define("LSTM", reordered(case.parameters), case.inputs[0], ONE_SEQUENCE)
    for _ in range(2):
        np.testing.assert_allclose(case.forward()[0], expected, rtol=1e-12, atol=1e-13)


def test_with_one_a_pass_goes_on_from_the_states_of_the_last(device):
    case = layer_of(CONTS["all go on"](STEPS, STREAMS))
    twice = [np.concatenate([values, values]) for values in case.inputs]
    expected, _ = define("LSTM", reordered(case.parameters), *twice)
    found = np.concatenate([case.forward()[0].copy() for _ in range(2)])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("cont", [(), (ONE_SEQUENCE * CONTS["some begin within"](STEPS, STREAMS),)])
def test_gradients(device, cont):
    check_gradients(layer_of(*cont))


def bounded_gradients(parameters, x, dy, bound):
    """Of x and of the parameters, by going back step by step through one sequence; the sums' gradients are held within the bound."""
    inputs, hidden, bias = parameters
    states, h, c = [], np.zeros(dy.shape[1:]), np.zeros(dy.shape[1:])
    for x_t in x:
        i, f, o, g = np.split(x_t @ inputs.T + h @ hidden.T + bias, 4, axis=1)
        i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
        states.append((h, c, i, f, o, g))
        c = f * c + i * g
        h = o * np.tanh(c)
    dx, dw, dh, dc = np.zeros_like(x), [np.zeros_like(values) for values in parameters], 0, 0
    for t in reversed(range(len(x))):
        before, cell, i, f, o, g = states[t]
        tanh = np.tanh(f * cell + i * g)
        s = dy[t] + dh
        dc = dc + s * o * (1 - tanh**2)
        sums = [dc * g * i * (1 - i), dc * cell * f * (1 - f), s * tanh * o * (1 - o), dc * i * (1 - g**2)]
        d = np.clip(np.concatenate(sums, axis=1), -bound, bound)
        dx[t], dh, dc = d @ inputs, d @ hidden, dc * f
        for sum_, part in zip(dw, (d.T @ x[t], d.T @ before, d.sum(axis=0)), strict=True):
            sum_ += part
    return dx, dw


@pytest.mark.parametrize("bound", [0.05, 0.3, 1e9])
def test_gradients_of_the_gates_sums_are_held_within_the_threshold(device, bound):
    case, dy = layer_of(more=f"clipping_threshold: {bound}"), numbers(STEPS, STREAMS, SIZE, seed=3)
    case.forward()
    dx, dw = bounded_gradients(case.parameters, case.inputs[0], dy, np.float32(bound))
    np.testing.assert_allclose(case.backward(dy)[0], dx, rtol=1e-11, atol=1e-13)
    for found, expected in zip(case.parameter_diffs, dw, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


# what lies between CTPN's VGG-16 and its 1x1 convolutions, in small
CTPN = """
layer { name: "conv5" type: "Input" top: "conv5" input_param { shape { dim: 1 dim: 2 dim: 3 dim: 5 } } }
layer { name: "im2col" type: "Im2col" bottom: "conv5" top: "im2col" convolution_param { pad: 1 kernel_size: 3 } }
layer { name: "transpose" type: "Transpose" bottom: "im2col" top: "transposed" transpose_param { dim: 3 dim: 2 dim: 0 dim: 1 } }
layer { name: "lstm_input" type: "Reshape" bottom: "transposed" top: "lstm_input" reshape_param { shape { dim: -1 } axis: 1 num_axes: 2 } }
layer { name: "lstm" type: "Lstm" bottom: "lstm_input" top: "lstm" lstm_param { num_output: 4 weight_filler { type: "gaussian" std: 0.5 }
        bias_filler { type: "constant" } clipping_threshold: 1 } }
layer { name: "reverse1" type: "Reverse" bottom: "lstm_input" top: "rlstm_input" reverse_param { axis: 0 } }
layer { name: "rlstm" type: "Lstm" bottom: "rlstm_input" top: "rlstm-output" lstm_param { num_output: 4 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "reverse2" type: "Reverse" bottom: "rlstm-output" top: "rlstm" reverse_param { axis: 0 } }
layer { name: "merge" type: "Concat" bottom: "lstm" bottom: "rlstm" top: "merge" concat_param { axis: 2 } }
layer { name: "reshape" type: "Reshape" bottom: "merge" top: "reshaped" reshape_param { shape { dim: -1 dim: 1 } axis: 1 num_axes: 1 } }
layer { name: "output" type: "Transpose" bottom: "reshaped" top: "output" transpose_param { dim: 2 dim: 3 dim: 1 dim: 0 } }
"""


def test_ctpn_reads_each_row_of_a_map_in_both_directions(device):
    """A map mirrored left to right, with the two directions' parameters changed for each other, gives the halves of its output mirrored."""
    net = Net(proto.parse(CTPN, caffe_pb2.NetParameter()), caffe.TEST, seed=1)
    x = numbers(1, 2, 3, 5).astype(np.float32)
    there = net.forward(conv5=x)["output"].copy()
    assert there.shape == (1, 8, 3, 5)
    for number in range(3):
        one, other = net.params["lstm"][number].data, net.params["rlstm"][number].data
        one[...], other[...] = other.copy(), one.copy()
    weights = [net.params[name][0].data for name in ("lstm", "rlstm")]
    for array in weights:  # the columns of a window, mirrored too
        array[...] = array.reshape(16, 2, 3, 3)[..., ::-1].reshape(16, 18)
    back = net.forward(conv5=x[..., ::-1])["output"][..., ::-1]
    np.testing.assert_allclose(back, np.concatenate([there[:, 4:], there[:, :4]], axis=1), rtol=1e-5, atol=1e-6)
