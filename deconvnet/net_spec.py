"""What writes nets in Python, where pycaffe has it: deconvnet.net_spec."""

from . import layers, params
from .core.net import Function, NetSpec, Top, to_proto

__all__ = ["Function", "NetSpec", "Top", "layers", "params", "to_proto"]
