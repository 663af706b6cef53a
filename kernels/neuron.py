"""Caffe's neurons: maps of single values, and PReLU, whose slopes are learned."""

import math

from .device import array_module, launch, launch_elementwise
from .sources import signatures


def neuron(kind: str, x, out, a: float = 0, b: float = 0, c: float = 0) -> None:
    """out = f(x), where neuron.cu says what the map `kind` makes of x and the constants; out may be x."""
    _launch(f"{kind}_forward", x=x, y=out, a=a, b=b, c=c, n=x.size)


def neuron_backward(kind: str, dy, x, y, out, a: float = 0, b: float = 0, c: float = 0) -> None:
    """out = dy * f'(x), from x or y as neuron.cu has it; out may be dy."""
    _launch(f"{kind}_backward", dy=dy, x=x, y=y, dx=out, a=a, b=b, c=c, n=dy.size)


def _launch(name: str, **values) -> None:
    """A kernel with those of the values that it names."""
    launch_elementwise(name, values["n"], *(values[wanted] for wanted in signatures()[name].names))


def prelu(x, slope, out) -> None:
    """out = x where positive, slope * x elsewhere; x (N, C, ...), slope one value or C; out may be x."""
    n, c, size = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    launch("prelu_forward", n * c, size, x, slope, out, int(slope.size > 1), n, c, size)


def prelu_backward(dy, x, slope, dx=None, dslope=None) -> None:
    """Gradients of `prelu`: dx is written (may be dy), dslope is added to; None for what is not wanted."""
    n, c, size = dy.shape[0], dy.shape[1], math.prod(dy.shape[2:])
    sums = array_module(dy).empty(c)
    launch("prelu_backward", c, n * size, dy, x, slope, dx, sums, int(slope.size > 1), n, c, size)
    if dslope is not None:
        dslope += sums if slope.size > 1 else sums.sum()
