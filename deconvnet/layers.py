"""Layers to write nets with, as pycaffe's `from caffe import layers as L`: L.Convolution(n.data, num_output=20, kernel_size=5)."""

from .core.net import net_spec as _net_spec


def __getattr__(name):
    return _net_spec.layer_function(name)


def __dir__():
    return _net_spec.known_types()
