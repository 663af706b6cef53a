"""The kernels of BVLC Caffe's further layers called on tiny shapes; a part of kernel_calls.py."""

import numpy as np
from arrays import empty, host, numbers, put, spaced

from deconvnet.core import kernels

# more values a row than the largest block of the sanitizer builds has threads
WIDE = 70


def _numbers(dtype, *shape, seed=0):
    return put(numbers(*shape, seed=seed, dtype=dtype))


NEURONS = {
    "sigmoid": (),
    "tanh": (),
    "absolute": (),
    "power": (3.0, 0.5, 0.25),
    "exponential": (0.5, 2.0),
    "logarithm": (2.0, 0.25, 40.0),
    "elu": (0.5,),
    "bnll": (),
    "clip": (-0.5, 0.6875),
    "swish": (1.5,),
}


def _neurons(dtype):
    results = []
    x, dy = put(spaced(2, WIDE, dtype=dtype)), _numbers(dtype, 2, WIDE, seed=1)
    cases = [*NEURONS.items(), ("power", (1.0, 0.5, 0.25)), ("power", (2.0, 0.5, 0.25))]
    for kind, constants in cases:
        y, dx = empty(2, WIDE, dtype=dtype), empty(2, WIDE, dtype=dtype)
        kernels.neuron(kind, x, y, *constants)
        kernels.neuron_backward(kind, dy, x, y, dx, *constants)
        results += [y, dx]
    return results


def _threshold(dtype):
    y = empty(2, WIDE, dtype=dtype)
    kernels.neuron("threshold", _numbers(dtype, 2, WIDE), y, 0.25)
    return [y]


def _prelu(dtype):
    results = []
    for slopes in (3, 1):
        x, slope = put(spaced(2, 3, 1, WIDE, dtype=dtype)), _numbers(dtype, slopes, seed=1)
        y, dslope = empty(*x.shape, dtype=dtype), _numbers(dtype, slopes, seed=2)
        kernels.prelu(x, slope, y)
        dy = _numbers(dtype, *x.shape, seed=3)
        kernels.prelu_backward(dy, x, slope, dy, dslope)
        results += [y, dy, dslope]
    return results


def _running_statistics(dtype):
    means, variances, mean, variance = (np.abs(numbers(WIDE, seed=seed, dtype=dtype)) for seed in range(4))
    sums, weight = [put(means), put(variances)], put(np.array([2], dtype))
    then = [put(numbers(WIDE, seed=seed, dtype=dtype)) for seed in (4, 5)]
    made = []
    for own, behind in ((weight, (None, None)), (put(np.zeros(1, dtype)), (None, None)), (weight, then)):
        factor, summand = empty(WIDE, dtype=dtype), empty(WIDE, dtype=dtype)
        kernels.running_affine(*sums, own, 1e-5, factor, summand, behind)
        made += [factor, summand]
    kernels.move_averages(put(mean), put(variance), *sums, weight, 0.9, 1.25)
    return [*made, *sums, weight]


def _lrn(dtype):
    results = []
    for within, shape in ((False, (2, 4, 1, WIDE)), (True, (1, 2, 3, WIDE))):
        x = _numbers(dtype, *shape)
        q, y, dx = (empty(*shape, dtype=dtype) for _ in range(3))
        kernels.lrn(x, 3, 0.5, 0.75, 1.0, within, q, y)
        kernels.lrn_backward(_numbers(dtype, *shape, seed=1), x, q, 3, 0.5, 0.75, within, dx)
        results += [q, y, dx]
    return results


def _reductions(dtype):
    results = []
    for operation in (kernels.SUM, kernels.ASUM, kernels.SUMSQ):
        for size in (WIDE, 4100):  # the longer one is summed in two parts
            x = _numbers(dtype, 3, size)
            y, dx = empty(3, dtype=dtype), empty(3, size, dtype=dtype)
            kernels.reduce_rows(x, operation, 0.5, y)
            kernels.reduce_rows_backward(_numbers(dtype, 3, seed=1), x, operation, 0.5, dx)
            results += [y, dx]
    return results


