"""The host device: the compiled kernels, called through ctypes. Arrays are NumPy's."""

import ctypes
import os
from functools import cache
from pathlib import Path

import numpy as np

from . import host_build, threads
from .sources import INT, POINTEES, Signature, signatures, too_large

_LINE = 64  # bytes of a cache line and of the widest vector
_SCALARS = {
    "int": ctypes.c_int,
    "index": ctypes.c_longlong,
    "unsigned int": ctypes.c_uint,
    "unsigned long long": ctypes.c_ulonglong,
}


def load_library() -> ctypes.CDLL:
    """The library beside the sources (built where it is missing and the folder can be written), else one in the user's cache folder.

    DECONVNET_HOST_LIBRARY names another build, as the sanitizer tests do. Raises host_build.BuildError.
    """
    named = os.environ.get("DECONVNET_HOST_LIBRARY")
    if named:
        return ctypes.CDLL(named)
    folder = host_build.FOLDER
    if not (folder / host_build.library_name()).exists() and not os.access(folder, os.W_OK):
        folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "deconvnet"
    return ctypes.CDLL(str(host_build.build(folder)))


@cache
def _library() -> ctypes.CDLL:
    library = load_library()
    lent = threads.of_blas()
    if lent and hasattr(library, "blas_threads"):  # the sanitizers' builds have threads of their own
        ctypes.c_void_p.in_dll(library, "run_on_blas_threads").value = lent[0]
        ctypes.c_int.in_dll(library, "blas_threads").value = lent[1]
    return library


@cache
def _worth_a_thread() -> int:
    """Below so many values a second thread costs more than it brings: BLAS's are awake, OpenMP's asleep."""
    return 1 << 15 if threads.of_blas() else 1 << 18


def aligned_zeros(count: int, dtype: np.dtype) -> np.ndarray:
    """A flat array of zeros that starts at a cache line; NumPy's large arrays start 16 bytes after one, and every vector then crosses two."""
    size = count * dtype.itemsize
    memory = np.zeros(size + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + size].view(dtype)


class HostKernel:
    """One kernel for one dtype; calling it checks the arrays and runs the grid."""

    def __init__(self, name: str, signature: Signature, dtype: np.dtype):
        self.name, self.signature = name, signature
        real = {"float32": "float", "float64": "double"}[dtype.name]
        scalar = ctypes.c_float if real == "float" else ctypes.c_double
        types = [ctypes.c_void_p if kind.endswith("*") else _SCALARS.get(kind, scalar) for kind in signature.kinds]
        address = ctypes.c_void_p.in_dll(_library(), f"{name}_{real}").value
        self._run = ctypes.CFUNCTYPE(None, ctypes.c_int, *types)(address)
        # what each argument must be: a dtype for an array, None for a number
        self._pointees = [POINTEES.get(kind, dtype) if kind.endswith("*") else None for kind in signature.kinds]
        self._is_int = [kind == "int" for kind in signature.kinds]
        self._threads, self._worth_a_thread = threads.count(), _worth_a_thread()

    def __call__(self, rows: int, width: int, arguments: tuple) -> None:
        values = []
        for pointee, is_int, argument in zip(self._pointees, self._is_int, arguments, strict=True):
            if pointee is None or argument is None:
                if is_int and not -INT <= argument < INT:  # ctypes would cut it off
                    raise too_large(self.name, f"{self.signature.names[len(values)]} is {argument}")
                values.append(argument)
            elif argument.dtype is not pointee and argument.dtype != pointee or not argument.flags.c_contiguous:
                raise ValueError(
                    f"kernel {self.name}: {self.signature.names[len(values)]} must be a contiguous {pointee} array, "
                    f"not {argument.dtype} {argument.shape} with strides {argument.strides}"
                )
            else:
                values.append(argument.ctypes.data)
        # one block a thread, or one: OpenMP, where it runs them, keeps its team only while the number stays the same
        self._run(self._threads if rows > 1 and rows * width > self._worth_a_thread else 1, *values)


@cache
def kernel(name: str, dtype: np.dtype) -> HostKernel:
    """The kernel of that name for float32 or float64 arrays."""
    return HostKernel(name, signatures()[name], dtype)
