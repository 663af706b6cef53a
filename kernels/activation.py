"""ReLU and dropout, element by element."""

from .device import launch_elementwise


def relu(x, slope: float, out) -> None:
    """out = x where positive, slope * x elsewhere; out may be x."""
    launch_elementwise("relu_forward", x.size, x, out, slope, x.size)


def relu_backward(dy, sign, slope: float, out) -> None:
    """out = dy where `sign` (x, or y in place) is positive, slope * dy elsewhere; out may be dy."""
    launch_elementwise("relu_backward", dy.size, dy, sign, out, slope, dy.size)


def dropout(x, seed: int, ratio: float, out, gain: float) -> None:
    """out = x * gain at the places that (seed, index) keeps, 0 at the share `ratio` of the others; backward is the same call on dy."""
    launch_elementwise("dropout", x.size, x, out, seed % (1 << 64), min(int(ratio * 2**32), 2**32 - 1), gain, x.size)
