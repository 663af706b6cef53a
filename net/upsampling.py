"""Bilinear upsampling as a Deconvolution's weights: what the layers of an FCN start from, and mostly stay (Long et al., 2015, 3.3)."""

import numpy as np

from ..layers import Deconvolution


def fill_bilinear(net, given=()) -> list[str]:
    """Give every upsampling layer of a net bilinear weights, one channel to itself; returns their names.

    Upsampling is a Deconvolution of stride 2 or more in both directions with as many outputs as inputs, in one group;
    layers named in `given` keep what they have.
    """
    filled = []
    for layer in net.layers:
        if isinstance(layer, Deconvolution) and layer.name not in given and _upsamples(layer):
            weights = layer.blobs[0].host_data
            weights[...] = 0
            channels = np.arange(layer.channels)
            weights[channels, channels] = np.outer(*map(triangle, layer.geometry.kernel))
            filled.append(layer.name)
    return filled


def _upsamples(layer) -> bool:
    geometry = layer.geometry
    return min(geometry.stride) > 1 and geometry.group == 1 and layer.channels == layer.outputs


def triangle(size: int) -> np.ndarray:
    """The weights (size,) of linear interpolation by a factor of (size + 1) // 2: a triangle about the middle."""
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    return 1 - abs(np.arange(size) - centre) / factor
