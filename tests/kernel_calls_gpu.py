"""The kernels that have a shape of their own for a GPU, called on tiny shapes on whatever device the mode names; a part of kernel_calls.py."""

import contextlib

from arrays import empty, numbers, put

from deconvnet.core import kernels
from deconvnet.core.kernels import pieces

# shapes whose channels are single values, several planes together, and planes in parts with a shorter last one
SHAPES = [(5, 3, 1, 1), (7, 2, 3, 3), (2, 3, 5, 29), (1, 2, 9, 15)]


def _numbers(dtype, *shape, seed=0):
    return put(numbers(*shape, seed=seed, dtype=dtype))


@contextlib.contextmanager
def small_pieces(values: int = 64):
    """In its context a piece has so few values that tiny shapes have several."""
    plain, pieces._PIECE = pieces._PIECE, values
    try:
        yield
    finally:
        pieces._PIECE = plain


def _batch_norm_in_pieces(dtype):
    results = []
    with small_pieces():
        for shape in SHAPES:
            c = shape[1]
            x, scale, shift = _numbers(dtype, *shape), _numbers(dtype, c, seed=1), _numbers(dtype, c, seed=2)
            normal, mean, variance = empty(*shape, dtype=dtype), empty(c, dtype=dtype), empty(c, dtype=dtype)
            kernels.batch_norm_forward(x, scale, shift, 1e-9, x, normal, mean, variance, in_pieces=True)
            dy, dscale, dshift = (_numbers(dtype, *size, seed=3) for size in (shape, (c,), (c,)))
            kernels.batch_norm_backward(dy, normal, scale, variance, 1e-9, dy, dscale, dshift, in_pieces=True)
            results += [x, normal, mean, variance, dy, dscale, dshift]
    return results


def _products_in_pieces(dtype):
    results = []
    with small_pieces():
        for shape in SHAPES:
            c = shape[1]
            x, dy, scale = _numbers(dtype, *shape), _numbers(dtype, *shape, seed=1), _numbers(dtype, c, seed=2)
            dscale, dshift, dbias = (_numbers(dtype, c, seed=seed) for seed in (3, 4, 5))
            kernels.bias_backward(dy, dbias, in_pieces=True)
            kernels.channel_affine_backward(dy, x, scale, dy, dscale, dshift, in_pieces=True)
            results += [dy, dscale, dshift, dbias]
    return results


CALLS = {
    "channel_moments": _batch_norm_in_pieces,
    "merge_moments": _batch_norm_in_pieces,
    "normalize_planes": _batch_norm_in_pieces,
    "batch_norm_planes_backward": _batch_norm_in_pieces,
    "channel_products": _products_in_pieces,
    "merge_products": _products_in_pieces,
}
