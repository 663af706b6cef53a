"""The Python of the GPU path without a GPU: a stand-in for CuPy records each launch and lets the host kernels do the work."""

import importlib
import sys
import types
from typing import NamedTuple

import numpy as np
import pytest

from deconvnet.core import kernels
from deconvnet.core.kernels import device, host, sources

PROCESSORS = 4
SCALARS = {"int": np.int32, "index": np.int64, "unsigned int": np.uint32, "unsigned long long": np.uint64}
POINTEES = {"int*": np.int32, "double*": np.float64}


class DeviceArray:
    """Like a CuPy array: no NumPy array, and never turned into one unless `get` is called."""

    def __init__(self, held):
        self.held = held

    def __getattr__(self, name):
        value = getattr(self.held, name)
        return (lambda *arguments: wrapped(value(*arguments))) if callable(value) else wrapped(value)

    def __array__(self, *arguments, **options):
        raise TypeError("implicit conversion to a NumPy array")

    def __getitem__(self, key):
        return wrapped(self.held[key])

    def __setitem__(self, key, value):
        self.held[key] = bare(value)

    def __eq__(self, other):
        return wrapped(self.held == bare(other))

    def __iadd__(self, other):
        self.held += bare(other)
        return self

    def get(self):
        return self.held.copy()


def wrapped(value):
    return DeviceArray(value) if isinstance(value, np.ndarray) else value


def bare(value):
    return value.held if isinstance(value, DeviceArray) else value


class Launch(NamedTuple):
    name: str
    grid: tuple
    block: tuple
    arguments: tuple


def stand_in(launches):
    """A module with what our code uses of CuPy; `launches` fills with what is launched."""

    class RawModule:
        def __init__(self, code, options):
            assert "-std=c++17" in options and '#include "kernel.h"' not in code
            self.real = next(option for option in options if option.startswith("-Dreal=")).removeprefix("-Dreal=")
            self.code = code

        def get_function(self, name):
            assert f"KERNEL({name}," in self.code
            run = host.kernel(name, np.dtype({"float": np.float32, "double": np.float64}[self.real]))
            kinds = sources.signatures()[name].kinds

            def function(grid, block, arguments):
                launches.append(Launch(name, grid, block, arguments))
                pairs = zip(kinds, arguments, strict=True)
                run(1, 1, [as_host(argument, kind.endswith("*")) for kind, argument in pairs])

            return function

    def as_host(argument, pointer):
        if isinstance(argument, DeviceArray):
            return argument.held
        return None if pointer and argument == 0 else argument.item()

    class Device:
        def __init__(self, number=0):
            self.id = number
            self.attributes = {"MultiProcessorCount": PROCESSORS}

    runtime = types.SimpleNamespace(getDeviceCount=lambda: 1, CUDARuntimeError=RuntimeError)
    module = types.ModuleType("cupy")
    module.ndarray, module.RawModule = DeviceArray, RawModule
    module.cuda = types.SimpleNamespace(Device=Device, runtime=runtime)
    module.asarray = lambda values, dtype=None: DeviceArray(np.array(values, dtype))
    module.empty = lambda shape, dtype=np.float64: DeviceArray(np.empty(shape, dtype))
    module.matmul = lambda a, b, out: np.matmul(a.held, b.held, out=out.held)
    return module


@pytest.fixture
def launches(monkeypatch):
    """What was launched since the test began; until it ends, the mode "gpu" means the stand-in."""
    recorded = []
    gpu = f"{kernels.__name__}.gpu"
    monkeypatch.setitem(sys.modules, "cupy", stand_in(recorded))
    monkeypatch.setitem(sys.modules, gpu, None)
    del sys.modules[gpu]  # so that it is imported anew; monkeypatch restores what was there
    monkeypatch.setattr(device, "_workspaces", {})
    return recorded


def normal(*shape, dtype=np.float32):
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


def convolution(put, dtype):
    x, weights, bias = (
        put(normal(2, 4, 6, 5, dtype=dtype)),
        put(normal(6, 2, 3, 3, dtype=dtype)),
        put(normal(6, dtype=dtype)),
    )
    y, dx, dweights, dbias = (put(np.zeros(shape, dtype)) for shape in ((2, 6, 6, 5), (2, 4, 6, 5), (6, 2, 3, 3), 6))
    geometry = kernels.Geometry((3, 3), pad=(1, 1), group=2)
    kernels.conv_forward(x, weights, bias, geometry, y)
    kernels.conv_backward(x, weights, y, geometry, dx, dweights, dbias)
    return y, dx, dweights, dbias


def deconvolution(put, dtype):
    x, weights = put(normal(2, 4, 3, 5, dtype=dtype)), put(normal(4, 3, 4, 4, dtype=dtype))
    y, dx, dweights = (put(np.zeros(shape, dtype)) for shape in ((2, 3, 6, 10), (2, 4, 3, 5), (4, 3, 4, 4)))
    geometry = kernels.Geometry((4, 4), (2, 2), (1, 1))
    kernels.deconv_forward(x, weights, None, geometry, y)
    kernels.deconv_backward(x, weights, y, geometry, dx, dweights)
    return y, dx, dweights


