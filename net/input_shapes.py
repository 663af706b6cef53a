"""A net with inputs of chosen shapes, for looking at it and timing it at any size, without its data."""

from itertools import zip_longest

from ..proto import caffe_pb2
from .errors import NetError

# what stays of a layer that becomes an Input
_KEPT = ("name", "type", "top", "include", "exclude")


def with_inputs(param, shapes: dict[str, tuple[int, ...]], name: str = "net"):
    """A copy of a NetParameter in which the blobs of those names are inputs of those shapes.

    An Input layer takes the shapes; a data layer is replaced by an Input, and all its tops must be given.
    name: of the file, for messages. Raises NetError for a name that no layer without bottoms makes.
    """
    changed = caffe_pb2.NetParameter()
    changed.CopyFrom(param)
    unknown = set(shapes)
    for layer in changed.layer:
        given = [top for top in layer.top if top in shapes]
        if not given or layer.bottom:
            continue
        unknown.difference_update(given)
        _make_input(layer, shapes, name)
    if unknown:
        known = sorted({top for layer in param.layer if not layer.bottom for top in layer.top})
        raise NetError(
            f"{name}: '{min(unknown)}' is no input or data of the net: "
            f"{'those are ' + ', '.join(known) if known else 'it has none'}"
        )
    return changed


def _make_input(layer, shapes, name: str) -> None:
    """Turn a layer without bottoms into an Input of the given shapes, in place."""
    held: list = []
    if layer.type == "Input":
        held = [tuple(shape.dim) for shape in layer.input_param.shape] or [()]
        held = held * len(layer.top) if len(held) == 1 else held
    elif missing := [top for top in layer.top if top not in shapes]:
        raise NetError(
            f"{name}: layer '{layer.name}' ({layer.type}) makes {', '.join(layer.top)}: "
            f"give a shape for {', '.join(missing)} too"
        )
    for field, _ in layer.ListFields():
        if field.name not in _KEPT:
            layer.ClearField(field.name)
    layer.type = "Input"
    for top, shape in zip_longest(layer.top, held, fillvalue=()):
        layer.input_param.shape.add().dim.extend(shapes.get(top, shape))
