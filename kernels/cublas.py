"""cuBLAS through its C interface, as CuPy has loaded it: CuPy's own functions refuse while a CUDA graph is being recorded."""

import ctypes
from functools import cache

OPERATION_N, OPERATION_T = 0, 1  # a matrix as it lies, its transpose
_ALLOC_FAILED = 3  # a status

_P, _INT, _STEP = ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong
# handle, two operations, three sizes, factor, two matrices, factor, result
_GEMM = (_P, *(_INT,) * 5, _P, _P, _INT, _P, _INT, _P, _P, _INT)
_GEMMS = (_P, *(_INT,) * 5, _P, _P, _INT, _STEP, _P, _INT, _STEP, _P, _P, _INT, _STEP, _INT)


@cache
def library(version: int):
    """The library of that major version of CUDA. Raises OSError where it is not there."""
    found = ctypes.CDLL(f"libcublas.so.{version}")
    for letter in "SD":
        getattr(found, f"cublas{letter}gemm_v2").argtypes = _GEMM
        getattr(found, f"cublas{letter}gemmStridedBatched").argtypes = _GEMMS
    found.cublasSetStream_v2.argtypes = (_P, _P)
    found.cublasSetWorkspace_v2.argtypes = (_P, _P, ctypes.c_size_t)
    return found


def call(version: int, name: str, *arguments) -> None:
    """Call one of its functions; pointers are numbers. Raises RuntimeError where it does not succeed, MemoryError where that is for want
    of memory, and OSError as `library`.
    """
    status = getattr(library(version), f"cublas{name}")(*arguments)
    if status:
        kind = MemoryError if status == _ALLOC_FAILED else RuntimeError
        raise kind(f"cublas{name} ended with status {status}")
