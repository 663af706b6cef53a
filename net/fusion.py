"""Convolutions that do the work of the batch norm and ReLU behind them while they write their results (`Net(share=True)`).

Only where no pass runs backward, and only layers in place on the convolution's top: what they read is gone afterwards in any case.
"""

from ..kernels import After
from ..layers import BN, Convolution, Deconvolution, ReLU


def find_fusions(net) -> dict[int, int]:
    """{number of a convolution: number of the last layer that it can stand for}, in a net that never runs backward."""
    found = {}
    for number, layer in enumerate(net.layers):
        if (
            isinstance(layer, (Convolution, Deconvolution))
            and len(layer.param.top) == 1
            and not any(layer.loss_weights)
        ):
            last = number
            while last + 1 < len(net.layers) and _follows(net.layers[number : last + 1], net.layers[last + 1]):
                last += 1
            if last > number:
                found[number] = last
    return found


def _follows(layers, following) -> bool:
    """Whether a convolution and what it stands for already can stand for the next layer, too: one BN, then one ReLU."""
    top, param = list(layers[0].param.top), following.param
    if list(param.bottom) != top or list(param.top) != top or any(following.loss_weights):
        return False
    if isinstance(following, BN):
        return len(layers) == 1 and not following.learns
    return isinstance(following, ReLU) and following.slope == 0 and not isinstance(layers[-1], ReLU)


def after(layers) -> After:
    """What these layers, at most one BN and one ReLU, do to each result."""
    gain = shift = None
    for layer in layers:
        if isinstance(layer, BN):
            gain, shift = (blob.data.reshape(-1) for blob in layer.blobs)
    return After(gain, shift, isinstance(layers[-1], ReLU))
