"""Whether all the layers of a net are here: nets of other Caffes have types and fields of their own."""

from ..layers import layer_type
from ..proto import PrototxtError
from .errors import located


def require_known(layers, model_file: str | None) -> None:
    """Raise for the first LayerParameter of an unknown type or with a field of another Caffe; the message names all such layers.

    Raises NetError, or PrototxtError for a field, with file and line.
    """
    strange = [layer for layer in layers if _problem(layer)]
    if not strange:
        return
    first, *others = strange
    more = {
        f"'{layer.name}'{f' ({layer.type})' if layer.type else ''}": None
        for layer in others
        if layer.name or layer.type
    }
    also = f"; unknown as well: {', '.join(more)}" if more else ""
    if first.foreign:
        raise PrototxtError(first.foreign + also)
    raise located(ValueError(_problem(first) + also), first, model_file)


def _problem(layer) -> str:
    """What is to be said of a layer's field or type; nothing where it is known."""
    try:
        layer_type(layer.type)
    except ValueError as error:
        return layer.foreign or str(error)
    return layer.foreign
