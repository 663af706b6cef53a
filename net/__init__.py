"""A net: build, forward, backward, weights in and out."""

from .errors import NetError
from .net import LearnableParameter, Net
from .summary import summarize, totals
from .weights import LoadReport

__all__ = ["LearnableParameter", "LoadReport", "Net", "NetError", "summarize", "totals"]
