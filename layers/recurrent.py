"""RNN and LSTM: layers whose first axis is time, LSTMUnit, one step of an LSTM, and Lstm of another Caffe."""

import math
from collections.abc import Callable
from functools import partial

from .. import kernels
from ..blob import Blob
from .layer import Layer, register


class _Recurrent(Layer):
    """What RNN and LSTM have in common (Caffe's RecurrentLayer).

    bottoms: x (T, N, ...), T steps of N streams; cont (T, N), 0 where a sequence begins and 1 where it goes on, without a gradient;
             optionally a static input (N, ...), which every step sees; with expose_hidden the states before the first step, (1, N, D) each
    tops:    the outputs (T, N, D), D = num_output; with expose_hidden the states after the last step, (1, N, D) each
    blobs:   of the inputs (G, K) and (G,), of the static input (G, S) where there is one, of the hidden state (G, D)
    carried: without expose_hidden, the states after the last step, where the next forward pass goes on; zero at first, after `reset` and
             where N changes
    """

    only_launches = True
    bottoms = (2, 3)
    without_gradient = (1,)
    param_field = "recurrent_param"
    states: int  # how many go from step to step
    gates: int  # G / D
    forward_pass: Callable  # of kernels
    backward_pass: Callable

    def __init__(self, param, **settings):
        super().__init__(param, **settings)
        self.exposed = self.states if param.recurrent_param.expose_hidden else 0
        self.bottoms = (2 + self.exposed, 3 + self.exposed)
        self.tops = (1 + self.exposed, 1 + self.exposed)

    def setup(self, bottom, top):
        param = getattr(self.param, self.param_field)
        if param.num_output < 1:
            raise ValueError(f"{self.param_field}.num_output must be at least 1")
        self.outputs = param.num_output
        rows = self.gates * self.outputs
        self.has_static = len(bottom) > 2 + self.exposed
        self.inputs = math.prod(bottom[0].shape[2:])
        self.static_inputs = math.prod(bottom[2].shape[1:]) if self.has_static else 0
        self._add_parameters(rows, param.weight_filler, param.bias_filler)
        self._begin = [] if self.exposed else [Blob(dtype=self.dtype) for _ in range(self.states)]

    def _add_parameters(self, rows: int, weight_filler, bias_filler) -> None:
        self.add_parameter((rows, self.inputs), weight_filler)
        self.add_parameter((rows,), bias_filler)
        if self.has_static:
            self.add_parameter((rows, self.static_inputs), weight_filler)
        self.add_parameter((rows, self.outputs), weight_filler)

    def reshape(self, bottom, top):
        self._check_shapes(bottom)
        steps, streams = bottom[0].shape[:2]
        top[0].reshape(steps, streams, self.outputs)
        for blob in top[1:]:
            blob.reshape(1, streams, self.outputs)
        for blob in self._begin:
            blob.reshape(streams, self.outputs)
        if not self.exposed and (not self.carried or self.carried[0].shape != (streams, self.outputs)):
            self.carried = [Blob((streams, self.outputs), self.dtype) for _ in range(self.states)]

    def _check_shapes(self, bottom) -> None:
        x, cont = bottom[0].shape, bottom[1].shape
        if len(x) < 2 or min(x[:2]) < 1:
            raise ValueError(f"needs a bottom of shape (steps, streams, ...), at least one of each, not {x}")
        if cont != x[:2]:
            raise ValueError(
                f"the second bottom says for each of {x[:2]} (steps, streams) whether it goes on: its shape is {cont}"
            )
        if math.prod(x[2:]) != self.inputs:
            raise ValueError(f"was made for {self.inputs} values a step; its bottom now has the shape {x}")
        if self.has_static:
            static = bottom[2].shape
            if not static or static[0] != x[1] or math.prod(static[1:]) != self.static_inputs:
                raise ValueError(
                    f"the static input must have {self.static_inputs} values for each of {x[1]} streams; its shape is {static}"
                )
        for blob in bottom[len(bottom) - self.exposed :]:
            if blob.shape != (1, x[1], self.outputs):
                raise ValueError(f"a state before the first step must be {(1, x[1], self.outputs)}, not {blob.shape}")

    def multiply_adds(self, bottom, top):
        steps, streams = bottom[0].shape[:2]
        rows = self.gates * self.outputs
        return streams * rows * (steps * (self.inputs + self.outputs) + self.static_inputs)

    def buffers(self):
        return [*self._kept, *self._begin]

    def reset(self) -> None:
        """Let the next forward pass begin with states of zero (Caffe's Reset)."""
        for blob in self.carried:
            blob.data[...] = 0

    def rewind(self):
        for carried, begin in zip(self.carried, self._begin, strict=True):
            carried.data[...] = begin.data

    def forward(self, bottom, top):
        for begin, carried in zip(self._begin, self.carried, strict=True):
            begin.data[...] = carried.data
        kept = [blob.data for blob in self._kept] if self.may_need_backward else None
        ends = self.forward_pass(self._sequences(bottom), top[0].data, kept, self.precision)
        for blob, state in zip(top[1:] or self.carried, ends, strict=True):
            blob.data.reshape(state.shape)[...] = state

    def backward(self, top, propagate_down, bottom):
        self.require_kept()
        steps, streams = bottom[1].shape
        diffs = [blob.diff if wanted else None for blob, wanted in zip(bottom, propagate_down, strict=True)]
        dx = None if diffs[0] is None else diffs[0].reshape(steps, streams, self.inputs)
        further = [None if diff is None else diff.reshape(streams, -1) for diff in diffs[2:]]
        dstatic, dbegin = further[0] if self.has_static else None, further[int(self.has_static) :]
        gradients = kernels.SequenceGradients(
            dx, dstatic, self._weights(self.gradient_of), dbegin or [None] * self.states
        )
        dends = [blob.diff.reshape(streams, self.outputs) for blob in top[1:]] or [None] * self.states
        kept = [blob.data for blob in self._kept]
        self.backward_pass(top[0].diff, dends, self._sequences(bottom), top[0].data, kept, gradients, self.precision)

    def _sequences(self, bottom) -> kernels.Sequences:
        """What the kernels read."""
        steps, streams = bottom[1].shape
        x, cont = bottom[0].data.reshape(steps, streams, self.inputs), bottom[1].data
        static = bottom[2].data.reshape(streams, self.static_inputs) if self.has_static else None
        weights = self._weights(lambda number: self.blobs[number].data)
        return kernels.Sequences(x, static, cont, weights, self._states_before(bottom))

    def _weights(self, array_of) -> kernels.RecurrentWeights:
        """What array_of(number) gives for each parameter."""
        arrays = [array_of(number) for number in range(len(self.blobs))]
        if not self.has_static:
            arrays.insert(2, None)
        return kernels.RecurrentWeights(*arrays)

    def _states_before(self, bottom) -> list:
        """The states (N, D) before the first step."""
        exposed = bottom[len(bottom) - self.exposed :]
        return [blob.data.reshape(blob.shape[-2:]) for blob in exposed or self._begin]


