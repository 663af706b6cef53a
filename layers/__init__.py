"""One class per Caffe layer type, found by its name."""

from . import (
    accuracy,
    activation,
    batch_norm,
    convolution,
    eltwise,
    inner_product,
    inputs,
    pooling,
    seg_data,
    softmax,
    structure,
)
from .batch_norm import BN
from .inputs import Input
from .layer import Layer, layer_type, register
from .pooling import Pooling, Unpooling
from .structure import Crop, Split

__all__ = ["BN", "Crop", "Input", "Layer", "Pooling", "Split", "Unpooling", "layer_type", "register"]

# importing a family registers its types
_FAMILIES = (
    accuracy,
    activation,
    batch_norm,
    convolution,
    eltwise,
    inner_product,
    inputs,
    pooling,
    seg_data,
    softmax,
    structure,
)
