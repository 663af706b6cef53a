"""Which blobs may use one memory: those whose lives do not meet (`Net(share=True)`).

In a net that never runs backward the data of a blob lives from the layer that makes it to the last one that reads it. In training data
is kept for the backward pass unless it is computed again (recompute.py), which gives it a life in each pass, and the gradient of a blob lives
from the last layer that reads the blob, which writes it, to the layer that made the blob, which reads it. Lives are in steps: of n layers
the forward pass of layer i is step i, the backward pass step 2n - 1 - i.
"""

from collections.abc import Iterable
from typing import NamedTuple

from ..blob import Blob
from .fusion import find_fusions, part_in_place
from .parameters import share_buffers
from .recompute import Recomputed, find_recomputed, recomputes_before

Span = tuple[int, int]  # the first step and the last


class Life(NamedTuple):
    """The blobs that lie in one memory with their data or their gradients (side), when it is needed, and its size in values."""

    blobs: list[Blob]
    side: str
    spans: list[Span]
    count: int

    def meets(self, other: "Life") -> bool:
        """Whether both are needed at one step."""
        return any(a <= d and c <= b for a, b in self.spans for c, d in other.spans)

    def is_overwritten_by(self, other: "Life") -> bool:
        """Whether the other is written between the two spans of this one."""
        before, after = self.spans[0][1], self.spans[-1][0]
        return any(before < step < after for step, _ in other.spans)

    @property
    def last(self) -> int:
        """The last step at which it is needed."""
        return max(last for _, last in self.spans)


def plan(net, forward_only: bool, kept: set[str], beside, recompute) -> None:
    """Settle which blobs of a net share a memory, which layers do the work of others, and what is computed again.

    forward_only: the net never runs backward; kept: names of blobs that keep their memory, as outputs, losses and what layers hold for
    longer than a pass always do; beside: a net whose memory this one uses, or None; recompute: whether data that can be computed again
    shares memory in a net that runs backward, or the names of the convolutions of which that is true as well. With such names this data, what layers
    hold for themselves and gradients use each other's memory, so that a backward pass leaves nothing for a second one.
    Sets net._fusions, _parted, _recomputes, _gone and _runs_backward_once. Raises NetError.
    """
    kept = kept | set(net.outputs)
    for layer in net._layers:
        if layer.keeps_tops or any(layer.loss_weights):
            kept.update(layer.param.top)
    spared = [net._named_blobs[name] for name in kept]
    if forward_only:
        _assign(net, _lives(net._named_blobs.values(), "data", _data_spans(net), spared))
    net._fusions = find_fusions(net, forward_only)
    if beside:
        share_buffers(net, beside)
    if forward_only:
        return
    net._parted = part_in_place(net)
    gradients = _lives(net._named_blobs.values(), "diff", _gradient_spans(net), spared)
    convolutions = set() if isinstance(recompute, bool) else set(recompute)
    recomputed = find_recomputed(net, convolutions) if recompute else {}
    data = _recomputed_lives(net, recomputed, spared)
    net._runs_backward_once = bool(convolutions)
    if convolutions:
        groups = _assign(net, [*data, *_held_lives(net, recomputed), *gradients])
    else:
        _assign(net, gradients)
        groups = _assign(net, data)
    for number, blob in net._parted.items():
        blob.share_diff(net._tops[number][0])
    lost = _lost(groups, net._runs_backward_once)
    net._recomputes = recomputes_before({n: one for n, one in recomputed.items() if id(one.blobs[0]) in lost})
    shared = _lost(groups, False) & {id(blob) for life in data for blob in life.blobs}
    net._gone["data"].update(name for name, blob in net._named_blobs.items() if id(blob) in shared)


def _backward_step(net, number: int) -> int:
    return 2 * len(net._layers) - 1 - number


def _data_spans(net) -> dict[int, list[Span]]:
    """Per blob (id) when its data is written or read in the forward pass."""
    steps: dict[int, list[int]] = {}
    for number, (_, bottom, top) in enumerate(net.connections()):
        for blob in (*bottom, *top):
            steps.setdefault(id(blob), []).append(number)
    return {blob: [(min(own), max(own))] for blob, own in steps.items()}


def _gradient_spans(net) -> dict[int, list[Span]]:
    """Per blob (id) when its gradient is written or read; none for one that no layer writes, which must stay zero."""
    steps: dict[int, list[int]] = {}
    written = set()
    for number, layer in enumerate(net._layers):
        if net._passes.layers[number]:
            bottom = [id(net._named_blobs[name]) for name in layer.param.bottom]
            top = [id(net._named_blobs[name]) for name in layer.param.top]
            written.update(blob for blob, wanted in zip(bottom, net._passes.bottoms[number], strict=True) if wanted)
            for blob in (*bottom, *top):
                steps.setdefault(blob, []).append(_backward_step(net, number))
    return {blob: [(min(own), max(own))] for blob, own in steps.items() if blob in written}


