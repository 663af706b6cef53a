"""The solver's passes over one parameter."""

from .device import array_module, launch, launch_elementwise

_RUN = 1 << 14


def sgd_update(
    weights, gradient, velocity, *, scale: float, rate: float, momentum: float, decay: float, l1: bool
) -> None:
    """velocity = momentum * velocity + rate * (scale * gradient + decay * weights or its sign); weights -= velocity; gradient = velocity."""
    size = weights.size
    launch_elementwise("sgd_update", size, weights, gradient, velocity, scale, rate, momentum, decay, int(l1), size)


def sum_of_squares(x) -> float:
    """The sum of the squares of all values, in double over runs of float sums."""
    runs = -(-x.size // _RUN)
    sums = array_module(x).empty(runs)
    launch("sum_of_squares", runs, _RUN, x, sums, x.size, _RUN)
    return float(sums.sum())
