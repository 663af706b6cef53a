"""The stand-in for CuPy promises nothing that CuPy does not have. CuPy is enough for this, no GPU is needed."""

import types

import pytest
import stand_in_cupy

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


def test_cublas_takes_as_many_arguments():
    ours = stand_in_cupy.Cublas(stand_in_cupy.Record())
    counts = {"sgemm": 14, "dgemm": 14, "sgemmStridedBatched": 18, "dgemmStridedBatched": 18}
    for name, count in counts.items():
        signature = getattr(cupy.cuda.cublas, name).__doc__.splitlines()[0]
        assert signature.startswith(f"{name}(intptr_t handle") and signature.count(",") + 1 == count
        assert callable(getattr(ours, name))
    assert (ours.CUBLAS_OP_N, ours.CUBLAS_OP_T) == (cupy.cuda.cublas.CUBLAS_OP_N, cupy.cuda.cublas.CUBLAS_OP_T)
