"""Sums, products and maxima of arrays of one shape."""

import math

from .device import launch_elementwise


def scale_add(x, a: float, y, b: float) -> None:
    """y = a * x + b * y; with b = 0 what y held does not matter."""
    launch_elementwise("scale_add", x.size, x, y, a, b, x.size)


def weighted_sum(x, z, a: float, b: float, out, rectified: bool = False) -> None:
    """out = a * x + b * z; out may be either. rectified: 0 where that is below 0, as a ReLU would make it."""
    launch_elementwise("weighted_sum", x.size, x, z, out, a, b, 0.0 if rectified else -math.inf, x.size)


def multiply(x, z, out) -> None:
    """out = x * z; out may be either."""
    launch_elementwise("multiply", x.size, x, z, out, x.size)


def divide_multiply(x, z, w, out) -> None:
    """out = x / z * w."""
    launch_elementwise("divide_multiply", x.size, x, z, w, out, x.size)


def maximum(x, number: int, out, which) -> None:
    """Take x, the `number`-th of several, into the running maximum `out` and its int32 `which`; number 0 starts it."""
    launch_elementwise("maximum", x.size, x, out, which, number, x.size)


def maximum_backward(dy, which, number: int, out) -> None:
    """out = dy where the `number`-th won, 0 elsewhere."""
    launch_elementwise("maximum_backward", dy.size, dy, which, out, number, dy.size)
