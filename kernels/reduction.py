"""Sums over rows, standardised rows, and the best classes of an axis."""

import math

from .device import launch

SUM, ASUM, SUMSQ = 1, 2, 3
_RUN = 256  # places that one block takes


def reduce_rows(x, operation: int, gain: float, out) -> None:
    """out[r] = gain * the sum of x[r], |x[r]| or x[r]^2 (SUM, ASUM, SUMSQ); x (rows, size)."""
    launch("reduce_rows", x.shape[0], x.shape[1], x, out, gain, operation, *x.shape)


def reduce_rows_backward(dy, x, operation: int, gain: float, out) -> None:
    """out (rows, size) = the gradient of `reduce_rows`."""
    launch("reduce_rows_backward", x.shape[0], x.shape[1], dy, x, out, gain, operation, *x.shape)


def standardize_rows(x, eps: float, scaled: bool, out, spread) -> None:
    """out = (x - mean) / spread for each row of x (rows, size); spread (rows,) = deviation + eps, 1 unless `scaled`; out may be x."""
    launch("standardize_rows", x.shape[0], x.shape[1], x, out, spread, eps, int(scaled), *x.shape)


def standardize_rows_backward(dy, y, spread, scaled: bool, out) -> None:
    """out = the gradient of `standardize_rows` from its result y and its spread; out may be dy."""
    launch("standardize_rows_backward", dy.shape[0], dy.shape[1], dy, y, spread, out, int(scaled), *dy.shape)


def best_classes(x, axis: int, k: int, out, classes: bool = True, scores: bool = False) -> None:
    """The k largest values over the axis, largest first: their indices (`classes`), their values (`scores`), or the one after the other.

    Of equal values the larger index comes first (Caffe's ArgMax); a NaN comes last. out holds k (or 2k) times the other axes.
    """
    outer, depth, inner = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    class_at, score_at = 0 if classes else -1, (k * inner if classes else 0) if scores else -1
    stride = k * inner * (int(classes) + int(scores))
    rows = outer * -(-inner // _RUN)
    launch("best_classes", rows, _RUN * depth * k, x, out, k, class_at, score_at, stride, outer, depth, inner, _RUN)


def class_map(x, out) -> None:
    """out (...) uint8 = the class of the greatest value of x (classes, ...), the first of equal ones; a NaN counts as the greatest.

    Raises ValueError for more classes than a byte can tell.
    """
    classes, places = x.shape[0], math.prod(x.shape[1:])
    if classes > 256:
        raise ValueError(f"{classes} classes, and a map of classes holds 256 at most")
    launch("class_map", -(-places // _RUN), _RUN * classes, x, out, classes, places, _RUN)
