"""A bias per channel and its gradient."""

import math

from .device import launch
from .normalization import sums_of_products
from .pieces import wanted


def add_bias(bias, y) -> None:
    """y (N, C, ...) += bias (C,); nothing where bias is None."""
    if bias is not None:
        size = math.prod(y.shape[2:])
        launch("add_bias", y.shape[0] * y.shape[1], size, bias, y, y.shape[0], y.shape[1], size)


def bias_backward(dy, dbias, in_pieces: bool | None = None) -> None:
    """dbias (C,) += the sum of dy (N, C, ...) over all but the channels; in_pieces as in `batch_norm_forward`."""
    n, c, size = dy.shape[0], dy.shape[1], math.prod(dy.shape[2:])
    if wanted(dy, in_pieces):
        sums_of_products(dy, dshift=dbias)
    else:
        launch("bias_backward", c, n * size, dy, dbias, n, c, size)
