"""Choosing a device, and the plain errors where it is not there."""

import importlib
import types

import kernel_calls
import numpy as np
import pytest

from deconvnet.core import kernels
from deconvnet.core.kernels import device


def without(*missing):
    """importlib.import_module for a machine without these modules."""
    plain = importlib.import_module

    def import_module(name, *arguments):
        if name in missing:
            raise ImportError(f"No module named '{name}'")
        return plain(name, *arguments)

    return import_module


class NoDriver(Exception):
    """What CuPy raises where there is no driver."""


def cupy_with(devices, driver=13000):
    """A stand-in for CuPy whose driver, of that version of CUDA, shows that many devices, or raises."""

    def count():
        if driver < 12000:
            raise NoDriver("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version")
        if devices is None:
            raise NoDriver("cudaErrorNoDevice: no CUDA-capable device is detected")
        return devices

    versions = {"driverGetVersion": lambda: driver, "runtimeGetVersion": lambda: 12090}
    runtime = types.SimpleNamespace(getDeviceCount=count, CUDARuntimeError=NoDriver, **versions)
    return types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime), __version__="14.2.0")


def test_the_mode_is_the_cpu_until_another_is_chosen():
    assert kernels.mode() == "cpu"
    assert kernels.array_module() is np


def test_a_gpu_without_cupy_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(device.importlib, "import_module", without("cupy"))
    with pytest.raises(
        kernels.DeviceError, match=r"CuPy cannot be imported .*pip install 'deconvnet\[cuda12\]'.*run without --gpu"
    ):
        kernels.set_mode("gpu")
    assert kernels.mode() == "cpu"


@pytest.mark.parametrize("devices, said", [(None, "no GPU: cudaErrorNoDevice"), (0, "the driver shows no device")])
def test_cupy_without_a_device_is_refused(monkeypatch, devices, said):
    monkeypatch.setattr(device.importlib, "import_module", lambda name: cupy_with(devices))
    with pytest.raises(kernels.DeviceError, match=said) as error:
        kernels.set_mode("gpu")
    assert "\n" not in str(error.value) and kernels.mode() == "cpu"


@pytest.mark.parametrize(
    "driver, said",
    [
        (0, "no GPU: there is no NVIDIA driver on this machine; run without --gpu"),
        (11040, "no GPU: the driver is for CUDA 11.4, too old for the CUDA 12.9 of CuPy 14.2.0: update the driver, or"),
    ],
)
def test_a_driver_that_is_missing_or_too_old_is_said(monkeypatch, driver, said):
    monkeypatch.setattr(device.importlib, "import_module", lambda name: cupy_with(1, driver))
    with pytest.raises(kernels.DeviceError) as error:
        kernels.set_mode("gpu")
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


@pytest.mark.parametrize("number", [-1, 2])
def test_a_gpu_that_does_not_exist_is_refused_by_number(monkeypatch, number):
    monkeypatch.setattr(device.importlib, "import_module", lambda name: cupy_with(2))
    with pytest.raises(kernels.DeviceError, match=f"GPU {number} does not exist: there are 2, numbered from 0"):
        kernels.set_gpu(number)


def test_a_workspace_is_kept_for_its_purpose_and_grows(device):
    like = kernels.array_module().zeros(1, np.float32)
    small = kernels.device.workspace(like, 10, "test")
    small[...] = 3
    assert small.shape == (10,) and small.dtype == np.float32
    assert float(kernels.device.workspace(like, 5, "test")[4]) == 3
    assert kernels.device.workspace(like, 5, "another test").shape == (5,)
    assert kernels.device.workspace(like, 1000, "test").shape == (1000,)
    assert kernels.device.workspace(like.astype(np.float64), 4, "test").dtype == np.float64


def test_every_kernel_gives_on_the_device_what_it_gives_on_the_host(device):
    """The calls of kernel_calls.py reach every kernel; on the CPU this says that they give the same twice."""
    found, _ = kernel_calls.run()
    kernels.set_mode("cpu")
    expected, _ = kernel_calls.run()
    for name, values in expected.items():
        tolerance = (2e-6 if "float32" in name else 1e-13) * max(1, np.abs(values).max(initial=0))
        np.testing.assert_allclose(found[name], values, rtol=0, atol=tolerance, err_msg=name)
