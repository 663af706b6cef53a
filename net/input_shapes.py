"""A net with inputs of chosen shapes, for looking at it and timing it at any size, without its data."""

from collections.abc import Iterable
from itertools import zip_longest

from ..layers import dummy_shapes
from ..proto import caffe_pb2
from .errors import NetError

# what stays of a layer that becomes an Input
_KEPT = ("name", "type", "top", "include", "exclude")


def makes_data(layer) -> bool:
    """Whether a layer's tops are inputs or data of the net."""
    return not layer.bottom and layer.type not in ("Parameter", "ContinuationIndicator")


def with_inputs(param, shapes: dict[str, tuple[int, ...]], name: str = "net"):
    """A copy of a NetParameter in which the blobs of those names are inputs of those shapes.

    An Input layer takes the shapes; a data layer is replaced by an Input, and all its tops must be given.
    name: of the file, for messages. Raises NetError for a name that is neither.
    """
    changed = caffe_pb2.NetParameter()
    changed.CopyFrom(param)
    require_data(shapes, [param], name)
    for layer in changed.layer:
        if makes_data(layer) and not shapes.keys().isdisjoint(layer.top):
            _make_input(layer, shapes, name)
    return changed


def require_data(names: Iterable[str], nets: list, name: str) -> None:
    """Raise NetError where one of the names is no input or data of any of the NetParameters."""
    known = sorted({top for net in nets for layer in net.layer if makes_data(layer) for top in layer.top})
    if unknown := set(names) - set(known):
        there = f"those are {', '.join(known)}" if known else "it has none"
        raise NetError(f"{name}: '{min(unknown)}' is no input or data of the net: {there}")


def data_shapes(param, batch: int | None = None, name: str = "net") -> dict[str, tuple[int, ...]]:
    """The shapes of inputs and data, as far as the NetParameter says them, with another batch if one is given.

    Raises NetError for a layer whose shapes are known from its files only.
    """
    shapes = {}
    for layer in param.layer:
        if not makes_data(layer):
            continue
        try:
            made = _shapes_made(layer)
        except ValueError as error:
            raise NetError(f"{name}: layer '{layer.name}' ({layer.type}): {error}") from None
        if len(made) < len(layer.top) or not all(made):
            raise NetError(
                f"{name}: layer '{layer.name}' ({layer.type}): its files say what shapes it makes: give shapes for {', '.join(layer.top)}"
            )
        for top, shape in zip(layer.top, made, strict=False):
            shapes[top] = (batch or shape[0], *shape[1:])
    return shapes


def _shapes_made(layer) -> list[tuple[int, ...]]:
    """Of each top of a layer without bottoms; none where the definition does not say it."""
    if layer.type == "Input":
        held = [tuple(shape.dim) for shape in layer.input_param.shape]
    elif layer.type == "DummyData":
        return dummy_shapes(layer.dummy_data_param, len(layer.top))
    elif layer.type == "MemoryData":
        memory = layer.memory_data_param
        return [(memory.batch_size, memory.channels, memory.height, memory.width), (memory.batch_size,)]
    elif layer.type == "WindowData":
        batch, crop = layer.window_data_param.batch_size, layer.transform_param.crop_size
        return [(batch, 3, crop, crop), (batch,)]
    else:
        return _image_shapes(layer)
    return held * len(layer.top) if len(held) == 1 else held


def _image_shapes(layer) -> list[tuple[int, ...]]:
    """Of a layer that reads images: as they are cropped, else as they are resized."""
    images = layer.image_data_param
    crop = layer.transform_param.crop_size
    height, width = (crop, crop) if crop else (images.new_height, images.new_width)
    if layer.type not in ("ImageData", "ImageSegData", "WindowSegData") or not (height and width):
        return []
    batch, data = images.batch_size, (images.batch_size, 3 if images.is_color else 1, height, width)
    return [data, (batch,)] if layer.type == "ImageData" else [data, (batch, 1, height, width), (batch, 1, 1, 2)]


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
