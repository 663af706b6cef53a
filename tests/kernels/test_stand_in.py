"""The stand-in for CuPy promises nothing that CuPy does not have. CuPy is enough for this, no GPU is needed."""

import types

import pytest
import stand_in_cupy

from deconvnet.core.kernels import cublas

cupy = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)

OWN = {"held", "record", "record_of_all", "time", "works"}  # the stand-in's view of itself


def public(thing):
    return [name for name in vars(thing) if not name.startswith("_") and name not in OWN]


def lacking(stand_in, real, path="cupy"):
    """The names of the stand-in, those of its namespaces included, that the real thing has not."""
    found = []
    for name in public(stand_in):
        if not hasattr(real, name):
            found.append(f"{path}.{name}")
        elif isinstance(getattr(stand_in, name), types.SimpleNamespace):
            found += lacking(getattr(stand_in, name), getattr(real, name), f"{path}.{name}")
    return found


def test_every_name_of_the_module_is_cupys():
    module = stand_in_cupy.make(stand_in_cupy.Record())
    assert {"cuda", "empty", "zeros", "asarray"} <= set(public(module))
    assert lacking(module, cupy) == []


@pytest.mark.parametrize(
    "stand_in, real",
    [
        (stand_in_cupy.DeviceArray, lambda: cupy.ndarray),
        (stand_in_cupy.Stream, lambda: cupy.cuda.Stream),
        (stand_in_cupy.Event, lambda: cupy.cuda.Event),
        (stand_in_cupy.Graph, lambda: cupy.cuda.Graph),
    ],
)
def test_every_method_is_cupys(stand_in, real):
    assert public(stand_in) and lacking(stand_in, real()) == []


def test_the_functions_that_we_call_are_cublas():
    try:
        from cupy.cuda import cublas as cupys  # loads it
    except ImportError as error:
        pytest.skip(f"cuBLAS is not installed: {error}")
    real = cublas.library(cupy.cuda.runtime.runtimeGetVersion() // 1000)
    ours = stand_in_cupy.Cublas(stand_in_cupy.Record())
    for name in public(ours):
        assert hasattr(real, name) and callable(getattr(ours, name))
    for letter in "sd":
        for kind, version in (("gemm", "_v2"), ("gemmStridedBatched", "")):
            signature = getattr(cupys, letter + kind).__doc__.splitlines()[0]
            assert signature.count(",") + 1 == len(getattr(real, f"cublas{letter.upper()}{kind}{version}").argtypes)
    assert (cublas.OPERATION_N, cublas.OPERATION_T) == (cupys.CUBLAS_OP_N, cupys.CUBLAS_OP_T)