@register("RNN")
class RNN(_Recurrent):
    """h_t = tanh(W_xh x_t + b_h + W_xh_static static + W_hh cont_t h_(t-1)), o_t = tanh(W_ho h_t + b_o) (Caffe's RNN).

    The output is o, the state h.
    blobs: W_xh (D, K), b_h (D,), W_xh_static (D, S) where there is a static input, W_hh (D, D), W_ho (D, D), b_o (D,)
    """

    states = gates = 1
    forward_pass, backward_pass = staticmethod(kernels.rnn), staticmethod(kernels.rnn_backward)

    def setup(self, bottom, top):
        super().setup(bottom, top)
        param = self.param.recurrent_param
        self.add_parameter((self.outputs, self.outputs), param.weight_filler)
        self.add_parameter((self.outputs,), param.bias_filler)
        self._kept = [Blob(dtype=self.dtype)]

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self._kept[0].reshape(*top[0].shape)

    def multiply_adds(self, bottom, top):
        return super().multiply_adds(bottom, top) + top[0].count * self.outputs


@register("LSTM")
class LSTM(_Recurrent):
    """(i, f, o, g) = W_xc x_t + b_c + W_xc_static static + W_hc cont_t h_(t-1); c_t = cont_t sigmoid(f) c_(t-1) + sigmoid(i) tanh(g),
    h_t = sigmoid(o) tanh(c_t) (Caffe's LSTM).

    The output is h, the states h and c.
    blobs: W_xc (4 D, K), b_c (4 D,), W_xc_static (4 D, S) where there is a static input, W_hc (4 D, D)
    """

    states, gates = 2, 4
    forward_pass, backward_pass = staticmethod(kernels.lstm), staticmethod(kernels.lstm_backward)

    def setup(self, bottom, top):
        super().setup(bottom, top)
        self._kept = [Blob(dtype=self.dtype), Blob(dtype=self.dtype)]

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self._kept[0].reshape(*top[0].shape[:2], 4 * self.outputs)
        self._kept[1].reshape(*top[0].shape)


