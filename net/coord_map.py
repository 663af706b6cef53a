"""Crops of a net written in Python, their offsets found from the layers between (pycaffe's coord_map.crop)."""

from ..layers import layer_type, layer_types
from ..proto import caffe_pb2
from .crop_offset import Source, computed_offset
from .errors import NetError
from .net_spec import Function, Top, layers_below


def crop(top_from: Top, top_to: Top) -> Top:
    """The part of `top_from` that lies over `top_to`, by a Crop layer with the offset written out.

    Raises NetError where the two come from no common blob, differ in scale, or lie apart by no whole number of pixels from 0 on.
    """
    functions = layers_below([top_from, top_to])
    layers = {function: _Mapped(function) for function in functions}
    first_sources = {function: _source(function.inputs[0]) if function.inputs else None for function in functions}
    try:
        vertical, horizontal = computed_offset(_source(top_from), _source(top_to), layers, first_sources)
    except ValueError as error:
        raise NetError(f"crop of {top_from!r} to {top_to!r}: {error}") from None
    offset = [vertical] if vertical == horizontal else [vertical, horizontal]
    return Function("Crop", [top_from, top_to], {"crop_param": {"axis": 2, "offset": offset}}).tops[0]


def _source(top: Top) -> Source:
    return Source(top.fn, top.n)


class _Mapped:
    """A layer of a NetSpec as far as its coordinates go: it is made of its parameters, without blobs."""

    def __init__(self, function: Function):
        self.function = function

    def coordinate_map(self):
        """As Layer.coordinate_map; None for a type that does not run here."""
        param = caffe_pb2.LayerParameter(type=self.function.type_name)
        self.function.write(param)
        return layer_type(param.type)(param).coordinate_map() if param.type in layer_types() else None
