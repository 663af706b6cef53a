"""The devices that tests run on (`pytest --device cpu,gpu`), and tests without chance or deadlines."""

import pytest
import stand_in_cupy
from hypothesis import HealthCheck, settings

from deconvnet.core import kernels
from deconvnet.core.blob import set_seed

settings.register_profile(
    "deconvnet",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("deconvnet")

DEVICES = ("cpu", "gpu", "ptx")
PTX = "compute_90"


def pytest_addoption(parser):
    """--device: which devices the `device` fixture stands for."""
    parser.addoption(
        "--device",
        help="devices to test, comma-separated: cpu, gpu, ptx (default: the first two, where they are there)",
    )


def _devices_there() -> list[str]:
    """The CPU, and the GPU where there is one."""
    try:
        kernels.set_mode("gpu")
    except kernels.DeviceError:
        return ["cpu"]
    kernels.set_mode("cpu")
    return ["cpu", "gpu"]


def pytest_configure(config):
    """Settle once the devices, and the seed of nets that are given none."""
    set_seed(1)
    asked = config.getoption("--device")
    names = [name.strip() for name in asked.split(",")] if asked else _devices_there()
    unknown = [name for name in names if name not in DEVICES]
    if unknown:
        raise pytest.UsageError(f"--device {asked}: {unknown[0]!r} is no device; give some of cpu,gpu,ptx")
    config.devices = names


def pytest_generate_tests(metafunc):
    """A test that takes `device` runs once on each; a GPU that is asked for and absent fails there. `gpu`: see there."""
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", metafunc.config.devices, indirect=True)
    if "gpu" in metafunc.fixturenames:
        gpus = ["stand-in", *(name for name in ("gpu", "ptx") if name in metafunc.config.devices)]
        metafunc.parametrize("gpu", gpus, indirect=True)


@pytest.fixture
def device(request, monkeypatch):
    """The mode of the test: "cpu" or "gpu"; blobs and `put` follow it. ptx: a GPU whose kernels, as NVRTC compiles them, run on the host."""
    if request.param == "ptx":
        stand_in_cupy.install(monkeypatch, architecture=PTX)
    mode = "cpu" if request.param == "cpu" else "gpu"
    kernels.set_mode(mode)
    yield mode
    kernels.set_mode("cpu")


@pytest.fixture
def gpu(request, monkeypatch):
    """What mode "gpu" means in a test that compares it with the CPU: "stand-in" everywhere, "gpu" and "ptx" too where they are tested."""
    if request.param != "gpu":
        stand_in_cupy.install(monkeypatch, architecture=PTX if request.param == "ptx" else None)
    yield request.param
    kernels.set_mode("cpu")
