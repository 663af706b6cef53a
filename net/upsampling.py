"""Bilinear upsampling as a Deconvolution's weights: what the layers of an FCN start from, and mostly stay (Long et al., 2015, 3.3)."""

from ..blob import fill
from ..layers import Deconvolution
from ..proto import caffe_pb2


def fill_bilinear(net, given=()) -> list[str]:
    """Give every upsampling layer of a net bilinear weights, one channel to itself; returns their names.

    Upsampling is a Deconvolution of a square kernel and of stride 2 or more in both directions with as many outputs as inputs,
    in one group; layers named in `given` keep what they have.
    """
    filler, filled = caffe_pb2.FillerParameter(type="bilinear_diagonal"), []
    for layer in net._layers:
        if isinstance(layer, Deconvolution) and layer.name not in given and _upsamples(layer):
            fill(layer.blobs[0].host_data, filler, draw=None)
            filled.append(layer.name)
    return filled


def _upsamples(layer) -> bool:
    geometry = layer.geometry
    square = len(geometry.kernel) == 2 and geometry.kernel[0] == geometry.kernel[1]
    return square and min(geometry.stride) > 1 and geometry.group == 1 and layer.channels == layer.outputs
