"""RNN and LSTM over T steps of N streams: one product for the inputs of all steps, then a product and a kernel a step.

States are (N, D); W has G rows, D for an RNN and 4 D for an LSTM, whose gates are in Caffe's order: input, forget, output, candidate.
"""

import math
from typing import NamedTuple

from .bias import bias_backward
from .device import launch, workspace
from .linear import linear, linear_backward
from .neuron import neuron, neuron_backward

_RUN = 256  # RECURRENT_RUN of recurrent.cu


class RecurrentWeights(NamedTuple):
    """The parameters inputs (G, K), bias (G,), static (G, S) or None, hidden (G, D) and, of an RNN, out (D, D) and out_bias (D,).

    Or their gradients, None for those that are not wanted.
    """

    inputs: object
    bias: object
    static: object
    hidden: object
    out: object = None
    out_bias: object = None


class Sequences(NamedTuple):
    """What is read: x (T, N, K), static (N, S) or None, cont (T, N), which is 0 where a sequence begins, and the states before the first step."""

    x: object
    static: object
    cont: object
    weights: RecurrentWeights
    begin: list


class SequenceGradients(NamedTuple):
    """Where gradients go: those of x, static and begin are written, those of the weights added to; None for what is not wanted."""

    x: object
    static: object
    weights: RecurrentWeights
    begin: list


