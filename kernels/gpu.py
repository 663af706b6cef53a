"""The GPU device: the same sources compiled at run time by CuPy. Nothing here is imported before a GPU is asked for."""

from functools import cache

import cupy
import numpy as np

from . import cublas
from .device import DeviceError
from .host_build import BuildError
from .sources import INT, POINTEES, Signature, signatures, source_text, too_large

_THREADS_PER_PROCESSOR = (
    4096  # that a grid has at most: twice what a processor holds, so that none idles while blocks end
)
_THREADS = 256  # of a block where there are blocks enough for every processor
_MOST_THREADS = 1024
_FEW = 2  # rows a processor, below which larger blocks keep it busy
# how errors of CUDA's driver and runtime and of cuBLAS begin where memory is wanting; CuPy has a MemoryError for arrays alone
_WANTS_MEMORY = (
    *("CUDA_ERROR_OUT_OF_MEMORY", "cudaErrorMemoryAllocation"),
    *("CUBLAS_STATUS_NOT_INITIALIZED", "CUBLAS_STATUS_ALLOC_FAILED"),  # the former of a handle that is not made
)
_SCALARS = {"int": np.int32, "index": np.int64, "unsigned int": np.uint32, "unsigned long long": np.uint64}


@cache
def _module(file, real: str) -> cupy.RawModule:
    return cupy.RawModule(code=source_text(file), options=("-std=c++17", f"-Dreal={real}"))


@cache
def _processors(device: int) -> int:
    runtime = cupy.cuda.runtime
    return runtime.deviceGetAttribute(runtime.cudaDevAttrMultiProcessorCount, device)


@cache
def _cuda() -> int:
    """CuPy's major version of CUDA."""
    return cupy.cuda.runtime.runtimeGetVersion() // 1000


def _unloaded(what: str, error: Exception) -> Exception:
    """What to raise where something cannot be loaded: of CuPy's wheels only those with the extra bring CUDA's libraries."""
    if hasattr(error, "status"):  # they are there, and an error of theirs is told; it may be what an earlier kernel did
        return (MemoryError if str(error).startswith(_WANTS_MEMORY) else DeviceError)(f"{what} ({error})")
    return DeviceError(
        f"{what} ({error}): where CUDA's libraries and headers are missing, pip install 'deconvnet[cuda{_cuda()}]' brings them"
    )


