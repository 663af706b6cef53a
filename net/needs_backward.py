"""Which layers get a backward pass, and which bottoms a gradient (Caffe's rules)."""

from typing import NamedTuple


class Passes(NamedTuple):
    """layers: whether each layer runs backward; bottoms: per layer, whether each of its bottoms is given a gradient."""

    layers: list[bool]
    bottoms: list[list[bool]]


def find_passes(net) -> Passes:
    """A layer runs backward where it, or a layer below it, learns and a loss lies above; force_backward makes all run.

    propagate_down of a layer overrides what its bottoms need; labels and switches never get a gradient.
    """
    passes = _upwards(net)
    _downwards(net, passes)
    if net._param.force_backward:
        for number, layer in enumerate(net._layers):
            passes.layers[number] = bool(net._bottoms[number]) or bool(layer.blobs)
            passes.bottoms[number] = [i not in layer.without_gradient for i in range(len(net._bottoms[number]))]
            layer.param_propagate_down = [True] * len(layer.blobs)
    return passes


def _upwards(net) -> Passes:
    """What learns, from the inputs on."""
    passes, carries = Passes([], []), {}
    for layer in net._layers:
        names = list(layer.param.bottom)
        chosen = list(layer.param.propagate_down)
        wanted = chosen or [carries.get(name, False) for name in names]
        wanted = [want and i not in layer.without_gradient for i, want in enumerate(wanted)]
        needed = any(wanted) or any(layer.param_propagate_down)
        passes.layers.append(needed)
        passes.bottoms.append(wanted)
        for name in layer.param.top:
            carries[name] = needed
    return passes


def _downwards(net, passes: Passes) -> None:
    """Drop what no loss lies above, or what only layers above read that pass no gradient down."""
    under_loss: set[str] = set()
    skipped: set[str] = set()
    for number in range(len(net._layers) - 1, -1, -1):
        layer = net._layers[number]
        tops, bottoms = layer.param.top, layer.param.bottom
        contributes = any(weight for weight in layer.loss_weights) or any(name in under_loss for name in tops)
        if not contributes or all(name in skipped for name in tops):
            passes.layers[number] = False
            passes.bottoms[number] = [False] * len(bottoms)
        for name, wanted in zip(bottoms, passes.bottoms[number], strict=True):
            if contributes:
                under_loss.add(name)
            if not wanted:
                skipped.add(name)
            else:
                skipped.discard(name)
