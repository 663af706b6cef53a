"""Values over the length of their vector, times a scale for each channel."""

import math

import numpy as np

from .device import launch, workspace

_RUN = 256  # places that one block takes


def _sizes(x) -> tuple[int, int, int]:
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


def _products(a, b, scale, whole: bool, out) -> None:
    """out = the sums of scale * a * b (N, C, ...) over each image, or over the channels at each place; a scale of None is 1."""
    n, c, size = _sizes(a)
    step = int(scale is not None and scale.size > 1)
    if not whole:
        launch("products_of_places", n * -(-size // _RUN), _RUN * c, a, b, scale, out, step, n, c, size, _RUN)
        return
    if not step:  # what all channels have in common may be summed in one row
        c, size = 1, c * size
    launch("products_of_images", n, c * size, a, b, scale, out, step, n, c, size)


def l2_normalize(x, scale, eps: float, whole: bool, squares, out) -> None:
    """out = scale * x / sqrt(squares + eps); x, out (N, C, ...), scale one value or C.

    squares is written: the sums of x^2 over each image, (N,), where `whole`, else over the channels at each place, (N, ...).
    """
    n, c, size = _sizes(x)
    _products(x, x, None, whole, squares)
    places, step = 1 if whole else size, int(scale.size > 1)
    launch("l2_normalize_forward", n * c, size, x, squares, scale, out, eps, step, n, c, size, places)


def l2_normalize_backward(dy, x, squares, scale, eps: float, whole: bool, dx=None, dscale=None) -> None:
    """Gradients of `l2_normalize`: dx is written, dscale is added to; None for what is not wanted."""
    n, c, size = _sizes(x)
    places, step = 1 if whole else size, int(scale.size > 1)
    if dx is not None:
        products = workspace(x, squares.size, "products")
        _products(dy, x, scale, whole, products)
        arrays = (dy, x, squares, products, scale, dx)
        launch("l2_normalize_backward", n * c, size, *arrays, eps, step, n, c, size, places)
    if dscale is not None:
        sums = workspace(x, c, "sums", np.float64)
        launch("l2_normalize_scale_backward", c, n * size, dy, x, squares, sums, eps, n, c, size, places)
        dscale += sums if step else sums.sum()
