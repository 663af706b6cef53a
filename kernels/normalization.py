"""Batch normalisation over the channels of (N, C, H, W) arrays, and the affine map that it folds into."""

import math

import numpy as np

from .device import launch, launch_elementwise, workspace
from .pieces import cut, wanted


def _sizes(x) -> tuple[int, int, int]:
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


def batch_norm_forward(
    x, scale, shift, eps: float, out, mean, variance, kept=None, rectified: bool = False, in_pieces: bool | None = None
) -> None:
    """out = scale * normal + shift, normal = (x - mean) / sqrt(variance + eps) with the batch's own mean and biased variance per channel.

    x, out, kept (N, C, H, W); scale, shift, mean, variance hold C values; mean and variance are written. out may be x: backward
    then needs `kept`, to which x is copied. rectified: out is 0 where that is below 0, as a ReLU would make it.
    in_pieces: let several blocks share a channel, as a GPU does by itself; the results agree within rounding.
    """
    n, c, size = _sizes(x)
    if not wanted(x, in_pieces):
        arrays = (x, scale, shift, out, kept, mean, variance)
        launch("batch_norm_forward", c, n * size, *arrays, eps, _least(rectified), n, c, size)
        return
    own = cut(n, size, n)
    moments = workspace(x, 2 * c * own.count, "sums", np.float64)
    launch("channel_moments", c * own.count, own.together * own.run, x, kept, moments, n, c, size, *own)
    launch("merge_moments", c, own.count, mean, variance, moments, n, c, size, *own)
    normalize(x, mean, variance, eps, scale, shift, out, rectified)


def normalize(x, mean, variance, eps: float, scale, shift, out, rectified: bool = False) -> None:
    """The last step of `batch_norm_forward`, to the bit: out from x and the mean and variance that are known. out may be x."""
    n, c, size = _sizes(x)
    planes = cut(n * c, size, c)
    arrays = (x, mean, variance, scale, shift, out)
    sizes = (eps, _least(rectified), n, c, size, *planes)
    launch("normalize_planes", planes.count, planes.together * planes.run, *arrays, *sizes)


def batch_norm_backward(
    dy,
    x,
    scale,
    shift,
    mean,
    variance,
    eps: float,
    dx=None,
    dscale=None,
    dshift=None,
    rectified: bool = False,
    in_pieces: bool | None = None,
) -> None:
    """Gradients of `batch_norm_forward`: dx is written (may be dy), dscale and dshift are added to; None for what is not wanted."""
    n, c, size = _sizes(dy)
    least = _least(rectified)
    given = (dy, x, scale, shift, mean)
    if not wanted(dy, in_pieces):
        launch("batch_norm_backward", c, n * size, *given, variance, dx, dscale, dshift, eps, least, n, c, size)
        return
    own, planes = cut(n, size, n), cut(n * c, size, c)
    sums, factors = workspace(dy, 2 * c * own.count, "sums", np.float64), workspace(dy, 3 * c, "factors")
    width = own.together * own.run
    launch("batch_norm_products", c * own.count, width, *given, variance, sums, eps, least, n, c, size, *own)
    launch("merge_products", c, own.count, factors, variance, dscale, dshift, sums, eps, n * size, c, own.count)
    if dx is not None:
        width = planes.together * planes.run
        launch("batch_norm_planes_backward", planes.count, width, *given, factors, dx, least, n, c, size, *planes)


def _least(rectified: bool) -> float:
    return 0.0 if rectified else -math.inf


def sums_of_products(dy, x=None, scale=None, dx=None, dscale=None, dshift=None) -> None:
    """dshift (C,) += the sums of dy (N, C, ...) by channel, dscale those of dy * x, dx = scale * dy; in pieces."""
    n, c, size = _sizes(dy)
    own = cut(n, size, n)
    sums, factors = workspace(dy, 2 * c * own.count, "sums", np.float64), workspace(dy, 3 * c, "factors")
    launch("channel_products", c * own.count, own.together * own.run, dy, x, scale, dx, sums, n, c, size, *own)
    launch("merge_products", c, own.count, factors, None, dscale, dshift, sums, 0, n * size, c, own.count)


def channel_affine_forward(x, scale, shift, out, rectified: bool = False) -> None:
    """out = scale * x + shift per channel; out may be x, a scale of None is 1, a shift of None 0. rectified: 0 where that is below 0."""
    n, c, size = _sizes(x)
    launch("channel_affine_forward", n * c, size, x, scale, shift, out, _least(rectified), n, c, size)


def compose_affine(first, second, like):
    """(scale, shift) (C,) of the map per channel that does first and then second, each (scale or None, shift or None).

    They lie in a workspace of the kind of the array `like` until the next call; first or second may be what the call before gave.
    """
    channels = next(array.size for array in (*first, *second) if array is not None)
    factor, summand = workspace(like, 2 * channels, "affine").reshape(2, channels)
    launch_elementwise("compose_affine", channels, factor, summand, *first, *second, channels)
    return factor, summand


def channel_affine_backward(dy, x, scale, dx=None, dscale=None, dshift=None, in_pieces: bool | None = None) -> None:
    """Gradients of `channel_affine_forward`: dx is written (may be dy), dscale and dshift are added to; None for what is not wanted."""
    n, c, size = _sizes(dy)
    if wanted(dy, in_pieces):
        sums_of_products(dy, x, scale, dx=dx, dscale=dscale, dshift=dshift)
    else:
        launch("channel_affine_backward", c, n * size, dy, x, scale, dx, dscale, dshift, n, c, size)


def running_affine(means, variances, weight, eps: float, factor, summand, then=(None, None)) -> None:
    """The map x -> factor * x + summand (C,) that normalises by running statistics: sums (C,) and the weight (1,) to divide them by.

    then: (scale, shift) of the map that follows, each (C,) or None for 1 and 0; the two become one.
    """
    arrays = (means, variances, weight, *then, factor, summand)
    launch_elementwise("running_affine", means.size, *arrays, eps, means.size)


def move_averages(mean, variance, means, variances, weight, keep: float, unbiased: float) -> None:
    """Take a batch's mean and `unbiased` * variance (C,) into running statistics, which are multiplied by `keep` first."""
    arrays = (mean, variance, means, variances, weight)
    launch_elementwise("move_averages", mean.size, *arrays, keep, unbiased, mean.size)
