"""Layers that do the work of those behind them while they write their results (`Net(share=True)`).

A convolution stands for maps per channel (batch norm by stored statistics, Scale, Bias) and a ReLU where no pass runs backward, and so does
a sum of blobs for a ReLU; batch norm by the batch's statistics for a Scale, where it has none of its own, and a ReLU everywhere: only layers
in place, since what they read is gone afterwards in any case.
"""

from ..blob import Blob
from ..kernels import After, compose_affine
from ..layers import BN, BatchNorm, Convolution, Deconvolution, Dropout, Eltwise, ReLU, RunningBN, Scale


def find_fusions(net, forward_only: bool) -> dict[int, int]:
    """{number of a layer: number of the last layer that it can stand for}; forward_only: the net never runs backward."""
    found = {}
    for number, layer in enumerate(net._layers):
        stands = isinstance(layer, (Convolution, Deconvolution)) and len(layer.param.top) == 1 or _sums(layer)
        if (stands and forward_only or _by_batch(layer)) and not any(layer.loss_weights):
            last = number
            while last + 1 < len(net._layers) and _follows(net._layers[number : last + 1], net._layers[last + 1]):
                last += 1
            if last > number and (forward_only or _same_backward(net, number, last)):
                found[number] = last
    return found


def _same_backward(net, first: int, last: int) -> bool:
    """Whether the layers run backward together, and the ReLU's own pass would see the signs that it made: nothing overwrites them."""
    name = net._layers[last].param.top[0]
    later = [layer for layer in net._layers[last + 1 :] if name in layer.param.top and not isinstance(layer, Dropout)]
    return len(set(net._passes.layers[first : last + 1])) == 1 and not later


def _by_batch(layer) -> bool:
    return isinstance(layer, (BN, BatchNorm)) and layer.by_batch


def _sums(layer) -> bool:
    return isinstance(layer, Eltwise) and layer.sums


def _follows(layers, following) -> bool:
    """Whether a layer and what it stands for already can stand for the next layer, too."""
    first, param = layers[0], following.param
    if (
        list(param.bottom) != first.param.top[:1]
        or list(param.top) != first.param.top[:1]
        or any(following.loss_weights)
    ):
        return False
    if isinstance(layers[-1], ReLU):
        return False
    if isinstance(following, ReLU):
        return following.slope == 0
    if isinstance(first, (Convolution, Deconvolution)):
        return following.maps_channels and first.axis == 1
    scalable = isinstance(first, BatchNorm) and not isinstance(first, RunningBN)
    return scalable and len(layers) == 1 and isinstance(following, Scale) and following.maps_channels


def after(layers, backward: bool = False) -> After:
    """What these layers, maps per channel and a ReLU behind them, do to each result; backward: with the gradients of a Scale."""
    maps, composed, gradients = [layer for layer in layers if layer.maps_channels], None, (None, None)
    for layer in reversed(maps):
        composed = layer.channel_map(composed)
        if backward:
            gradients = layer.map_gradients()
    if maps and (composed[0] is None or composed[1] is None):
        composed = compose_affine(composed, (None, None), maps[0].blobs[0].data)
    return After(*(composed or (None, None)), isinstance(layers[-1], ReLU), *gradients)


def part_in_place(net) -> dict[int, Blob]:
    """Let what feeds batch norm in place write where it would copy it to; {number of the batch norm: that blob}. For nets that run backward.

    Batch norm by the batch's statistics needs its input until backward: so it reads it there, and writes the blob that the prototxt names.
    """
    parted = {}
    for number, layer in enumerate(net._layers):
        bottom, top = net._bottoms[number][:1], net._tops[number][:1]
        if _by_batch(layer) and layer.may_need_backward and bottom == top and net._tops[number - 1] == top:
            if isinstance(net._layers[number - 1], (Convolution, Deconvolution)):
                parted[number] = layer.kept
                layer.kept.share_diff(top[0])
                net._bottoms[number] = net._tops[number - 1] = [layer.kept]
    return parted
