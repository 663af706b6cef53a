"""NumPy's BLAS by its own names, for what NumPy does not pass on: a product that is added to what is there, and the threads that it lends."""

import ctypes
from functools import cache

import numpy as np
from numpy._core import _multiarray_umath  # what is linked with BLAS

_NAMES = (("scipy_", "64_"), ("scipy_", ""), ("", ""), ("", "64_"))  # NumPy's own wheels, and distributions
_BY_ROWS, _AS_IT_IS, _TRANSPOSED = 101, 111, 112  # CBLAS's words
_KINDS = {np.dtype(np.float32): ("s", ctypes.c_float), np.dtype(np.float64): ("d", ctypes.c_double)}
_PTHREADS = 1  # of the kinds of threads that OpenBLAS is built with


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(_multiarray_umath.__file__)  # finds what it is linked with


def lent_threads() -> tuple[int, int] | None:
    """(address of the function that runs work on BLAS's threads, their number); None where it lends none.

    OpenBLAS lends its own as `gotoblas_pthread`, also to several callers at once and in a forked child.
    """
    for prefix, suffix in _NAMES:
        ask_kind, ask_number = (
            getattr(_library(), f"{prefix}openblas_{asked}{suffix}", None)
            for asked in ("get_parallel", "get_num_threads")
        )
        if ask_kind and ask_number and hasattr(_library(), "gotoblas_pthread"):
            lends = ask_kind() == _PTHREADS
            return (ctypes.cast(_library().gotoblas_pthread, ctypes.c_void_p).value, ask_number()) if lends else None
    return None


@cache
def _product_of(dtype: np.dtype):
    """CBLAS's general product of matrices of that dtype; None where there is none."""
    kind, number = _KINDS.get(dtype, (None, None))
    for prefix, suffix in _NAMES if kind else ():
        product = getattr(_library(), f"{prefix}cblas_{kind}gemm{suffix}", None)
        if product is not None:
            size, word, array = ctypes.c_int64 if suffix else ctypes.c_int, ctypes.c_int, ctypes.c_void_p
            product.argtypes = [word] * 3 + [size] * 3 + [number, array, size, array, size, number, array, size]
            product.restype = None
            return product
    return None


def _layout(matrix: np.ndarray) -> tuple[int, int] | None:
    """(as it is or transposed, values from one row, or column, to the next) of a matrix that is not empty; None where it has gaps within both."""
    (rows, columns), (down, across) = matrix.shape, (step // matrix.itemsize for step in matrix.strides)
    if (across == 1 or columns == 1) and (down >= columns or rows == 1):
        return _AS_IT_IS, max(down, columns)
    if (down == 1 or rows == 1) and (across >= rows or columns == 1):
        return _TRANSPOSED, max(across, rows)
    return None


def add_product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> bool:
    """out (M, N) += a (M, K) @ b (K, N) in one pass over it; False, and nothing done, where BLAS cannot: other dtypes, gaps, no CBLAS."""
    product = _product_of(out.dtype) if a.dtype == b.dtype == out.dtype else None
    shapes = (a.shape, b.shape, out.shape)
    if product is None or {len(shape) for shape in shapes} != {2} or any(0 in shape for shape in shapes):
        return False
    (rows, depth), columns = a.shape, b.shape[1]
    layouts = [_layout(matrix) for matrix in (a, b, out)]
    if b.shape[0] != depth or out.shape != (rows, columns) or None in layouts or layouts[2][0] != _AS_IT_IS:
        return False
    (a_word, a_step), (b_word, b_step), (_, step) = layouts
    left, right, to = (matrix.ctypes.data for matrix in (a, b, out))
    product(_BY_ROWS, a_word, b_word, rows, columns, depth, 1, left, a_step, right, b_step, 1, to, step)
    return True
