"""The parameters of a net's layers: which learn, at what rate, and whose memory they and its blobs have."""

from typing import NamedTuple

from ..blob import Blob
from ..layers import Layer
from ..proto import caffe_pb2


class LearnableParameter(NamedTuple):
    """A parameter that the solver moves; one that several layers share stands here once."""

    name: str
    blob: Blob
    lr_mult: float
    decay_mult: float


def append_parameters(layer: Layer, param, learnable: list[LearnableParameter], owners: dict) -> None:
    """Settle how a layer's parameters learn, and with whom they are shared.

    owners, by name: (blob, what it is called, all that was said of how it learns, its place among the learnable ones).

    Raises ValueError.
    """
    if len(param.param) > len(layer.blobs):
        raise ValueError(
            f"has {len(layer.blobs)} parameters and {len(param.param)} param {{ }}: give at most one for each"
        )
    for number, blob in enumerate(layer.blobs):
        kept = number in layer.statistics
        default = caffe_pb2.ParamSpec(lr_mult=0, decay_mult=0) if kept else caffe_pb2.ParamSpec()
        spec = param.param[number] if number < len(param.param) else default
        if kept and spec.lr_mult:
            raise ValueError(
                f"parameter {number} holds statistics, which are not learned: set lr_mult: 0 in param {{ }} {number}"
            )
        layer.param_propagate_down.append(spec.lr_mult != 0)
        name = f"{param.name}/{number}"
        if spec.name and spec.name in owners:
            owner, owner_name, own_spec, place = owners[spec.name]
            _share(blob, spec, owner, owner_name)
            learnable[place] = learnable[place]._replace(**_multipliers(own_spec, spec, owner_name))
            layer.shared.add(number)
            continue
        if spec.name:
            own = caffe_pb2.ParamSpec()
            own.CopyFrom(spec)
            owners[spec.name] = (blob, name, own, len(learnable))
        learnable.append(LearnableParameter(name, blob, spec.lr_mult, spec.decay_mult))


def _multipliers(own, spec, owner_name: str) -> dict[str, float]:
    """lr_mult and decay_mult as far as this use of a shared parameter says them first, which `own` learns. Raises ValueError."""
    told = {}
    for name in ("lr_mult", "decay_mult"):
        if not spec.HasField(name):
            continue
        value = getattr(spec, name)
        if own.HasField(name) and getattr(own, name) != value:
            raise ValueError(
                f"shares parameter '{spec.name}' with {owner_name} and gives it {name}: {value:g}, there it is "
                f"{getattr(own, name):g}: one parameter learns at one rate"
            )
        setattr(own, name, value)
        told[name] = value
    return told


def _share(blob: Blob, spec, owner: Blob, owner_name: str) -> None:
    permissive = spec.share_mode == caffe_pb2.ParamSpec.PERMISSIVE
    if blob.count != owner.count or not (permissive or blob.shape == owner.shape):
        raise ValueError(
            f"cannot share parameter '{spec.name}' of shape {owner.shape} (of {owner_name}): its own shape is {blob.shape}"
            + ("" if blob.count != owner.count else "; share_mode: PERMISSIVE allows another shape of equal count")
        )
    blob.share_data(owner)
    blob.share_diff(owner)


def share_trained(layer: Layer, trained: list[Blob]) -> None:
    """Make the parameters of the layer of the same name one's own."""
    here, there = ([blob.shape for blob in blobs] for blobs in (layer.blobs, trained))
    if not here:  # another layer of that name has the parameters
        return
    if trained and here != there:
        raise ValueError(f"its parameters have the shapes {here} here and {there} in the other net")
    for blob, source in zip(layer.blobs, trained, strict=False):
        blob.share_data(source)
    layer.shared.update(range(len(trained)))


def share_buffers(net, beside) -> None:
    """Let a net use the memory of another's blobs and layers of the same names, save where a layer keeps what was put into it.

    Where several blobs of the other lie in one memory, their namesakes here may not be able to: the memories that those have take the place of
    the other's one to one, the largest that of the largest.
    """
    kept = {name for each in (net, beside) for layer in each._layers if layer.keeps_tops for name in layer.param.top}
    common = [name for name in net._named_blobs if name in beside._named_blobs and name not in kept]
    several = [name for name in common if name in beside._gone["data"]]
    instead = dict(
        zip(*(_memories([each._named_blobs[name] for name in several]) for each in (net, beside)), strict=False)
    )
    for name in common:
        blob, other = net._named_blobs[name], beside._named_blobs[name]
        blob.share_diff(other)
        if name not in beside._gone["data"]:
            blob.share_data(other)
        else:
            blob.data_memory = instead.get(blob.data_memory, blob.data_memory)
    if beside._runs_backward_once:  # what its layers hold lies where its blobs do
        return
    theirs = beside.layers_by_name()
    for layer in net._layers:
        if layer.name in theirs:
            for blob, source in zip(layer.buffers(), theirs[layer.name].buffers(), strict=False):
                blob.share_data(source)


def _memories(blobs: list[Blob]) -> list:
    """Where the values of blobs lie, each once, the largest first."""
    sizes: dict = {}
    for blob in blobs:
        sizes[blob.data_memory] = max(blob.count, sizes.get(blob.data_memory, 0))
    return sorted(sizes, key=sizes.get, reverse=True)


def loss_weights(layer: Layer, param) -> list[float]:
    """Per top what its sum adds to the net's loss. Raises ValueError."""
    if param.loss_weight and len(param.loss_weight) != len(param.top):
        raise ValueError(
            f"has {len(param.top)} tops and {len(param.loss_weight)} loss_weight: give one for each or none"
        )
    if param.loss_weight:
        return list(param.loss_weight)
    return [1.0 if layer.is_loss and number == 0 else 0.0 for number in range(len(param.top))]
