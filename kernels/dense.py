"""Convolution whose window covers the whole map (fc6, fc7, fc6-deconv) for some images: one pass over the weights serves them all.

A general matrix product would first copy the weights, the largest arrays of the net, into an order of its own.
"""

from .device import launch


def _matrices(weights, single, whole):
    """The weights as (O, K), the values of the 1x1 maps as (N, O) and of the whole maps as (N, K)."""
    return weights.reshape(weights.shape[0], -1), single.reshape(len(single), -1), whole.reshape(len(whole), -1)


def correlate(x, weights, out) -> None:
    """out (N, O, 1, 1) = x (N, C, H, W) times weights (O, C, H, W)."""
    w, y, x = _matrices(weights, out, x)
    launch("dense_rows", len(w), w.shape[1], w, x, y, len(x), *w.shape)


def correlate_backward_data(dy, weights, dx) -> None:
    """dx (N, C, H, W) = dy (N, O, 1, 1) times weights (O, C, H, W)."""
    w, dy, dx = _matrices(weights, dy, dx)
    launch("dense_columns", w.shape[1], w.shape[0], w, dy, dx, len(dx), *w.shape)


def correlate_backward_weights(x, dy, dweights) -> None:
    """dweights (O, C, H, W) += the gradient of `correlate` with respect to its weights."""
    w, dy, x = _matrices(dweights, dy, x)
    launch("dense_outer", len(w), w.shape[1], dy, x, w, len(x), *w.shape)
