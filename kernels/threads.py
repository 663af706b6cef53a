"""How many threads our kernels, BLAS and OpenCV use, decided in one place: OMP_NUM_THREADS, else the processors this process may use.

Where BLAS has as many, kernels run on them, too.
"""

import ctypes
import os

from numpy._core import _multiarray_umath  # what is linked with BLAS

_OPENBLAS_NAMES = (("scipy_", "64_"), ("scipy_", ""), ("", ""), ("", "64_"))  # NumPy's own wheels, and distributions
_PTHREADS = 1  # of the kinds of threads that OpenBLAS is built with


def count() -> int:
    """The number of threads, at least 1. Raises ValueError where OMP_NUM_THREADS is not a number."""
    setting = os.environ.get("OMP_NUM_THREADS", "")
    if setting:
        try:
            return max(1, int(setting.split(",")[0]))
        except ValueError:
            raise ValueError(f"OMP_NUM_THREADS is {setting!r}: it must be a number of threads") from None
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def of_blas() -> tuple[int, int] | None:
    """The threads of NumPy's BLAS: the address of the function that runs work on them, and their number; None where it lends none, or fewer than `count`.

    Kernels and products that take turns then find threads that are awake, and one pool, not two, competes for the processors. OpenBLAS
    lends its own as `gotoblas_pthread`, also to several callers at once and in a forked child.
    """
    library = ctypes.CDLL(_multiarray_umath.__file__)  # finds what it is linked with
    for prefix, suffix in _OPENBLAS_NAMES:
        ask_kind, ask_number = (
            getattr(library, f"{prefix}openblas_{asked}{suffix}", None) for asked in ("get_parallel", "get_num_threads")
        )
        if ask_kind and ask_number and hasattr(library, "gotoblas_pthread"):
            lent = ask_kind() == _PTHREADS and ask_number() >= count()
            return (ctypes.cast(library.gotoblas_pthread, ctypes.c_void_p).value, ask_number()) if lent else None
    return None
