"""The GPU device: the same sources compiled at run time by CuPy. Nothing here is imported before a GPU is asked for."""

from functools import cache

import cupy
import numpy as np

from .host_build import BuildError
from .sources import INT, Signature, signatures, source_text, too_large

_BLOCKS_PER_PROCESSOR = 16
_MOST_THREADS = 256
_SCALARS = {"int": np.int32, "index": np.int64, "unsigned int": np.uint32, "unsigned long long": np.uint64}
_POINTEES = {"int*": np.dtype(np.int32), "double*": np.dtype(np.float64)}


@cache
def _module(file, real: str) -> cupy.RawModule:
    return cupy.RawModule(code=source_text(file), options=("-std=c++17", f"-Dreal={real}"))


@cache
def _processors(device: int) -> int:
    return cupy.cuda.Device(device).attributes["MultiProcessorCount"]


class GpuKernel:
    """One kernel for one dtype; calling it checks the arrays and launches a grid for the rows and their width.

    Raises BuildError with the compiler's log where its file does not compile.
    """

    def __init__(self, name: str, signature: Signature, dtype: np.dtype):
        self.name, self.signature = name, signature
        real = {"float32": "float", "float64": "double"}[dtype.name]
        try:
            self._function = _module(signature.file, real).get_function(name)
        except cupy.cuda.compiler.CompileException as error:
            place = f"compute capability {cupy.cuda.Device().compute_capability}"
            raise BuildError(f"{signature.file} does not compile for {place}; the compiler's log:\n{error}") from None
        self._pointees = [_POINTEES.get(kind, dtype) if kind.endswith("*") else None for kind in signature.kinds]
        self._scalars = [None if kind.endswith("*") else _SCALARS.get(kind, dtype.type) for kind in signature.kinds]

    def __call__(self, rows: int, width: int, arguments: tuple) -> None:
        values = []
        for pointee, scalar, argument in zip(self._pointees, self._scalars, arguments, strict=True):
            if pointee is None:
                if scalar is np.int32 and not -INT <= argument < INT:
                    raise too_large(self.name, f"{self.signature.names[len(values)]} is {argument}")
                values.append(scalar(argument))
            elif argument is None:
                values.append(np.uintp(0))
            elif argument.dtype != pointee or not argument.flags.c_contiguous:
                name = self.signature.names[len(values)]
                raise ValueError(
                    f"kernel {self.name}: {name} must be a contiguous {pointee} array, not {argument.dtype} {argument.shape}"
                )
            else:
                values.append(argument)
        most = _BLOCKS_PER_PROCESSOR * _processors(cupy.cuda.Device().id)
        threads = min(_MOST_THREADS, (width + 31) // 32 * 32)
        self._function((max(1, min(rows, most)),), (max(32, threads),), tuple(values))


@cache
def kernel(name: str, dtype: np.dtype) -> GpuKernel:
    """The kernel of that name for float32 or float64 arrays."""
    return GpuKernel(name, signatures()[name], dtype)
