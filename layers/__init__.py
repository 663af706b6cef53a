"""One class per Caffe layer type, found by its name."""

# importing a family registers its types
from . import (
    accuracy,
    activation,
    batch_norm,
    convolution,
    data,
    dense_image_data,
    detection,
    eltwise,
    embed,
    hdf5,
    image_data,
    inner_product,
    inputs,
    interp,
    losses,
    mat_write,
    memory_data,
    neuron,
    normalization,
    pooling,
    python_layer,
    recurrent,
    reduction,
    regions,
    scale,
    seg_data,
    selection,
    shape,
    softmax,
    structure,
    window_data,
    windows,
)
from .activation import Dropout, ReLU
from .batch_norm import BN, RunningBN
from .convolution import Convolution, Deconvolution
from .eltwise import Eltwise
from .inputs import Input, dummy_shapes
from .layer import Layer, layer_type, layer_types, param_field, register
from .memory_data import MemoryData
from .normalization import BatchNorm
from .pooling import Pooling, Unpooling
from .python_layer import Python, PythonLayer
from .reading import TransformedImages
from .scale import Scale
from .structure import Crop, Split

__all__ = [
    "BN",
    "BatchNorm",
    "Convolution",
    "Crop",
    "Deconvolution",
    "Dropout",
    "Eltwise",
    "Input",
    "Layer",
    "MemoryData",
    "Pooling",
    "Python",
    "PythonLayer",
    "ReLU",
    "RunningBN",
    "Scale",
    "Split",
    "TransformedImages",
    "Unpooling",
    "dummy_shapes",
    "layer_type",
    "layer_types",
    "param_field",
    "register",
]
