"""Data that training makes again in the backward pass instead of keeping it (`Net(share=True, recompute=...)`).

What batch norm by the batch's statistics writes follows in one pass from its input, which its gradient needs in any case, and an unpooled map
from a quarter as many values. So those of them whose lives do not meet lie in one memory, and before the first layer that needs one runs
backward it is made again. What a convolution writes may be made again as well, where its name is given: that takes the convolution once more.
"""

from typing import NamedTuple

from ..blob import Blob
from ..layers import Convolution, Deconvolution
from ..proto import did_you_mean
from .errors import NetError
from .fusion import after


class Recomputed(NamedTuple):
    """The first top of a layer that can make it again: the blobs with its data, the layers that write or read it in the forward pass, and
    those that need it in the backward pass.
    """

    blobs: list[Blob]
    steps: set[int]
    needed_by: set[int]


def find_recomputed(net, convolutions: set[str]) -> dict[int, Recomputed]:
    """What a net that runs backward can make again, by the number of the layer that does; of convolutions those of these names.

    Raises NetError for a name of no convolution, or of one whose result cannot be made again.
    """
    asked = _numbers(net, convolutions)
    found = {}
    for number, layer in enumerate(net._layers):
        if (layer.recomputes or number in asked) and _can_recompute(net, number):
            found[id(_memory(net, number))] = number
        elif number in asked:
            raise _refused(net, layer.name, "what a layer works on in place cannot be made again")
    recomputed = {number: Recomputed([], set(), set()) for number in found.values()}

    def of(blob) -> Recomputed | None:
        return recomputed.get(found.get(id(blob.data_memory)))

    for blob in {id(blob): blob for _, *sides in net.connections() for blobs in sides for blob in blobs}.values():
        if own := of(blob):
            own.blobs.append(blob)
    for number, (layer, bottom, top) in enumerate(net.connections()):
        for own in filter(None, map(of, (*bottom, *top))):
            own.steps.add(number)
        if layer.needs_bottoms_backward and net._passes.layers[number]:
            for own in filter(None, map(of, bottom)):
                own.needed_by.add(number)
    for number in sorted(recomputed, reverse=True):  # what a map is made of is needed where the map is
        for own in filter(None, map(of, net._bottoms[number])):
            own.needed_by.update(recomputed[number].needed_by)
    return recomputed


def _numbers(net, convolutions: set[str]) -> set[int]:
    """The numbers of the convolutions of these names. Raises NetError."""
    found = {
        layer.name: number
        for number, layer in enumerate(net._layers)
        if isinstance(layer, (Convolution, Deconvolution)) and len(layer.param.top) == 1
    }
    for name in sorted(convolutions - set(found)):
        raise _refused(net, name, f"no convolution with one top has that name{did_you_mean(name, found)}")
    return {found[name] for name in convolutions}


def _refused(net, name: str, why: str) -> NetError:
    return NetError(f"{net.model_file or 'net'}: recompute names '{name}': {why}")


def _memory(net, number: int):
    return net._tops[number][0].data_memory if net._tops[number] else None


def _can_recompute(net, number: int) -> bool:
    """Whether the layer's first top can be made again from bottoms that lie elsewhere: nothing works in place on either afterwards."""
    bottoms = {id(blob.data_memory) for blob in net._bottoms[number]}
    later = net.connections()[net._fusions.get(number, number) + 1 :]
    overwritten = {id(blob.data_memory) for _, bottom, top in later for blob in top if blob in bottom}
    return id(_memory(net, number)) not in bottoms | overwritten and not bottoms & overwritten


def recomputes_before(gone: dict[int, Recomputed]) -> dict[int, list[int]]:
    """{number of a layer: the layers whose tops are to be made again before it runs backward}, each after what it is made of."""
    before: dict[int, list[int]] = {}
    for maker in sorted(gone):
        for number in gone[maker].needed_by:
            before.setdefault(number, []).append(maker)
    return before


def recompute(net, number: int) -> None:
    """Write a layer's first top again as it was after the last forward pass, the work of the layers that it stands for included."""
    following = net._layers[number + 1 : net._fusions.get(number, number) + 1]
    work = [after(following)] if following else []
    net._layers[number].recompute(net._bottoms[number], net._tops[number], *work)
