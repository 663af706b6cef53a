"""The words of layers' parameters, as pycaffe's `from caffe import params as P`: P.Pooling.MAX."""

from .core.net import net_spec as _net_spec


def __getattr__(name):
    return _net_spec.parameter_words(name)


def __dir__():
    return _net_spec.parameter_names()