class GpuKernel:
    """One kernel for one dtype; calling it launches a grid for the rows and their width, `run` one of a given shape; both check the arrays.

    Raises BuildError with the compiler's log where its file does not compile.
    """

    def __init__(self, name: str, signature: Signature, dtype: np.dtype):
        self.name, self.signature = name, signature
        real = {"float32": "float", "float64": "double"}[dtype.name]
        try:
            self._function = _module(signature.file, real).get_function(name)
            # fewer than 1024 where a thread takes many registers; asking compiles it
            self._most_threads = min(_MOST_THREADS, self._function.max_threads_per_block // 32 * 32)
        except cupy.cuda.compiler.CompileException as error:
            place = f"compute capability {cupy.cuda.Device().compute_capability}"
            raise BuildError(f"{signature.file} does not compile for {place}; the compiler's log:\n{error}") from None
        except (RuntimeError, ImportError) as error:
            raise _unloaded(f"{signature.file} cannot be compiled or loaded", error) from None
        self._pointees = [POINTEES.get(kind, dtype) if kind.endswith("*") else None for kind in signature.kinds]
        self._scalars = [None if kind.endswith("*") else _SCALARS.get(kind, dtype.type) for kind in signature.kinds]

    def __call__(self, rows: int, width: int, arguments: tuple) -> None:
        self.run(*self._shape(rows, width), arguments)

    def run(self, grid: tuple[int], block: tuple[int], arguments: tuple) -> None:
        """Launch `grid` blocks of `block` threads."""
        values = []
        for pointee, scalar, argument in zip(self._pointees, self._scalars, arguments, strict=True):
            if pointee is None:
                if scalar is np.int32 and not -INT <= argument < INT:
                    raise too_large(self.name, f"{self.signature.names[len(values)]} is {argument}")
                values.append(scalar(argument))
            elif argument is None:
                values.append(np.uintp(0))
            elif not isinstance(argument, cupy.ndarray) or argument.dtype != pointee or not argument.flags.c_contiguous:
                name = self.signature.names[len(values)]
                raise ValueError(
                    f"kernel {self.name}: {name} must be a contiguous {pointee} array on a GPU, not {argument.dtype} {argument.shape}"
                )
            else:
                values.append(argument)
        try:
            self._function(grid, block, tuple(values))
        except RuntimeError as error:
            if str(error).startswith(_WANTS_MEMORY):
                raise MemoryError(f"kernel {self.name} ({error})") from None
            raise

    def _shape(self, rows: int, width: int) -> tuple[tuple[int], tuple[int]]:
        """(grid, block): blocks of whole warps, no wider than a row; no more of them than rows or than keep the device busy."""
        processors = _processors(cupy.cuda.Device().id)
        most = self._most_threads if rows < _FEW * processors else min(_THREADS, self._most_threads)
        threads = max(32, min(most, (width + 31) // 32 * 32))
        return (max(1, min(rows, processors * (_THREADS_PER_PROCESSOR // threads))),), (threads,)


@cache
def kernel(name: str, dtype: np.dtype) -> GpuKernel:
    """The kernel of that name for float32 or float64 arrays."""
    return GpuKernel(name, signatures()[name], dtype)


@cache
def _number(value: int, dtype: np.dtype) -> np.ndarray:
    return np.array(value, dtype)


def _operand(matrix) -> tuple[int, int]:
    """How the library, which counts down columns, is to read a matrix whose rows it takes for columns: (operation, leading dimension)."""
    (rows, columns), (down, along) = matrix.shape[-2:], (step // matrix.itemsize for step in matrix.strides[-2:])
    if along == 1 or columns == 1:
        return cublas.OPERATION_N, max(down if rows > 1 else 1, columns)
    if down == 1 or rows == 1:
        return cublas.OPERATION_T, max(along, rows)
    raise ValueError(f"a matrix of {matrix.shape} with strides {matrix.strides} has gaps along both axes")


def _step(matrix) -> int:
    """Values from one matrix of a stack to the next."""
    return matrix.strides[0] // matrix.itemsize if matrix.shape[0] > 1 else 0


def matrix_product(a, b, out, add: bool, scratch) -> None:
    """`device.matrix_product` by cuBLAS, without the copies of views and transposes that CuPy's own takes. Shapes must fit.

    scratch: memory for the library to work in, the same one in every call, so that a recorded product finds it again.
    """
    if not a.shape[-1] and not add:
        out[...] = 0
    if not out.size or not a.shape[-1]:
        return
    try:
        handle = cupy.cuda.device.get_cublas_handle()
    except (RuntimeError, ImportError) as error:
        raise _unloaded("cuBLAS cannot be loaded", error) from None
    try:
        cublas.call(_cuda(), "SetStream_v2", handle, cupy.cuda.get_current_stream().ptr)
    except OSError as error:
        raise _unloaded("cuBLAS cannot be loaded", error) from None
    # behind the stream, which takes the library's own again
    cublas.call(_cuda(), "SetWorkspace_v2", handle, scratch.data.ptr, scratch.nbytes)
    letter = {"float32": "S", "float64": "D"}[out.dtype.name]
    # as the library sees it, the transpose of the product is the transpose of b times that of a
    (b_operation, b_leading), (a_operation, a_leading), (_, leading) = map(_operand, (b, a, out))
    form = (b_operation, a_operation, out.shape[-1], out.shape[-2], a.shape[-1])
    one, kept = (_number(value, out.dtype).ctypes.data for value in (1, int(add)))
    left, right, result = (b.data.ptr, b_leading), (a.data.ptr, a_leading), (out.data.ptr, leading)
    if out.ndim == 2:
        cublas.call(_cuda(), f"{letter}gemm_v2", handle, *form, one, *left, *right, kept, *result)
        return
    steps = map(_step, (b, a, out))
    left, right, result = ((*matrix, step) for matrix, step in zip((left, right, result), steps, strict=True))
    cublas.call(_cuda(), f"{letter}gemmStridedBatched", handle, *form, one, *left, *right, kept, *result, out.shape[0])
