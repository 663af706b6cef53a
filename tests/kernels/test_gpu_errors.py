"""What CUDA and cuBLAS refuse on the GPU path, over the stand-in for CuPy: memory that is wanting, and what an earlier kernel did."""

import sys
import types

import numpy as np
import pytest
import stand_in_cupy
from stand_in_cupy import CUDARuntimeError

from deconvnet.core import kernels
from deconvnet.core.kernels import cublas

FULL = CUDARuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory", 2)
EARLIER = CUDARuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered", 700)


@pytest.fixture
def cupy(monkeypatch):
    """The stand-in until the test ends; `values` are ones on it."""
    record = stand_in_cupy.install(monkeypatch)
    module = sys.modules["cupy"]
    module.values = record.allocate(np.ones((2, 2), np.float32))
    return module


def refusing(error):
    """A function that fails."""

    def refuse(*arguments, **options):
        raise error

    return refuse


@pytest.mark.parametrize(
    "error, kind, said",
    [
        (FULL, MemoryError, r"activation.cu cannot be compiled or loaded \(CUDA_ERROR_OUT_OF_MEMORY: out of memory\)$"),
        (EARLIER, kernels.DeviceError, r"activation.cu cannot be compiled or loaded \(CUDA_ERROR_ILLEGAL_ADDRESS: .*\)$"),
        (CUDARuntimeError("NVRTC_ERROR_PROGRAM_CREATION_FAILURE", 2), kernels.DeviceError, r"CREATION_FAILURE\)$"),
        (RuntimeError("Failed to find CUDA headers"), kernels.DeviceError, r"headers\): .* pip install 'deconvnet"),
    ],
)  # fmt: skip
def test_a_module_that_cannot_be_loaded(cupy, monkeypatch, error, kind, said):
    monkeypatch.setattr(cupy, "RawModule", refusing(error))
    with pytest.raises(kind, match=said):
        kernels.relu(cupy.values, 0.0, out=cupy.values)


@pytest.mark.parametrize("error, kind", [(FULL, MemoryError), (EARLIER, CUDARuntimeError)])
def test_a_kernel_that_cannot_be_launched(cupy, monkeypatch, error, kind):
    class Refusing:
        max_threads_per_block = 1024
        __call__ = staticmethod(refusing(error))

    monkeypatch.setattr(cupy, "RawModule", lambda **made: types.SimpleNamespace(get_function=lambda name: Refusing()))
    with pytest.raises(kind, match=str(error)):
        kernels.relu(cupy.values, 0.0, out=cupy.values)


@pytest.mark.parametrize("status, kind", [(3, MemoryError), (13, RuntimeError)])
def test_a_product_that_ends_with_a_status(cupy, monkeypatch, status, kind):
    monkeypatch.setattr(cublas.library(12), "cublasSgemm_v2", lambda *arguments: status)
    with pytest.raises(kind, match=f"cublasSgemm_v2 ended with status {status}"):
        kernels.matrix_product(cupy.values, cupy.values, cupy.values)


@pytest.mark.parametrize(
    "error, kind",
    [
        (CUDARuntimeError("CUBLAS_STATUS_NOT_INITIALIZED", 1), MemoryError),
        (CUDARuntimeError("CUBLAS_STATUS_ALLOC_FAILED", 3), MemoryError),
        (CUDARuntimeError("CUBLAS_STATUS_ARCH_MISMATCH", 8), kernels.DeviceError),
        (EARLIER, kernels.DeviceError),
    ],
)
def test_a_cublas_that_cannot_begin(cupy, monkeypatch, error, kind):
    monkeypatch.setattr(cupy.cuda.device, "get_cublas_handle", refusing(error))
    with pytest.raises(kind, match=rf"cuBLAS cannot be loaded \({error}\)"):
        kernels.matrix_product(cupy.values, cupy.values, cupy.values)
