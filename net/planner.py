"""Which blobs may use one memory: those whose lives do not meet (`Net(share=True)`).

In a net that never runs backward the data of a blob lives from the layer that makes it to the last one that reads it. In training data
is kept for the backward pass unless it is computed again (recompute.py), and the gradient of a blob lives from the last layer that reads the
blob, which writes it, to the layer that made the blob, which reads it. Lives are in steps: forward of layer i is step i, backward step -i.
"""

from typing import NamedTuple

from ..blob import Blob
from .fusion import find_fusions, part_in_place
from .parameters import share_buffers
from .recompute import find_recomputed, recomputes_before, sharing_memory


class Life(NamedTuple):
    """The blobs that lie in one memory, the steps from which and to which it is needed, and its size in values."""

    blobs: list[Blob]
    first: int
    last: int
    count: int


def plan(net, forward_only: bool, kept: set[str], beside, recompute: bool) -> None:
    """Settle which blobs of a net share a memory, which layers do the work of others, and what is computed again.

    forward_only: the net never runs backward; kept: names of blobs that keep their memory, as outputs, losses and what layers hold for
    longer than a pass always do; beside: a net whose memory this one uses, or None; recompute: whether data that can be computed again
    shares memory in a net that runs backward. Sets net._fusions, _parted, _recomputes and _gone.
    """
    kept = kept | set(net.outputs)
    for layer in net._layers:
        if layer.keeps_tops or any(layer.loss_weights):
            kept.update(layer.param.top)
    if forward_only:
        net._gone["data"] = _recycle(net._named_blobs, _data_steps(net), "data", kept)
    else:
        net._gone["diff"] = _recycle(net._named_blobs, _gradient_steps(net, net._passes), "diff", kept)
    net._fusions = find_fusions(net, forward_only)
    if beside:
        share_buffers(net, beside)
    if forward_only:
        return
    net._parted = part_in_place(net)
    recomputed = find_recomputed(net) if recompute else {}
    _recycle(
        net._named_blobs, {name: sorted(one.steps) for one in recomputed.values() for name in one.names}, "data", kept
    )
    gone = sharing_memory(net, recomputed)
    net._recomputes = recomputes_before(gone)
    net._gone["data"] = {name for one in gone.values() for name in one.names}


def _recycle(blobs: dict[str, Blob], steps: dict[str, list[int]], side: str, kept: set[str]) -> set[str]:
    """Give blobs whose lives do not meet one memory; the names whose `side` ("data" or "diff") is overwritten before a pass ends.

    steps: per name the steps that write or read it; blobs without any, and those of the names `kept`, keep their own.
    """
    return _assign(blobs, _lives(blobs, kept, f"{side}_memory", steps), f"{side}_memory")


def _data_steps(net) -> dict[str, list[int]]:
    """Per blob name the steps that write or read its data."""
    steps: dict[str, list[int]] = {}
    for number, layer in enumerate(net._layers):
        for name in (*layer.param.bottom, *layer.param.top):
            steps.setdefault(name, []).append(number)
    return steps


def _gradient_steps(net, passes) -> dict[str, list[int]]:
    """Per blob name the steps that write or read its gradient; none for one that no layer writes, which must stay zero."""
    steps: dict[str, list[int]] = {}
    written = set()
    for number, layer in enumerate(net._layers):
        if passes.layers[number]:
            for name, wanted in zip(layer.param.bottom, passes.bottoms[number], strict=True):
                steps.setdefault(name, []).append(-number)
                if wanted:
                    written.add(name)
            for name in layer.param.top:
                steps.setdefault(name, []).append(-number)
    return {name: own for name, own in steps.items() if name in written}


def _lives(blobs, kept: set[str], side: str, steps: dict[str, list[int]]) -> list[Life]:
    """The lives of the memories that may be recycled, those of blobs that share one together."""
    together: dict[int, list[str]] = {}
    for name, blob in blobs.items():
        together.setdefault(id(getattr(blob, side)), []).append(name)
    lives = []
    for names in together.values():
        if kept.isdisjoint(names) and all(name in steps for name in names):
            own = [step for name in names for step in steps[name]]
            sharing = [blobs[name] for name in names]
            lives.append(Life(sharing, min(own), max(own), max(blob.count for blob in sharing)))
    return sorted(lives, key=lambda life: life.first)


def _assign(blobs, lives: list[Life], side: str) -> set[str]:
    """Give each life the memory of one that has ended, the closest in size, else its own."""
    free: list[tuple[int, object]] = []
    busy: list[tuple[int, int, object]] = []
    users: dict[int, list[Life]] = {}
    for life in lives:
        free += [(count, memory) for last, count, memory in busy if last < life.first]
        busy = [entry for entry in busy if entry[0] >= life.first]
        chosen = min(free, key=lambda entry: (entry[0] < life.count, abs(entry[0] - life.count)), default=None)
        if chosen is None:
            chosen = (0, getattr(life.blobs[0], side))
        else:
            free.remove(chosen)
        memory = chosen[1]
        for blob in life.blobs:
            setattr(blob, side, memory)
        busy.append((life.last, max(chosen[0], life.count), memory))
        users.setdefault(id(memory), []).append(life)
    overwritten = {id(blob) for group in users.values() for life in group[:-1] for blob in life.blobs}
    return {name for name, blob in blobs.items() if id(blob) in overwritten}
