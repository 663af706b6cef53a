"""Automatic splits: a blob that several layers read gets a Split layer, so that its gradients are summed (Caffe's insert_splits)."""

from collections import Counter

from google.protobuf import text_format

from ..layers import layer_type
from ..proto import caffe_pb2, did_you_mean

AUTOMATIC = "(automatic)"  # what the name of a top that the net itself gives a loss begins with


class MisplacedLayer(ValueError):
    """A layer with a bottom that no layer before it makes; `layer` is its LayerParameter."""

    def __init__(self, layer, message: str):
        super().__init__(message)
        self.layer = layer


def insert_splits(net, left_out=()):
    """A NetParameter in which no blob has two readers: Split layers named as Caffe names them stand between.

    A top that is a loss and is read too counts as read twice. A loss layer without a top gets one, which is no output of the net.
    left_out: the layers that take no part under the phase, level and stages at hand, for messages. All types must be known. Raises
    MisplacedLayer.
    """
    readers, made_by = _count_readers(net, left_out)
    split = caffe_pb2.NetParameter()
    split.CopyFrom(net)
    del split.layer[:]
    used: Counter = Counter()
    for number, layer in enumerate(net.layer):
        copied = split.layer.add()
        copied.CopyFrom(layer)
        for i, source in enumerate(made_by[number]):
            if readers[source] > 1:
                copied.bottom[i] = _split_top(net, source, used[source])
                used[source] += 1
        if not layer.top and layer_type(layer.type).is_loss:
            used[AUTOMATIC] += 1
            copied.top.append(AUTOMATIC if used[AUTOMATIC] == 1 else f"{AUTOMATIC} {used[AUTOMATIC]}")
        for j in range(len(layer.top)):
            if readers[number, j] > 1:
                _add_split(split.layer.add(), net, (number, j), readers[number, j])
                if _is_loss(layer, j):
                    used[number, j] += 1
                    del copied.loss_weight[:]
    return split


def _maker_left_out(bottom: str, left_out) -> str:
    """Which layer would make that bottom, and under which rules; nothing where none would."""
    for layer in left_out:
        if bottom in layer.top and bottom not in layer.bottom:
            rules = (("include", layer.include), ("exclude", layer.exclude))
            told = " ".join(
                f"{kind} {{ {text_format.MessageToString(rule, as_one_line=True)} }}"
                for kind, own in rules
                for rule in own
            )
            return f"; layer '{layer.name}' makes it, but takes no part in this phase, level and stages: {told}"
    return ""


def _count_readers(net, left_out):
    """How many read each top, keyed (layer, top), and per layer which top each bottom is."""
    last_maker: dict[str, tuple[int, int]] = {}
    readers: Counter = Counter()
    made_by = []
    for number, layer in enumerate(net.layer):
        sources = []
        for bottom in layer.bottom:
            if bottom not in last_maker:
                hint = _maker_left_out(bottom, left_out) or did_you_mean(bottom, last_maker)
                raise MisplacedLayer(layer, f"no layer before it makes its bottom '{bottom}'{hint}")
            sources.append(last_maker[bottom])
            readers[last_maker[bottom]] += 1
        made_by.append(sources)
        for j, top in enumerate(layer.top):
            last_maker[top] = (number, j)
    for number, layer in enumerate(net.layer):
        for j in range(len(layer.top)):
            if readers[number, j] and _is_loss(layer, j):
                readers[number, j] += 1
    return readers, made_by


def _is_loss(layer, top: int) -> bool:
    if top < len(layer.loss_weight):
        return layer.loss_weight[top] != 0
    return not layer.loss_weight and top == 0 and layer_type(layer.type).is_loss


def _split_name(net, source) -> str:
    layer = net.layer[source[0]]
    return f"{layer.top[source[1]]}_{layer.name}_{source[1]}_split"


def _split_top(net, source, number: int) -> str:
    return f"{_split_name(net, source)}_{number}"


def _add_split(split, net, source, count: int) -> None:
    layer = net.layer[source[0]]
    split.name, split.type, split.phase = _split_name(net, source), "Split", layer.phase
    split.bottom.append(layer.top[source[1]])
    split.top.extend(_split_top(net, source, number) for number in range(count))
    if _is_loss(layer, source[1]):
        weight = layer.loss_weight[source[1]] if layer.loss_weight else 1
        split.loss_weight.extend([weight] + [0] * (count - 1))
