"""Layers that do the work of those behind them while they write their results (`Net(share=True)`).

A convolution stands for batch norm and ReLU where no pass runs backward, batch norm by the batch's statistics for a ReLU everywhere: only
layers in place, since what they read is gone afterwards in any case.
"""

from ..blob import Blob
from ..kernels import After
from ..layers import BN, Convolution, Deconvolution, Dropout, ReLU


def find_fusions(net, forward_only: bool) -> dict[int, int]:
    """{number of a layer: number of the last layer that it can stand for}; forward_only: the net never runs backward."""
    found = {}
    for number, layer in enumerate(net.layers):
        stands = isinstance(layer, (Convolution, Deconvolution)) and len(layer.param.top) == 1 and forward_only
        if (stands or _learns(layer)) and not any(layer.loss_weights):
            last = number
            while last + 1 < len(net.layers) and _follows(net.layers[number : last + 1], net.layers[last + 1]):
                last += 1
            if last > number and (forward_only or _same_backward(net, number, last)):
                found[number] = last
    return found


def _same_backward(net, first: int, last: int) -> bool:
    """Whether the layers run backward together, and the ReLU's own pass would see the signs that it made: nothing overwrites them."""
    name = net.layers[last].param.top[0]
    later = [layer for layer in net.layers[last + 1 :] if name in layer.param.top and not isinstance(layer, Dropout)]
    return len(set(net._passes.layers[first : last + 1])) == 1 and not later


def _learns(layer) -> bool:
    return isinstance(layer, BN) and layer.learns


def _follows(layers, following) -> bool:
    """Whether a layer and what it stands for already can stand for the next layer, too: one folded BN, then one ReLU."""
    top, param = layers[0].param.top[0], following.param
    if list(param.bottom) != [top] or list(param.top) != [top] or any(following.loss_weights):
        return False
    if isinstance(following, BN):
        return len(layers) == 1 and not _learns(layers[0]) and not following.learns
    return isinstance(following, ReLU) and following.slope == 0 and not isinstance(layers[-1], ReLU)


def after(layers) -> After:
    """What these layers, at most one folded BN and one ReLU, do to each result."""
    gain = shift = None
    for layer in layers:
        if isinstance(layer, BN):
            gain, shift = (blob.data.reshape(-1) for blob in layer.blobs)
    return After(gain, shift, isinstance(layers[-1], ReLU))


def part_in_place(net) -> dict[int, Blob]:
    """Let what feeds a BN in place write where BN would copy it to; {number of the BN: that blob}. For nets that run backward.

    BN by the batch's statistics needs its input until backward: so it reads it there, and writes the blob that the prototxt names.
    """
    parted = {}
    for number, layer in enumerate(net.layers):
        bottom, top = net._bottoms[number][:1], net._tops[number][:1]
        if _learns(layer) and layer.may_need_backward and bottom == top and net._tops[number - 1] == top:
            if isinstance(net.layers[number - 1], (Convolution, Deconvolution)):
                parted[number] = layer.kept
                layer.kept.share_diff(top[0])
                net._bottoms[number] = net._tops[number - 1] = [layer.kept]
    return parted
