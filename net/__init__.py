"""A net: build, forward, backward, weights in and out."""

from .coord_map import crop
from .drawing import DIRECTIONS, dot_source, drawn
from .errors import NetError
from .input_shapes import data_shapes, makes_data, require_data, with_inputs
from .net import Net
from .net_spec import Function, NetSpec, Top, to_proto
from .parameters import LearnableParameter
from .summary import summarize, totals
from .timing import LayerTime, time_layers
from .weights import LoadReport

__all__ = [
    "DIRECTIONS",
    "Function",
    "LayerTime",
    "LearnableParameter",
    "LoadReport",
    "Net",
    "NetError",
    "NetSpec",
    "Top",
    "crop",
    "data_shapes",
    "dot_source",
    "drawn",
    "makes_data",
    "require_data",
    "summarize",
    "time_layers",
    "to_proto",
    "totals",
    "with_inputs",
]