def _recomputed_lives(net, recomputed: dict[int, Recomputed], spared: list[Blob]) -> list[Life]:
    """Of what can be computed again: one span in the forward pass, and one in the backward pass where that needs it."""
    spans = {}
    for one in recomputed.values():
        again = [_backward_step(net, number) for number in one.needed_by]
        own = [(min(one.steps), max(one.steps)), *([(min(again), max(again))] if again else [])]
        spans.update((id(blob), own) for blob in one.blobs)
    return _lives([blob for one in recomputed.values() for blob in one.blobs], "data", spans, spared)


def _held_lives(net, recomputed: dict[int, Recomputed]) -> list[Life]:
    """Of what layers hold for themselves, each from its forward pass to its backward pass; an input of batch norm from where it is written."""
    elsewhere = {id(blob.data_memory) for blob in net._named_blobs.values()}
    elsewhere.update(id(blob.data_memory) for one in recomputed.values() for blob in one.blobs)
    held, spans = [], {}
    for number, layer in enumerate(net._layers):
        end = _backward_step(net, number) if net._passes.layers[number] else number
        for blob in layer.buffers():
            if blob.dtype == net.dtype and id(blob.data_memory) not in elsewhere:
                held.append(blob)
                spans[id(blob)] = [(number - (blob is net._parted.get(number)), end)]
    return _lives(held, "data", spans, [])


def _lives(blobs: Iterable[Blob], side: str, spans: dict[int, list[Span]], spared: list[Blob]) -> list[Life]:
    """The lives of the memories that may be recycled, those of blobs that share one together; spans: per blob (id)."""
    together: dict[int, list[Blob]] = {}
    for blob in blobs:
        together.setdefault(id(_memory(blob, side)), []).append(blob)
    fixed = {id(_memory(blob, side)) for blob in spared}
    lives = []
    for memory, sharing in together.items():
        if memory not in fixed and all(id(blob) in spans for blob in sharing):
            each = zip(*(spans[id(blob)] for blob in sharing), strict=True)  # as many spans for all of them
            own = [(min(first for first, _ in part), max(last for _, last in part)) for part in each]
            lives.append(Life(sharing, side, own, max(blob.count for blob in sharing)))
    return lives


def _memory(blob: Blob, side: str):
    return getattr(blob, f"{side}_memory")


def _groups(lives: list[Life]) -> list[list[Life]]:
    """Lives that do not meet, together: each, in the order given, with those whose memory comes closest in size, else alone."""
    groups: list[list[Life]] = []
    for life in lives:
        free = [group for group in groups if not any(map(life.meets, group))]
        sizes = [_size([group]) for group in free]
        chosen = min(
            zip(sizes, free, strict=True), key=lambda one: (one[0] < life.count, abs(one[0] - life.count)), default=None
        )
        groups.append([life]) if chosen is None else chosen[1].append(life)
    return groups


def _size(groups: list[list[Life]]) -> int:
    """Values that memories for these groups hold."""
    return sum(max(life.count for life in group) for group in groups)


def _assign(net, lives: list[Life]) -> list[list[Life]]:
    """Give lives that do not meet one memory; the lives of each. What others overwrite at the end is entered into net._gone."""
    by_time, by_size = lambda life: life.spans[0], lambda life: (-life.count, life.spans[0])
    groups = min((_groups(sorted(lives, key=key)) for key in (by_time, by_size)), key=_size)
    overwritten = set()
    for group in groups:
        memory = _memory(group[0].blobs[0], group[0].side)
        end = max(life.last for life in group)
        for life in group:
            for blob in life.blobs:
                setattr(blob, f"{life.side}_memory", memory)
            if life.last < end:
                overwritten.update((id(blob), life.side) for blob in life.blobs)
    for side, names in net._gone.items():
        names.update(name for name, blob in net._named_blobs.items() if (id(blob), side) in overwritten)
    return groups


def _lost(groups: list[list[Life]], once: bool) -> set[int]:
    """The blobs (ids) whose values others overwrite; once: between their passes, else at any time, which a second backward pass would see."""
    return {
        id(blob)
        for group in groups
        for life in group
        if any(other is not life and (not once or life.is_overwritten_by(other)) for other in group)
        for blob in life.blobs
    }
