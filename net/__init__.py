"""A net: build, forward, backward, weights in and out."""

from .errors import NetError
from .net import LearnableParameter, Net
from .summary import summarize, totals
from .timing import LayerTime, time_layers
from .weights import LoadReport

__all__ = ["LayerTime", "LearnableParameter", "LoadReport", "Net", "NetError", "summarize", "time_layers", "totals"]
