"""Data that training makes again in the backward pass instead of keeping it (`Net(share=True, recompute=True)`).

What batch norm by the batch's statistics writes follows in one pass from its input, which its gradient needs in any case, and an unpooled map
from a quarter as many values. So those of them whose lives in the forward pass do not meet lie in one memory, and before the first layer that
needs one runs backward it is made again. The backward pass mirrors the forward pass: what does not meet there does not meet here.
"""

from collections import Counter
from typing import NamedTuple

from .fusion import after


class Recomputed(NamedTuple):
    """The first top of a layer that can make it again: the names of the blobs with its data, the layers that write or read it in the forward
    pass or need it in the backward pass, and of these the latter.
    """

    names: list[str]
    steps: set[int]
    needed_by: set[int]


def find_recomputed(net) -> dict[int, Recomputed]:
    """What a net that runs backward can make again, by the number of the layer that does."""
    found = {id(_memory(net, number)): number for number in range(len(net._layers)) if _can_recompute(net, number)}
    recomputed = {number: Recomputed([], set(), set()) for number in found.values()}

    def of(blob) -> Recomputed | None:
        return recomputed.get(found.get(id(blob.data_memory)))

    for name, blob in net._named_blobs.items():
        if own := of(blob):
            own.names.append(name)
    for number, (layer, bottom, top) in enumerate(net.connections()):
        for own in filter(None, map(of, (*bottom, *top))):
            own.steps.add(number)
        if layer.needs_bottoms_backward and net._passes.layers[number]:
            for own in filter(None, map(of, bottom)):
                own.needed_by.add(number)
    for number in sorted(recomputed, reverse=True):  # what a map is made of is needed where the map is
        for own in filter(None, map(of, net._bottoms[number])):
            own.needed_by.update(recomputed[number].needed_by)
    for own in recomputed.values():
        own.steps.update(own.needed_by)
    return recomputed


def _memory(net, number: int):
    return net._tops[number][0].data_memory if net._tops[number] else None


def _can_recompute(net, number: int) -> bool:
    """Whether the layer's first top can be made again from bottoms that lie elsewhere: nothing works in place on either afterwards."""
    if not net._layers[number].recomputes:
        return False
    bottoms = {id(blob.data_memory) for blob in net._bottoms[number]}
    later = net.connections()[net._fusions.get(number, number) + 1 :]
    overwritten = {id(blob.data_memory) for _, bottom, top in later for blob in top if blob in bottom}
    return id(_memory(net, number)) not in bottoms | overwritten and not bottoms & overwritten


def sharing_memory(net, recomputed: dict[int, Recomputed]) -> dict[int, Recomputed]:
    """Those whose memory others use as well, once that is planned: their data is gone when the backward pass begins."""
    users = Counter(id(_memory(net, number)) for number in recomputed)
    return {number: one for number, one in recomputed.items() if users[id(_memory(net, number))] > 1}


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
