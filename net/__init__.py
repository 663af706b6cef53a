"""A net: build, forward, backward, weights in and out."""

from .drawing import DIRECTIONS, dot_source
from .errors import NetError
from .input_shapes import data_shapes, with_inputs
from .net import Net
from .parameters import LearnableParameter
from .summary import summarize, totals
from .timing import LayerTime, time_layers
from .weights import LoadReport

__all__ = [
    "DIRECTIONS",
    "LayerTime",
    "LearnableParameter",
    "LoadReport",
    "Net",
    "NetError",
    "data_shapes",
    "dot_source",
    "summarize",
    "time_layers",
    "totals",
    "with_inputs",
]