def _standardize(dtype):
    results = []
    for scaled in (True, False):
        y, spread, dy = _numbers(dtype, 3, WIDE), empty(3, dtype=dtype), _numbers(dtype, 3, WIDE, seed=1)
        kernels.standardize_rows(y, 1e-9, scaled, y, spread)
        kernels.standardize_rows_backward(dy, y, spread, scaled, dy)
        results += [y, spread, dy]
    return results


def _best_classes(dtype):
    """Ties, and more places than one run."""
    x = put(np.round(numbers(2, 5, 259, dtype=dtype)))
    results = [empty(2, 3, 259, dtype=dtype), empty(2, 6, 259, dtype=dtype), empty(2, 3, 259, dtype=dtype)]
    kernels.best_classes(x, 1, 3, results[0])
    kernels.best_classes(x, 1, 3, results[1], scores=True)
    kernels.best_classes(x, 1, 3, results[2], classes=False, scores=True)
    return results


def _sigmoid_loss(dtype):
    """More scores than one run, some of them ignored."""
    x, targets = _numbers(dtype, 2, 2100), np.random.default_rng(0).random((2, 2100))
    targets[:, ::5] = 255
    targets, dx = put(targets.astype(dtype)), empty(2, 2100, dtype=dtype)
    loss, counted = kernels.sigmoid_loss(x, targets, 255)
    kernels.sigmoid_loss_backward(x, targets, 255, 0.5, dx)
    return [np.array(loss), np.array(counted), dx]


def _hinge(dtype):
    results = []
    for squared in (False, True):
        x, labels = _numbers(dtype, 3, WIDE), put(np.array([0, 69, 33], dtype))
        margins, dx = empty(3, WIDE, dtype=dtype), empty(3, WIDE, dtype=dtype)
        loss = kernels.hinge(x, labels, squared, margins)
        kernels.hinge_backward(margins, squared, 0.5, dx)
        results += [np.array(loss), margins, dx]
    return results


def _multinomial(dtype):
    p, labels = put(np.abs(numbers(WIDE, 3, dtype=dtype)) + dtype(0.1)), put((np.arange(WIDE) % 3).astype(dtype))
    dp = empty(WIDE, 3, dtype=dtype)
    loss = kernels.multinomial_loss(p, labels)
    kernels.multinomial_loss_backward(p, labels, 0.5, dp)
    return [np.array(loss), dp]


def _contrastive(dtype):
    results = []
    for legacy in (False, True):
        a, b = _numbers(dtype, 4, WIDE), put(numbers(4, WIDE, dtype=dtype) * dtype(0.9))
        similar = put(np.array([0, 1, 0, 1], dtype))
        difference, squared, dx = empty(4, WIDE, dtype=dtype), empty(4, dtype=dtype), empty(4, WIDE, dtype=dtype)
        loss = kernels.contrastive(a, b, similar, 2.0, legacy, difference, squared)
        kernels.contrastive_backward(difference, squared, similar, 2.0, legacy, 0.5, dx)
        results += [np.array(loss), difference, squared, dx]
    return results


def _infogain_loss(dtype):
    """More places than one run, some of them ignored."""
    p, labels = put(np.abs(numbers(2, 3, 259, dtype=dtype))), np.random.default_rng(0).integers(0, 3, (2, 259))
    labels[:, ::5] = 255
    labels, gain, dx = put(labels.astype(dtype)), _numbers(dtype, 3, 3, seed=1), empty(2, 3, 259, dtype=dtype)
    loss, counted = kernels.infogain_loss(p, labels, gain, 1, 255)
    kernels.infogain_loss_backward(p, labels, gain, 1, 255, 0.5, dx)
    return [np.array(loss), np.array(counted), dx]


