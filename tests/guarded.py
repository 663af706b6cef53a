"""Arrays behind which the process has no memory: who reads or writes beyond one ends at once."""

import ctypes
import mmap
import os

import numpy as np

_FORBIDDEN = 0  # PROT_NONE


def guarded(array: np.ndarray) -> np.ndarray:
    """A copy of an array that ends where a page without any rights begins. Raises OSError."""
    size = -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(start + size), ctypes.c_size_t(mmap.PAGESIZE), _FORBIDDEN):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    copy = np.frombuffer(memory, array.dtype, array.size, size - array.nbytes).reshape(array.shape)
    copy[...] = array
    return copy