def _launch(name: str, rows: int, size: int, *arguments) -> None:
    """A kernel of recurrent.cu over `rows` rows of `size` values."""
    launch(name, rows * -(-size // _RUN), min(size, _RUN), *arguments, size)


def _scratch(like, purpose: str, *shape: int):
    """An array for the time of one call."""
    return workspace(like, math.prod(shape), f"recurrent {purpose}").reshape(shape)


def _flat(x):
    """(rows, values) of all steps."""
    return x.reshape(x.shape[0] * x.shape[1], -1)


def _project(read: Sequences, out, precision: str):
    """out (T, N, G) = the inputs by their weights; what is to be added at every step, and how far apart it lies for two streams."""
    weights = read.weights
    linear(_flat(read.x), weights.inputs, None, _flat(out), precision)
    if read.static is None:
        return weights.bias, 0
    base = _scratch(out, "base", *out.shape[1:])
    linear(read.static, weights.static, weights.bias, base, precision)
    return base, out.shape[2]


def rnn(read: Sequences, out, kept=None, precision: str = "FLOAT32"):
    """out (T, N, D) = tanh(W_o h_t + b_o) of the hidden states h_t = tanh(W_x x_t + b + W_s static + W_h cont_t h_(t-1)); returns (h_T,).

    read.begin: (h_0,); kept: for rnn_backward the array (h (T, N, D),), which is written, or None. h_T may lie in a workspace.
    """
    steps, streams, size = out.shape
    hidden = _scratch(out, "hidden", *out.shape) if kept is None else kept[0]
    base, base_step = _project(read, hidden, precision)
    product, (h,) = _scratch(out, "product", streams, size), read.begin
    for t in range(steps):
        linear(h, read.weights.hidden, None, product, precision)
        h = hidden[t]
        _launch("rnn_step", streams, size, h, base, product, read.cont[t], base_step, streams)
    linear(_flat(hidden), read.weights.out, read.weights.out_bias, _flat(out), precision)
    neuron("tanh", out, out)
    return (h,)


def rnn_backward(
    dout, dends, read: Sequences, out, kept, gradients: SequenceGradients, precision: str = "FLOAT32"
) -> None:
    """Gradients of `rnn` from dout (T, N, D) and that of h_T beside it, in the list dends (or None)."""
    (h,), (steps, streams, size), weights = kept, out.shape, read.weights
    dsum, dh = _scratch(out, "out", *out.shape), _scratch(out, "hidden", *out.shape)
    neuron_backward("tanh", dout, None, out, dsum)
    wanted = (_flat(dh), gradients.weights.out, gradients.weights.out_bias)
    linear_backward(_flat(h), weights.out, _flat(dsum), *wanted, precision)
    product, later, later_cont = _scratch(out, "product", streams, size), dends[0], None
    for t in reversed(range(steps)):
        _launch("rnn_step_backward", streams, size, dh[t], later, later_cont, h[t], streams)
        if t or gradients.begin[0] is not None:
            linear_backward(h[t], weights.hidden, dh[t], product, precision=precision)
            later, later_cont = product, read.cont[t]
    if gradients.begin[0] is not None:
        _launch("carry_states", streams, size, product, None, read.cont, gradients.begin[0], streams, streams)
    _backward_of_products(dh, read, h, gradients, precision)


def lstm(read: Sequences, out, kept=None, precision: str = "FLOAT32"):
    """out (T, N, D) = the hidden states h_t of an LSTM from read.begin, (h_0, c_0); returns (h_T, c_T).

    kept: for lstm_backward the arrays (gates (T, N, 4 D), cells (T, N, D)), which are written, or None. c_T may lie in a workspace.
    """
    steps, streams, size = out.shape
    gates = _scratch(out, "gates", steps, streams, 4 * size) if kept is None else kept[0]
    cells = _scratch(out, "cell", 1, streams, size) if kept is None else kept[1]
    base, base_step = _project(read, gates, precision)
    product, (h, c) = _scratch(out, "product", streams, 4 * size), read.begin
    for t in range(steps):
        linear(h, read.weights.hidden, None, product, precision)
        before, h, c = c, out[t], cells[t % len(cells)]
        _launch("lstm_step", streams, size, gates[t], base, product, read.cont[t], before, c, h, base_step, streams)
    return h, c


def lstm_backward(
    dout, dends, read: Sequences, out, kept, gradients: SequenceGradients, precision: str = "FLOAT32", bound: float = 0
) -> None:
    """Gradients of `lstm` from dout (T, N, D) and those of h_T and c_T beside it, in the list dends (each or None).

    bound: where it is above 0, the gradients of what the gates are taken of are held between -bound and bound at every step.
    """
    (gates, cells), (steps, streams, size), dbegin = kept, out.shape, gradients.begin
    dgates, dcell = _scratch(out, "gates backward", *gates.shape), _scratch(out, "cell", streams, size)
    dcell[...] = 0 if dends[1] is None else dends[1]
    product, later, later_cont = _scratch(out, "product", streams, size), dends[0], None
    for t in reversed(range(steps)):
        states = (gates[t], cells[t - 1] if t else read.begin[1], cells[t], read.cont[t])
        _launch("lstm_step_backward", streams, size, dout[t], later, later_cont, *states, dcell, dgates[t], streams)
        if bound > 0:
            neuron("clip", dgates[t], dgates[t], -bound, bound)
        if t or dbegin[0] is not None:
            linear_backward(out[t], read.weights.hidden, dgates[t], product, precision=precision)
            later, later_cont = product, read.cont[t]
    if dbegin[0] is not None:
        _launch("carry_states", streams, size, product, None, read.cont, dbegin[0], streams, streams)
    if dbegin[1] is not None:
        dbegin[1][...] = dcell
    _backward_of_products(dgates, read, out, gradients, precision)


def lstm_unit(x, cont, before, gates, cell, out) -> None:
    """One step of an LSTM whose gates' sums x (N, 4 D) are given: cell and out (N, D) from the cell `before`; gates as `lstm` keeps them."""
    streams, size = out.shape
    zeros = _scratch(out, "product", streams, 4 * size)
    zeros[...] = 0
    gates[...] = x
    _launch("lstm_step", streams, size, gates, zeros, zeros, cont, before, cell, out, 0, streams)


def lstm_unit_backward(dout, dcell, cont, before, gates, cell, dx, dbefore) -> None:
    """Gradients of `lstm_unit` from those of out and cell; dx (N, 4 D) and dbefore (N, D) are written."""
    streams, size = dout.shape
    dbefore[...] = dcell
    _launch("lstm_step_backward", streams, size, dout, None, None, gates, before, cell, cont, dbefore, dx, streams)


def _backward_of_products(dy, read: Sequences, h, gradients: SequenceGradients, precision: str) -> None:
    """The gradients of inputs and parameters from dy (T, N, G), those of the sums of all products: one product each for all steps."""
    steps, streams, size = h.shape
    weights, wanted = read.weights, gradients.weights
    flat, dx = _flat(dy), None if gradients.x is None else _flat(gradients.x)
    linear_backward(_flat(read.x), weights.inputs, flat, dx, wanted.inputs, wanted.bias, precision)
    if gradients.static is not None or wanted.static is not None:
        sums = _scratch(h, "base", *dy.shape[1:])
        sums[...] = 0
        bias_backward(dy.reshape(steps, -1), sums.reshape(-1))
        linear_backward(read.static, weights.static, sums, gradients.static, wanted.static, precision=precision)
    if wanted.hidden is not None:
        before = _scratch(h, "states", steps * streams, size)
        _launch("carry_states", len(before), size, read.begin[0], h, read.cont, before, len(before), streams)
        linear_backward(before, weights.hidden, flat, None, wanted.hidden, precision=precision)
