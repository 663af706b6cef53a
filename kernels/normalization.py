"""Batch normalisation over the channels of (N, C, H, W) arrays, and the affine map that it folds into."""

import math

from .device import launch


def _sizes(x) -> tuple[int, int, int]:
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


def batch_norm_forward(x, scale, shift, eps: float, out, normal, mean, variance) -> None:
    """out = scale * normal + shift, normal = (x - mean) / sqrt(variance + eps) with the batch's own mean and biased variance per channel.

    x, out, normal (N, C, H, W), out may be x; scale, shift, mean, variance hold C values; mean and variance are written.
    """
    n, c, size = _sizes(x)
    launch("batch_norm_forward", c, n * size, x, scale, shift, out, normal, mean, variance, eps, n, c, size)


def batch_norm_backward(dy, normal, scale, variance, eps: float, dx=None, dscale=None, dshift=None) -> None:
    """Gradients of `batch_norm_forward`: dx is written (may be dy), dscale and dshift are added to; None for what is not wanted."""
    n, c, size = _sizes(dy)
    launch("batch_norm_backward", c, n * size, dy, normal, scale, variance, dx, dscale, dshift, eps, n, c, size)


def channel_affine_forward(x, scale, shift, out) -> None:
    """out = scale * x + shift per channel; out may be x, a shift of None is 0."""
    n, c, size = _sizes(x)
    launch("channel_affine_forward", n * c, size, x, scale, shift, out, n, c, size)


def channel_affine_backward(dy, x, scale, dx=None, dscale=None, dshift=None) -> None:
    """Gradients of `channel_affine_forward`: dx is written (may be dy), dscale and dshift are added to; None for what is not wanted."""
    n, c, size = _sizes(dy)
    launch("channel_affine_backward", c, n * size, dy, x, scale, dx, dscale, dshift, n, c, size)
