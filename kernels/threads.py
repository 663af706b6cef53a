"""How many threads our kernels, BLAS and OpenCV use, decided in one place: OMP_NUM_THREADS, else the processors this process may keep busy,
at most 64.

Where BLAS has as many, kernels run on them, too.
"""

import os

from .. import processors
from . import blas

# that the OpenBLAS of NumPy's wheels has at most: with more, kernels could not run on its threads
_MOST = 64


def count() -> int:
    """The number of threads, at least 1. Raises ValueError where OMP_NUM_THREADS is not a number."""
    setting = os.environ.get("OMP_NUM_THREADS", "")
    if setting:
        try:
            return max(1, int(setting.split(",")[0]))
        except ValueError:
            raise ValueError(f"OMP_NUM_THREADS is {setting!r}: it must be a number of threads") from None
    return min(processors.count(), _MOST)


def of_blas() -> tuple[int, int] | None:
    """What `blas.lent_threads` gives; None where there are fewer than `count`.

    Kernels and products that take turns then find threads that are awake, and one pool, not two, competes for the processors.
    """
    lent = blas.lent_threads()
    return lent if lent and lent[1] >= count() else None
