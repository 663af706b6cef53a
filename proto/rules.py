"""Which layers take part in a net: each layer's include and exclude rules against the net's phase, level and stages."""

from . import caffe_pb2
from .prototxt import PrototxtError

__all__ = ["filter_net", "holds", "takes_part"]


def filter_net(net, state, name="net"):
    """The net of those layers that take part under `state`: a new NetParameter, `net` is left as it is.

    net: NetParameter in today's syntax (see upgrade_net). state: NetState. name: what errors call the net.
    A layer with include rules takes part if one of them holds; one with exclude rules, unless one of them holds; one
    without rules always. Every layer of the result has a phase: its own or, where it has none, the state's.
    Raises PrototxtError, naming the layer, if it has rules of both kinds (Caffe's rules; NetStateRule in caffe.proto).
    """
    filtered = caffe_pb2.NetParameter()
    filtered.CopyFrom(net)
    for i in reversed(range(len(filtered.layer))):
        layer = filtered.layer[i]
        if not takes_part(layer, state, name):
            del filtered.layer[i]
        elif not layer.HasField("phase"):
            layer.phase = state.phase
    return filtered


def holds(rule, state):
    """Whether a NetStateRule holds for a NetState: phase, min_level..max_level, every stage, and no not_stage."""
    stages = set(state.stage)
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or rule.min_level <= state.level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and stages.issuperset(rule.stage)
        and stages.isdisjoint(rule.not_stage)
    )


def takes_part(layer, state, name="net"):
    """Whether a layer takes part under `state`. Raises PrototxtError, which calls its net `name`, for rules of both kinds."""
    if layer.include and layer.exclude:
        raise PrototxtError(f"{name}: layer '{layer.name}' has both include and exclude rules; give one kind only")
    if layer.include:
        return any(holds(rule, state) for rule in layer.include)
    return not any(holds(rule, state) for rule in layer.exclude)