def upsampling(put, dtype):
    x, weights = put(normal(2, 3, 3, 5, dtype=dtype)), put(normal(3, 1, 4, 4, dtype=dtype))
    y, dx, dweights = (put(np.zeros(shape, dtype)) for shape in ((2, 3, 6, 10), (2, 3, 3, 5), (3, 1, 4, 4)))
    geometry = kernels.Geometry((4, 4), (2, 2), (1, 1), group=3)
    kernels.deconv_forward(x, weights, None, geometry, y)
    kernels.deconv_backward(x, weights, y, geometry, dx, dweights)
    return y, dx, dweights


def pooling(put, dtype):
    window = kernels.Window((2, 2), (2, 2))
    x = put(normal(2, 3, 5, 7, dtype=dtype))
    y, switches = (put(np.zeros((2, 3, 3, 4), dtype)) for _ in range(2))
    back, up = (put(np.zeros((2, 3, 5, 7), dtype)) for _ in range(2))
    kernels.max_pool(x, window, y, switches)
    kernels.max_pool_backward(y, switches, window, back)
    kernels.unpool(y, switches, up)
    return y, switches, back, up


def batch_norm(put, dtype):
    x, scale, shift = put(normal(2, 3, 5, 7, dtype=dtype)), put(normal(3, dtype=dtype)), put(normal(3, dtype=dtype))
    y, normalised, dx = (put(np.zeros((2, 3, 5, 7), dtype)) for _ in range(3))
    mean, variance, dscale = (put(np.zeros(3, dtype)) for _ in range(3))
    kernels.batch_norm_forward(x, scale, shift, 1e-5, y, normalised, mean, variance)
    kernels.batch_norm_backward(y, normalised, scale, variance, 1e-5, dx, dscale, None)
    return y, normalised, mean, variance, dx, dscale


def loss(put, dtype):
    scores, labels = put(normal(2, 3, 4, 5, dtype=dtype)), put(np.arange(40, dtype=dtype).reshape(2, 1, 4, 5) % 3)
    probabilities, gradient = (put(np.zeros((2, 3, 4, 5), dtype)) for _ in range(2))
    value, counted = kernels.softmax_loss(scores, labels, 1, None, probabilities)
    kernels.softmax_loss_backward(probabilities, labels, 1, None, 0.5, gradient)
    assert counted == 40
    return probabilities, gradient, put(np.array([value], dtype)), kernels.rank_labels(scores, labels, 1, 1, None, True)


def elementwise(put, dtype):
    x, y, weights, velocity = (put(normal(1000, dtype=dtype)) for _ in range(4))
    kernels.relu(x, 0.1, out=y)
    kernels.dropout(y, 2**63 + 5, 0.5, out=y)
    rates = {"scale": 0.5, "rate": 0.1, "momentum": 0.9, "decay": 0.01, "l1": True}
    kernels.sgd_update(weights, x, velocity, **rates)
    return y, weights, put(np.array([kernels.sum_of_squares(velocity)], dtype))


OPERATIONS = (convolution, deconvolution, upsampling, pooling, batch_norm, loss, elementwise)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_arrays_on_the_gpu_stay_there_and_give_what_the_host_gives(launches, operation, dtype):
    expected = operation(np.array, dtype)
    assert not launches
    got = operation(lambda array: DeviceArray(np.array(array)), dtype)
    assert launches
    for on_gpu, on_host in zip(got, expected, strict=True):
        np.testing.assert_allclose(on_gpu.get(), on_host, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_launch_passes_the_types_that_its_kernel_declares(launches, operation, dtype):
    operation(lambda array: DeviceArray(np.array(array)), dtype)
    for launch in launches:
        for kind, argument in zip(sources.signatures()[launch.name].kinds, launch.arguments, strict=True):
            if isinstance(argument, DeviceArray):
                assert argument.dtype == POINTEES.get(kind, dtype) and argument.flags.c_contiguous
            elif kind.endswith("*"):  # an absent array
                assert argument.nbytes == 8 and argument == 0
            else:
                assert type(argument) is SCALARS.get(kind, dtype)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_blocks_are_whole_warps_and_a_grid_fits_the_device(launches, operation):
    operation(lambda array: DeviceArray(np.array(array)), np.float32)
    for launch in launches:
        (blocks,), (threads,) = launch.grid, launch.block
        assert threads in range(32, 257, 32)
        assert 1 <= blocks <= 16 * PROCESSORS


@pytest.mark.parametrize(
    "rows, width, grid, block", [(3, 1000, 3, 256), (3, 40, 3, 64), (10**6, 7, 64, 32), (0, 0, 1, 32)]
)
def test_rows_become_blocks_and_their_width_threads(launches, rows, width, grid, block):
    x = DeviceArray(normal(10))
    device.launch("relu_forward", rows, width, x, x, 0.0, x.size)
    assert [(launch.grid, launch.block) for launch in launches] == [((grid,), (block,))]


@pytest.mark.parametrize("wrong", [normal(10, dtype=np.float64), normal(20)[::2]])
def test_an_array_of_another_type_or_with_gaps_is_refused_by_name(launches, wrong):
    x = DeviceArray(normal(10))
    with pytest.raises(ValueError, match="kernel relu_forward: y must be a contiguous float32 array"):
        kernels.relu(x, 0.0, out=DeviceArray(wrong))
    assert not launches


def test_a_gpu_is_asked_for_by_mode_and_number(launches, monkeypatch):
    monkeypatch.setattr(device, "_mode", "cpu")
    kernels.set_mode("gpu")
    assert kernels.array_module() is importlib.import_module("cupy")
    with pytest.raises(kernels.DeviceError, match="GPU 1 does not exist: there are 1"):
        kernels.set_gpu(1)
