"""One pass of a net over its layers, upwards or downwards, and what went wrong in the last one."""

import math

import numpy as np

from ..blob import Blob
from ..kernels import LabelError
from ..layers import Layer, Python, TransformedImages
from .debug_info import log_backward, log_forward
from .errors import LAYERS_ERRORS, NetError, located
from .fusion import after
from .recompute import recompute


def require_bottoms(net, first: int, last: int) -> None:
    """Raise NetError where layers first..last read data of layers before them that other blobs have overwritten since."""
    made = set()
    for number in range(first, last + 1):
        for name in net.bottom_names[net.layer_names[number]]:
            if name in net._gone["data"] and name not in made:
                raise NetError(
                    f"{net.model_file or 'net'}: layer '{net.layer_names[number]}' reads the data of blob '{name}', which is gone: the net was "
                    f"made with share=True and its memory serves other blobs since; start before that blob, make the net with keep=['{name}'], or "
                    "without share"
                )
        made.update(net.top_names[net.layer_names[number]])


def run_forward(net, first: int, last: int) -> float:
    """Forward through layers first..last; the weighted sum of their losses."""
    if first in net._parted:  # what lies in the blob that the prototxt names is its input
        _copy(net._tops[first][0], net._parted[first])
    loss, number = 0.0, first
    while number <= last:
        layer, bottom, top = net._layers[number], net._bottoms[number], net._tops[number]
        done = _last_fused(net, number, last)
        net.call_hooks("before_forward", number)
        try:
            layer.reshape(bottom, top)
            layer.forward(bottom, top, *_work_of(net, number, done))
        except LAYERS_ERRORS as error:
            named = _with_example(net, first, number, error) if isinstance(error, LabelError) else error
            raise located(named, layer.param, net.model_file) from error
        if net.debug_info:
            log_forward(layer, top)
        for weight, blob in zip(layer.loss_weights, top, strict=True):
            if weight:
                blob.host_diff[...] = weight
                loss += weight * float(blob.host_data.sum())
        net.call_hooks("after_forward", number)
        number = done + 1
    if number in net._parted:
        _copy(net._parted[number], net._tops[number][0])
    return loss


# what leaves examples in their order
_KEEP_ORDER = ("Split", "Reshape", "Flatten")


def _with_example(net, first: int, number: int, error: LabelError) -> ValueError:
    """The error of layer `number`, whose second bottom are labels, with the place where the example is named, if the pass from layer `first`
    on has read it.
    """
    labels, source = net._layers[number].param.bottom[1], number
    while True:
        source = next(n for n in reversed(range(source)) if labels in net._layers[n].param.top)
        layer, bottom = net._layers[source], net._layers[source].param.bottom
        if not bottom:
            break
        if layer.type not in _KEEP_ORDER and list(bottom[:1]) != [labels]:
            return error
        labels = bottom[0]
    if source < first or not isinstance(layer, TransformedImages) or layer.batch_size != error.batch:
        return error
    return ValueError(f"{layer.place_in_batch(error.example)}: {error}")


def run_backward(net, first: int, last: int) -> None:
    """Backward through layers first..last, downwards."""
    fused = {_last_fused(net, number, first): number for number in net._fusions if number >= last}
    recomputed = set()
    done = first
    while done >= last:
        number = fused.get(done, done)
        net.call_hooks("before_backward", number)
        if net._passes.layers[number]:
            layer, top, bottom = net._layers[number], net._tops[number], net._bottoms[number]
            for maker in net._recomputes.get(number, ()):
                if maker not in recomputed:
                    recompute(net, maker)
                    recomputed.add(maker)
            try:
                layer.backward(top, net._passes.bottoms[number], bottom, *_work_of(net, number, done, backward=True))
            except LAYERS_ERRORS as error:
                raise located(error, layer.param, net.model_file) from error
            if net.debug_info:
                log_backward(layer, bottom, net._passes.bottoms[number])
        net.call_hooks("after_backward", number)
        done = number - 1


def _last_fused(net, number: int, last: int) -> int:
    """The last layer whose work layer `number` does in a pass over layers up to `last`: itself if it does no other's."""
    fused = net._fusions.get(number, number)
    return fused if fused <= last and not net.debug_info else number


def _work_of(net, number: int, done: int, backward: bool = False) -> list:
    """What a layer is given that does the work of those up to `done`."""
    return [after(net._layers[number + 1 : done + 1], backward)] if done > number else []


def _copy(source: Blob, target: Blob) -> None:
    target.reshape(*source.shape)
    target.data[...] = source.data


def find_bad_layer(net) -> str | None:
    """See Net.first_bad_layer."""
    for layer, bottom, top in net.connections():
        if bottom and top:
            _forward_again(layer, bottom, top)
        if not all(math.isfinite(float(np.sum(blob.host_data, dtype=np.float64))) for blob in (*layer.blobs, *top)):
            return layer.name
    return None


def _forward_again(layer: Layer, bottom: list[Blob], top: list[Blob]) -> None:
    """Repeat a layer's last forward, with its draws and from the states it began with, and put back what forward itself moves."""
    position = layer.position
    # a user's forward may change any of its parameters
    moved = layer.blobs if isinstance(layer, Python) else [layer.blobs[number] for number in layer.statistics]
    moved = [*moved, *layer.carried]
    before = [blob.host_data.copy() for blob in moved]
    layer.rewind()
    if position is not None:
        layer.position = max(0, position - 1)
    layer.reshape(bottom, top)  # a layer before it may have done its work so far
    layer.forward(bottom, top)
    for blob, values in zip(moved, before, strict=True):
        blob.host_data[...] = values
    if position is not None:
        layer.position = position
