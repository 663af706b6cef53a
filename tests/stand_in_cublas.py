"""A stand-in for the products of cuBLAS that we ask for; a part of stand_in_cupy.py."""

import ctypes
import functools

import numpy as np


class Cublas:
    """The products that we ask of cuBLAS, from addresses as it has them: matrices lie column by column. Every one is noted in the record."""

    CUBLAS_OP_N, CUBLAS_OP_T = 0, 1

    def __init__(self, record):
        self.record = record
        self.sgemm, self.dgemm = (functools.partial(self._gemm, real) for real in (np.float32, np.float64))
        self.sgemmStridedBatched = functools.partial(self._gemms, np.float32)
        self.dgemmStridedBatched = functools.partial(self._gemms, np.float64)

    def _gemm(self, real, handle, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
        self._gemms(real, handle, op_a, op_b, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1)

    def _gemms(
        self, real, handle, op_a, op_b, m, n, k, alpha, a, lda, step_a, b, ldb, step_b, beta, c, ldc, step_c, count
    ):
        assert handle == "handle" and min(m, n, k, count) > 0
        assert count == 1 or step_c >= ldc * (n - 1) + m, "results overlap"
        one, other = (
            self._matrix(real, a, op_a, m, k, lda, step_a, count),
            self._matrix(real, b, op_b, k, n, ldb, step_b, count),
        )
        out = self._matrix(real, c, self.CUBLAS_OP_N, m, n, ldc, step_c, count)
        factor, kept = (
            float(self._matrix(real, place, 0, 1, 1, 1, 0, 1, known=False)[0, 0, 0]) for place in (alpha, beta)
        )

        def multiply():
            before = kept * out if kept else 0  # with a factor of zero what was there is not read
            with np.errstate(all="ignore"):
                out[...] = factor * np.matmul(one, other) + before

        self.record.do(multiply)

    def _matrix(self, real, address, operation, rows, columns, leading, step, count, known=True):
        """(count, rows, columns) of what lies there, each column `leading` values after the one before."""
        down, along = (rows, columns) if operation == self.CUBLAS_OP_N else (columns, rows)
        assert leading >= max(1, down) and address % real().itemsize == 0
        values = step * (count - 1) + leading * (along - 1) + down
        assert not known or self.record.holds(address, values * real().itemsize), "outside of every array"
        flat = np.ctypeslib.as_array((ctypes.c_byte * (values * real().itemsize)).from_address(address)).view(real)
        size = real().itemsize
        matrices = np.lib.stride_tricks.as_strided(flat, (count, down, along), (step * size, size, leading * size))
        return matrices if operation == self.CUBLAS_OP_N else matrices.transpose(0, 2, 1)
