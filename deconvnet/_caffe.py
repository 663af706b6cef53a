"""What scripts import from pycaffe's compiled half."""

from .core.blob import BlobVec
from .core.blob import HostBlob as Blob
from .core.layers import PythonLayer as Layer
from .core.layers import layer_types as layer_type_list
from .core.net import Net
from .core.solver import Solver

RawBlobVec = list  # the bottoms and tops of a Python layer

__all__ = ["Blob", "BlobVec", "Layer", "Net", "RawBlobVec", "Solver", "layer_type_list"]
