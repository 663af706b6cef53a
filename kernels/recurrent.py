"""RNN and LSTM over T steps of N streams: one product for the inputs of all steps, then a product and a kernel a step.

x (T, N, K) and static (N, S) or None are inputs; cont (T, N) is 0 where a sequence begins; states are (N, D); W has G rows, D for an
RNN and 4 D for an LSTM, whose gates are in Caffe's order: input, forget, output, candidate.
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


def _launch(name: str, rows: int, size: int, *arguments) -> None:
    """A kernel of recurrent.cu over `rows` rows of `size` values."""
    launch(name, rows * -(-size // _RUN), min(size, _RUN), *arguments, size)


def _scratch(like, purpose: str, *shape: int):
    """An array for the time of one call."""
    return workspace(like, math.prod(shape), f"recurrent {purpose}").reshape(shape)


def _flat(x):
    """(rows, values) of all steps."""
    return x.reshape(x.shape[0] * x.shape[1], -1)


def _project(x, static, weights: RecurrentWeights, out, precision: str):
    """out (T, N, G) = the inputs by their weights; what is to be added at every step, and how far apart it lies for two streams."""
    linear(_flat(x), weights.inputs, None, _flat(out), precision)
    if static is None:
        return weights.bias, 0
    base = _scratch(out, "base", *out.shape[1:])
    linear(static, weights.static, weights.bias, base, precision)
    return base, out.shape[2]


def rnn(x, static, cont, weights: RecurrentWeights, begin, out, kept=None, precision: str = "FLOAT32"):
    """out (T, N, D) = tanh(W_o h_t + b_o) of the hidden states h_t = tanh(W_x x_t + b + W_s static + W_h cont_t h_(t-1)); returns (h_T,).

    begin: (h_0,); kept: for rnn_backward the array (h (T, N, D),), which is written, or None. h_T may lie in a workspace.
    """
    steps, streams, size = out.shape
    hidden = _scratch(out, "hidden", *out.shape) if kept is None else kept[0]
    base, base_step = _project(x, static, weights, hidden, precision)
    product, (h,) = _scratch(out, "product", streams, size), begin
    for t in range(steps):
        linear(h, weights.hidden, None, product, precision)
        h = hidden[t]
        _launch("rnn_step", streams, size, h, base, product, cont[t], base_step, streams)
    linear(_flat(hidden), weights.out, weights.out_bias, _flat(out), precision)
    neuron("tanh", out, out)
    return (h,)


def rnn_backward(
    dout,
    dends,
    x,
    static,
    cont,
    weights,
    begin,
    out,
    kept,
    gradients,
    dx=None,
    dstatic=None,
    dbegin=(None,),
    precision="FLOAT32",
) -> None:
    """Gradients of `rnn` from dout (T, N, D) and that of h_T beside it (or None).

    dx, dstatic and dbegin are written, the RecurrentWeights `gradients` added to; None for what is not wanted.
    """
    (h,), (steps, streams, size) = kept, out.shape
    dsum, dh = _scratch(out, "out", *out.shape), _scratch(out, "hidden", *out.shape)
    neuron_backward("tanh", dout, None, out, dsum)
    wanted = (_flat(dh), gradients.out, gradients.out_bias)
    linear_backward(_flat(h), weights.out, _flat(dsum), *wanted, precision)
    product, later, later_cont = _scratch(out, "product", streams, size), dends[0], None
    for t in reversed(range(steps)):
        _launch("rnn_step_backward", streams, size, dh[t], later, later_cont, h[t], streams)
        if t or dbegin[0] is not None:
            linear_backward(h[t], weights.hidden, dh[t], product, precision=precision)
            later, later_cont = product, cont[t]
    if dbegin[0] is not None:
        _launch("carry_states", streams, size, product, None, cont, dbegin[0], streams, streams)
    _backward_of_products(dh, x, static, cont, weights, begin[0], h, gradients, dx, dstatic, precision)


def lstm(x, static, cont, weights: RecurrentWeights, begin, out, kept=None, precision: str = "FLOAT32"):
    """out (T, N, D) = the hidden states h_t of an LSTM from `begin`, (h_0, c_0); returns (h_T, c_T).

    kept: for lstm_backward the arrays (gates (T, N, 4 D), cells (T, N, D)), which are written, or None. c_T may lie in a workspace.
    """
    steps, streams, size = out.shape
    gates = _scratch(out, "gates", steps, streams, 4 * size) if kept is None else kept[0]
    cells = _scratch(out, "cell", 1, streams, size) if kept is None else kept[1]
    base, base_step = _project(x, static, weights, gates, precision)
    product, (h, c) = _scratch(out, "product", streams, 4 * size), begin
    for t in range(steps):
        linear(h, weights.hidden, None, product, precision)
        before, h, c = c, out[t], cells[t % len(cells)]
        _launch("lstm_step", streams, size, gates[t], base, product, cont[t], before, c, h, base_step, streams)
    return h, c


def lstm_backward(
    dout,
    dends,
    x,
    static,
    cont,
    weights,
    begin,
    out,
    kept,
    gradients,
    dx=None,
    dstatic=None,
    dbegin=(None, None),
    precision="FLOAT32",
) -> None:
    """Gradients of `lstm` from dout (T, N, D) and those of h_T and c_T beside it (each or None).

    dx, dstatic and dbegin are written, the RecurrentWeights `gradients` added to; None for what is not wanted.
    """
    (gates, cells), (steps, streams, size) = kept, out.shape
    dgates, dcell = _scratch(out, "gates backward", *gates.shape), _scratch(out, "cell", streams, size)
    dcell[...] = 0 if dends[1] is None else dends[1]
    product, later, later_cont = _scratch(out, "product", streams, size), dends[0], None
    for t in reversed(range(steps)):
        states = (gates[t], cells[t - 1] if t else begin[1], cells[t], cont[t])
        _launch("lstm_step_backward", streams, size, dout[t], later, later_cont, *states, dcell, dgates[t], streams)
        if t or dbegin[0] is not None:
            linear_backward(out[t], weights.hidden, dgates[t], product, precision=precision)
            later, later_cont = product, cont[t]
    if dbegin[0] is not None:
        _launch("carry_states", streams, size, product, None, cont, dbegin[0], streams, streams)
    if dbegin[1] is not None:
        dbegin[1][...] = dcell
    _backward_of_products(dgates, x, static, cont, weights, begin[0], out, gradients, dx, dstatic, precision)


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


def _backward_of_products(dy, x, static, cont, weights, begin, h, gradients, dx, dstatic, precision) -> None:
    """The gradients of inputs and parameters from dy (T, N, G), those of the sums of all products: one product each for all steps."""
    steps, streams, size = h.shape
    flat, dx = _flat(dy), None if dx is None else _flat(dx)
    linear_backward(_flat(x), weights.inputs, flat, dx, gradients.inputs, gradients.bias, precision)
    if dstatic is not None or gradients.static is not None:
        sums = _scratch(h, "base", *dy.shape[1:])
        sums[...] = 0
        bias_backward(dy.reshape(steps, -1), sums.reshape(-1))
        linear_backward(static, weights.static, sums, dstatic, gradients.static, precision=precision)
    if gradients.hidden is not None:
        before = _scratch(h, "states", steps * streams, size)
        _launch("carry_states", len(before), size, begin, h, cont, before, len(before), streams)
        linear_backward(before, weights.hidden, flat, None, gradients.hidden, precision=precision)
