"""A net: build, forward, backward, weights in and out."""

from .net import LearnableParameter, Net, NetError
from .weights import LoadReport

__all__ = ["LearnableParameter", "LoadReport", "Net", "NetError"]