def _embed(dtype):
    """Rows that several numbers name; the longer ones are taken in two parts."""
    results = []
    for rows, words, size in ((9, 5, WIDE), (3, 2, 4100)):
        x, table = put((np.arange(rows) % (words - 1)).astype(dtype)), _numbers(dtype, words, size)
        y, dtable = empty(rows, size, dtype=dtype), _numbers(dtype, words, size, seed=1)
        kernels.embed(x, table, y)
        kernels.embed_backward(_numbers(dtype, rows, size, seed=2), x, dtable)
        results += [y, dtable]
    return results


def _recurrent(dtype):
    """Forward and backward of both, states and a static input included."""
    results = []
    size, cont = WIDE, put(np.array([[1, 0], [0.5, 1]], dtype))
    x, static = _numbers(dtype, 2, 2, 3), _numbers(dtype, 2, 2, seed=1)
    for states, forward, backward in ((1, kernels.rnn, kernels.rnn_backward), (2, kernels.lstm, kernels.lstm_backward)):
        rows = size if states == 1 else 4 * size
        shapes = [(rows, 3), (rows,), (rows, 2), (rows, size), *[(size, size), (size,)][: 2 * (states == 1)]]
        weights = kernels.RecurrentWeights(*(put(0.1 * numbers(*shape, dtype=dtype)) for shape in shapes))
        gradients = kernels.RecurrentWeights(*(_numbers(dtype, *shape, seed=2) for shape in shapes))
        begin = [_numbers(dtype, 2, size, seed=3 + k) for k in range(states)]
        out = empty(2, 2, size, dtype=dtype)
        kept = [empty(2, 2, rows, dtype=dtype), empty(2, 2, size, dtype=dtype)][:states]
        read = kernels.Sequences(x, static, cont, weights, begin)
        ends = forward(read, out, kept)
        results += [out, *kept, *ends]
        alone = empty(2, 2, size, dtype=dtype)
        results += [alone, *(put(host(end)) for end in forward(read, alone))]
        dout, dends = _numbers(dtype, 2, 2, size, seed=5), [_numbers(dtype, 2, size, seed=6 + k) for k in range(states)]
        wanted = [empty(*array.shape, dtype=dtype) for array in (x, static)]
        dbegin = [empty(2, size, dtype=dtype) for _ in begin]
        backward(dout, dends, read, out, kept, kernels.SequenceGradients(*wanted, gradients, dbegin))
        results += [*wanted, *dbegin, *(gradient for gradient in gradients if gradient is not None)]
    return results


CALLS = {
    **{f"{kind}_{way}": _neurons for kind in NEURONS for way in ("forward", "backward")},
    "threshold_forward": _threshold,
    "prelu_forward": _prelu,
    "prelu_backward": _prelu,
    "running_affine": _running_statistics,
    "move_averages": _running_statistics,
    "sum_across_channels": _lrn,
    "sum_within_plane": _lrn,
    "lrn_forward": _lrn,
    "lrn_ratio": _lrn,
    "lrn_backward": _lrn,
    "reduce_rows": _reductions,
    "reduce_rows_backward": _reductions,
    "standardize_rows": _standardize,
    "standardize_rows_backward": _standardize,
    "best_classes": _best_classes,
    "sigmoid_loss_forward": _sigmoid_loss,
    "sigmoid_loss_backward": _sigmoid_loss,
    "hinge_forward": _hinge,
    "hinge_backward": _hinge,
    "multinomial_forward": _multinomial,
    "multinomial_backward": _multinomial,
    "contrastive_forward": _contrastive,
    "contrastive_backward": _contrastive,
    "infogain_loss_forward": _infogain_loss,
    "infogain_loss_backward": _infogain_loss,
    "embed_forward": _embed,
    "embed_backward": _embed,
    "rnn_step": _recurrent,
    "rnn_step_backward": _recurrent,
    "lstm_step": _recurrent,
    "lstm_step_backward": _recurrent,
    "carry_states": _recurrent,
}
