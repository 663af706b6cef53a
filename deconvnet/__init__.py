"""deconvnet: the Caffe that installs with pip. pycaffe's names, on our own CUDA kernels.

import deconvnet as caffe
net = caffe.Net("net.prototxt", caffe.TEST, weights="w.caffemodel")
out = net.forward(data=x)
"""

from . import _caffe, io, layers, net_spec, params, proto, pycaffe
from ._caffe import (
    has_nccl,
    init_log,
    log,
    set_multiprocess,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from .classifier import Classifier
from .core.blob import set_seed as set_random_seed
from .core.kernels import DeviceError, set_gpu, set_mode
from .core.layers import PythonLayer as Layer
from .core.layers import layer_types as layer_type_list
from .core.net import Net, NetError, NetSpec, to_proto
from .core.proto import PrototxtError
from .core.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    SolverError,
    get_solver,
)
from .detector import Detector
from .pycaffe import Timer

TRAIN = proto.caffe_pb2.TRAIN
TEST = proto.caffe_pb2.TEST
__version__ = "0.1.0"


def set_mode_cpu() -> None:
    """Compute on the CPU from now on (the default)."""
    set_mode("cpu")


def set_mode_gpu() -> None:
    """Compute on a GPU through CuPy from now on. Raises DeviceError where there is none."""
    set_mode("gpu")


def set_device(number: int) -> None:
    """Choose the GPU of that number. Raises DeviceError where it does not exist."""
    set_gpu(number)


__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Classifier",
    "Detector",
    "DeviceError",
    "Layer",
    "Net",
    "NesterovSolver",
    "NetError",
    "NetSpec",
    "PrototxtError",
    "RMSPropSolver",
    "SGDSolver",
    "SolverError",
    "Timer",
    "get_solver",
    "has_nccl",
    "init_log",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "net_spec",
    "params",
    "proto",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]
