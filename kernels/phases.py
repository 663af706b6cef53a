"""Dilated convolution at stride 1 by one without gaps between the taps.

Taps that lie d places apart see every d-th place only. So a map falls into d rows times d columns of phases (phases.cu) that have nothing to
do with each other: as many small maps, over which the window moves with its taps side by side. Winograd's tiles serve them, too.

Each function's `below` does the work: a function of convolution.py.
"""

import math

from .device import launch, workspace

_CHANNELS = 64  # fewer leave so little to compute that maps must be few, too
_FEW_VALUES = 1 << 19  # that stay in the cache on their way
_WEIGHTS_PLACES = 64  # of a phase, for the gradient of the weights


def pays(geometry, bottom: tuple[int, ...], top: tuple[int, ...], of_weights: bool) -> bool:
    """Whether a convolution from maps `bottom` (N, C, H, W) to `top` falls into phases that repay their way there and back.

    Its padding reaches as far as so many taps, or a phase's results would be of another.
    """
    whole = all(p % d == 0 for p, d in zip(geometry.pad, geometry.dilation, strict=True))
    if geometry.dilation == (1, 1) or geometry.stride != (1, 1) or not whole:
        return False
    if of_weights and math.prod(shape(geometry, top)[2:]) < _WEIGHTS_PLACES:
        return False
    return min(bottom[1], top[1]) >= _CHANNELS or math.prod(bottom) + math.prod(top) <= _FEW_VALUES


def near(geometry):
    """How the window moves over phases."""
    pad = tuple(p // d for p, d in zip(geometry.pad, geometry.dilation, strict=True))
    return geometry._replace(pad=pad, dilation=(1, 1))


def shape(geometry, maps: tuple[int, ...]) -> tuple[int, ...]:
    """Of the phases of maps (N, C, H, W)."""
    down, across = geometry.dilation
    return (maps[0] * down * across, maps[1], -(-maps[2] // down), -(-maps[3] // across))


def convolve(below, x, weights, bias, geometry, out, after) -> None:
    """A convolution (`below` is conv_forward) or a transposed one (deconv_forward) of maps x (N, C, H, W) to maps `out` (N, O, H', W')."""
    found = _phases(out, geometry, "of results")
    below(_split(x, geometry), weights, bias, near(geometry), found, after)
    _join(found, geometry, out)


def backward_weights(below, x, dy, geometry, dweights) -> None:
    """dweights (O, C, kh, kw) += the gradient of a convolution of x (N, C, H, W) from dy (N, O, H', W'); `below` is conv_backward."""
    seen, gradients = _split(x, geometry), _split(dy, geometry, "of gradients")
    below(seen, None, gradients, near(geometry), dweights=dweights)


def _phases(maps, geometry, purpose: str):
    """Scratch for the phases of maps."""
    sizes = shape(geometry, maps.shape)
    return workspace(maps, math.prod(sizes), f"phases {purpose}").reshape(sizes)


def _split(maps, geometry, purpose: str = "of maps"):
    """The phases of maps (N, C, H, W), in scratch."""
    phases = _phases(maps, geometry, purpose)
    (down, across), (*_, rows, columns) = geometry.dilation, phases.shape
    sizes = (*maps.shape, down, across, rows, columns)
    launch("split_phases", maps.shape[0] * maps.shape[1] * rows * down, columns * across, maps, phases, *sizes)
    return phases


def _join(phases, geometry, y) -> None:
    """y (N, C, H, W) = the maps of which these are the phases."""
    sizes = (*y.shape, *geometry.dilation, *phases.shape[2:])
    launch("join_phases", y.shape[0] * y.shape[1] * y.shape[2], y.shape[3], phases, y, *sizes)
