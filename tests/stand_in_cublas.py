"""A stand-in for the functions of cuBLAS that we call (kernels/cublas.py); a part of stand_in_cupy.py."""

import ctypes
from functools import partial

import numpy as np

from deconvnet.core.kernels.cublas import OPERATION_N

HANDLE = 77


class Cublas:
    """The products that we ask of cuBLAS, from addresses as it has them: matrices lie column by column. Every one is noted in the record.

    Like the library it forgets its workspace when it is given a stream, and takes both from whom it is called by.
    """

    def __init__(self, record):
        self.record = record
        self._stream = self._workspace = None
        self.cublasSgemm_v2, self.cublasDgemm_v2 = (partial(self._gemm, real) for real in (np.float32, np.float64))
        self.cublasSgemmStridedBatched = partial(self._gemms, np.float32)
        self.cublasDgemmStridedBatched = partial(self._gemms, np.float64)

    def cublasSetStream_v2(self, handle, stream):
        """Products from here on are launched there."""
        assert handle == HANDLE
        self._stream, self._workspace = stream, None
        return 0

    def cublasSetWorkspace_v2(self, handle, address, size):
        """What they work in; else the library would take memory while a graph is recorded."""
        assert handle == HANDLE and address % 256 == 0 and self.record.holds(address, size)
        self._workspace = (address, size)
        return 0

    def _gemm(self, real, handle, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
        return self._gemms(real, handle, op_a, op_b, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1)

    def _gemms(
        self, real, handle, op_a, op_b, m, n, k, alpha, a, lda, step_a, b, ldb, step_b, beta, c, ldc, step_c, count
    ):
        assert handle == HANDLE and min(m, n, k, count) > 0
        assert self._stream == self.record.stream.ptr and self._workspace is not None
        assert count == 1 or step_c >= ldc * (n - 1) + m, "results overlap"
        one, other = (
            self._matrix(real, a, op_a, m, k, lda, step_a, count),
            self._matrix(real, b, op_b, k, n, ldb, step_b, count),
        )
        out = self._matrix(real, c, OPERATION_N, m, n, ldc, step_c, count)
        factor, kept = (
            float(self._matrix(real, place, 0, 1, 1, 1, 0, 1, known=False)[0, 0, 0]) for place in (alpha, beta)
        )

        def multiply():
            before = kept * out if kept else 0  # with a factor of zero what was there is not read
            with np.errstate(all="ignore"):
                out[...] = factor * np.matmul(one, other) + before

        self.record.do(multiply)
        return 0

    def _matrix(self, real, address, operation, rows, columns, leading, step, count, known=True):
        """(count, rows, columns) of what lies there, each column `leading` values after the one before."""
        down, along = (rows, columns) if operation == OPERATION_N else (columns, rows)
        assert leading >= max(1, down) and address % real().itemsize == 0
        values = step * (count - 1) + leading * (along - 1) + down
        assert not known or self.record.holds(address, values * real().itemsize), "outside of every array"
        flat = np.ctypeslib.as_array((ctypes.c_byte * (values * real().itemsize)).from_address(address)).view(real)
        size = real().itemsize
        matrices = np.lib.stride_tricks.as_strided(flat, (count, down, along), (step * size, size, leading * size))
        return matrices if operation == OPERATION_N else matrices.transpose(0, 2, 1)
