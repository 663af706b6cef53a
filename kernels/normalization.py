"""Batch normalisation over the channels of (N, C, H, W) arrays, and the affine map that it folds into."""

import math

import numpy as np

from .device import launch, workspace
from .pieces import cut, wanted


def _sizes(x) -> tuple[int, int, int]:
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


def batch_norm_forward(x, scale, shift, eps: float, out, normal, mean, variance, in_pieces: bool | None = None) -> None:
    """out = scale * normal + shift, normal = (x - mean) / sqrt(variance + eps) with the batch's own mean and biased variance per channel.

    x, out, normal (N, C, H, W), out may be x; scale, shift, mean, variance hold C values; mean and variance are written.
    in_pieces: let several blocks share a channel, as a GPU does by itself; the results agree within rounding.
    """
    n, c, size = _sizes(x)
    if not wanted(x, in_pieces):
        launch("batch_norm_forward", c, n * size, x, scale, shift, out, normal, mean, variance, eps, n, c, size)
        return
    own = cut(n, size, n)
    moments, inverse = workspace(x, 2 * c * own.count, "sums", np.float64), workspace(x, 3 * c, "factors")[:c]
    launch("channel_moments", c * own.count, own.together * own.run, x, moments, n, c, size, *own)
    launch("merge_moments", c, own.count, mean, variance, inverse, moments, eps, n, c, size, *own)
    planes = cut(n * c, size, c)
    arrays = (x, mean, inverse, scale, shift, out, normal)
    launch("normalize_planes", planes.count, planes.together * planes.run, *arrays, n, c, size, *planes)


def batch_norm_backward(
    dy, normal, scale, variance, eps: float, dx=None, dscale=None, dshift=None, in_pieces: bool | None = None
) -> None:
    """Gradients of `batch_norm_forward`: dx is written (may be dy), dscale and dshift are added to; None for what is not wanted."""
    n, c, size = _sizes(dy)
    if not wanted(dy, in_pieces):
        launch("batch_norm_backward", c, n * size, dy, normal, scale, variance, dx, dscale, dshift, eps, n, c, size)
        return
    factors = sums_of_products(dy, normal, scale, variance, eps, dscale=dscale, dshift=dshift)
    if dx is not None:
        planes = cut(n * c, size, c)
        arrays = (dy, normal, factors, dx)
        launch("batch_norm_planes_backward", planes.count, planes.together * planes.run, *arrays, n, c, size, *planes)


def sums_of_products(dy, x=None, scale=None, variance=None, eps: float = 0, dx=None, dscale=None, dshift=None):
    """dshift (C,) += the sums of dy (N, C, ...) by channel, dscale those of dy * x, dx = scale * dy; in pieces.

    Returns, where a variance is given, what the gradient of batch norm wants (3, C): scale / sqrt(variance + eps), the means of dy
    and of dy * x. It lies in a workspace.
    """
    n, c, size = _sizes(dy)
    own = cut(n, size, n)
    sums, factors = workspace(dy, 2 * c * own.count, "sums", np.float64), workspace(dy, 3 * c, "factors")
    launch("channel_products", c * own.count, own.together * own.run, dy, x, scale, dx, sums, n, c, size, *own)
    arrays = (factors, scale, variance, dscale, dshift, sums)
    launch("merge_products", c, own.count, *arrays, eps, n * size, c, own.count)
    return factors


def channel_affine_forward(x, scale, shift, out) -> None:
    """out = scale * x + shift per channel; out may be x, a shift of None is 0."""
    n, c, size = _sizes(x)
    launch("channel_affine_forward", n * c, size, x, scale, shift, out, n, c, size)


def channel_affine_backward(dy, x, scale, dx=None, dscale=None, dshift=None, in_pieces: bool | None = None) -> None:
    """Gradients of `channel_affine_forward`: dx is written (may be dy), dscale and dshift are added to; None for what is not wanted."""
    n, c, size = _sizes(dy)
    if wanted(dy, in_pieces):
        sums_of_products(dy, x, scale, dx=dx, dscale=dscale, dshift=dshift)
    else:
        launch("channel_affine_backward", c, n * size, dy, x, scale, dx, dscale, dshift, n, c, size)