@register("Lstm")
class Lstm(LSTM):
    """The LSTM of caffe-lstm and CTPN's Caffe: Caffe's, but for the order of its parameters, without static input and exposed states.

    bottoms: x (T, N, ...); optionally cont (T, N), without which each pass is one sequence of N streams
    top:     h (T, N, D), D = num_output
    blobs:   W_x (4 D, K), W_h (4 D, D), b (4 D,), gates in the order i, f, o, g
    clipping_threshold: above 0, what gradients of the gates' sums are held within at every step
    """

    param_field = "lstm_param"

    def __init__(self, param, **settings):
        super().__init__(param, **settings)
        self.exposed, self.bottoms, self.tops = 0, (1, 2), (1, 1)

    def setup(self, bottom, top):
        super().setup(bottom, top)
        self.backward_pass = partial(kernels.lstm_backward, bound=self.param.lstm_param.clipping_threshold)
        self._one_sequence = Blob((0, 0), self.dtype)

    def _add_parameters(self, rows, weight_filler, bias_filler):
        self.add_parameter((rows, self.inputs), weight_filler)
        self.add_parameter((rows, self.outputs), weight_filler)
        self.add_parameter((rows,), bias_filler)

    def reshape(self, bottom, top):
        steps_and_streams = bottom[0].shape[:2]
        if len(bottom) == 1 and len(steps_and_streams) == 2 and self._one_sequence.shape != steps_and_streams:
            self._one_sequence.reshape(*steps_and_streams)
            self._one_sequence.data[...] = 1
            self._one_sequence.data[:1] = 0
        super().reshape(self._with_cont(bottom), top)

    def forward(self, bottom, top):
        super().forward(self._with_cont(bottom), top)

    def backward(self, top, propagate_down, bottom):
        super().backward(top, [propagate_down[0], False], self._with_cont(bottom))

    def _with_cont(self, bottom) -> list:
        return [bottom[0], bottom[1] if len(bottom) > 1 else self._one_sequence]

    def _weights(self, array_of):
        inputs, hidden, bias = map(array_of, range(3))
        return kernels.RecurrentWeights(inputs, bias, None, hidden)


@register("LSTMUnit")
class LSTMUnit(Layer):
    """One step of an LSTM whose gates are summed outside: c = cont sigmoid(f) c' + sigmoid(i) tanh(g), h = sigmoid(o) tanh(c) (Caffe's LSTMUnit).

    bottoms: c' (1, N, D); the sums of the gates i, f, o, g (1, N, 4 D); cont (1, N), 0 where a sequence begins, without a gradient
    tops:    c (1, N, D); h (1, N, D)
    """

    only_launches = True
    bottoms = (3, 3)
    tops = (2, 2)
    without_gradient = (2,)

    def setup(self, bottom, top):
        self._gates = Blob(dtype=self.dtype)
        self._unwanted = [Blob(dtype=self.dtype), Blob(dtype=self.dtype)]

    def reshape(self, bottom, top):
        cell, sums, cont = (blob.shape for blob in bottom)
        if len(cell) != 3 or cell[0] != 1 or sums != (1, cell[1], 4 * cell[2]) or cont != cell[:2]:
            raise ValueError(f"needs bottoms of shape (1, N, D), (1, N, 4 D) and (1, N), not {cell}, {sums} and {cont}")
        for blob in top:
            blob.reshape(*cell)
        self._gates.reshape(*sums[1:])
        for blob, below in zip(self._unwanted, bottom, strict=False):
            blob.reshape(*below.shape[1:])

    def buffers(self):
        return [self._gates, *self._unwanted]

    def forward(self, bottom, top):
        before, sums, cont, cell, out = (blob.data[0] for blob in (*bottom, *top))
        kernels.lstm_unit(sums, cont, before, self._gates.data, cell, out)

    def backward(self, top, propagate_down, bottom):
        below = zip(bottom, propagate_down, self._unwanted, strict=False)
        dbefore, dx = (blob.diff[0] if wanted else unwanted.diff for blob, wanted, unwanted in below)
        states = bottom[2].data[0], bottom[0].data[0], self._gates.data, top[0].data[0]
        kernels.lstm_unit_backward(top[1].diff[0], top[0].diff[0], *states, dx, dbefore)
