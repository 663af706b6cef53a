"""tools/device_query.py, and how the tools end where a GPU fails them; a stand-in takes the place of CuPy."""

import importlib
import sys

import pytest
import stand_in_cupy
import tiny_training
from tool_call import call, error_of, only_line

from deconvnet.core import kernels
from deconvnet.core.kernels import cublas, device


@pytest.fixture
def gpu(monkeypatch):
    """What happens on the stand-in until the test ends."""
    yield stand_in_cupy.install(monkeypatch)
    kernels.set_mode("cpu")


@pytest.fixture
def no_cupy(monkeypatch):
    """A machine without CuPy."""
    plain = importlib.import_module

    def import_module(name, *arguments):
        if name == "cupy":
            raise ImportError("No module named 'cupy'")
        return plain(name, *arguments)

    monkeypatch.setattr(device.importlib, "import_module", import_module)


def test_a_gpu_is_shown_with_its_memory_and_versions_and_our_kernels_run(gpu, tmp_path):
    done = call("device_query", tmp_path)
    assert done.returncode == 0, done.stderr
    versions, name, memory, runs = done.stdout.splitlines()
    assert versions == "driver for CUDA 13.0, CUDA 12.9, CuPy 14.0"
    assert name == "GPU 0: a device that is not there, compute capability 9.0"
    assert memory.split() == "memory 2.1 GB, 1.1 GB free".split()
    assert runs.startswith("  kernels   run (difference ")
    assert {"im2col_places", "max_pool_rows", "unpool_cells"} <= {launch.name for launch in gpu.launches}


def test_kernels_that_give_other_values_are_found(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(cublas.library(12), "cublasSgemm_v2", lambda *arguments: 0)
    done = call("device_query", tmp_path)
    assert done.returncode == 1
    assert "kernels   give other values than the CPU" in done.stdout


def test_kernels_that_fail_are_said_and_the_status_is_1(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(cublas.library(12), "cublasSgemm_v2", lambda *arguments: 13)
    done = call("device_query", tmp_path)
    assert done.returncode == 1 and "kernels   fail: cublasSgemm_v2 ended with status 13" in done.stdout


def test_without_cupy_one_line_says_so(no_cupy, tmp_path):
    done = call("device_query", tmp_path)
    assert "no GPU: CuPy cannot be imported" in only_line(done, "device_query") and done.stdout == ""


def test_training_on_a_gpu_that_is_not_there_ends_in_one_line(no_cupy, tmp_path):
    path = tiny_training.write_dummy_solver(tmp_path)
    assert "run without --gpu" in only_line(call("train_net", tmp_path, "--solver", path, "--gpu", 0), "train_net")


def test_a_kernel_that_does_not_compile_shows_the_compilers_log_and_the_file(gpu, tmp_path, monkeypatch):
    def refuse(code, options):
        raise stand_in_cupy.CompileException(
            'pooling.cu(40): error: identifier "plane" is undefined\n1 error detected.\n'
        )

    monkeypatch.setattr(sys.modules["cupy"], "RawModule", refuse)
    path = tiny_training.write_dummy_solver(tmp_path)
    done = call("train_net", tmp_path, "--solver", path, "--gpu", 0)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    first, *log = done.stderr[done.stderr.index("train_net: error") :].splitlines()
    assert first.endswith(".cu does not compile for compute capability 90; the compiler's log:")
    assert log == ['pooling.cu(40): error: identifier "plane" is undefined', "1 error detected."]


def test_a_cupy_without_cudas_libraries_ends_in_one_line_that_brings_them(gpu, tmp_path, monkeypatch):
    """CuPy's wheels leave compiler, headers and cuBLAS to the extra `ctk`."""
    path = tiny_training.write_dummy_solver(tmp_path)

    def no_headers(code, options):
        raise RuntimeError("Failed to find CUDA headers")

    def no_library(version):
        raise OSError(f"libcublas.so.{version}: cannot open shared object file")

    for owner, name, missing, said in (
        (sys.modules["cupy"], "RawModule", no_headers, "Failed to find CUDA headers"),
        (cublas, "library", no_library, "cuBLAS cannot be loaded (libcublas.so.12: cannot open shared object file)"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, missing)
            for held in (gpu_module()._module, gpu_module().kernel):
                held.cache_clear()
            line = error_of(call("train_net", tmp_path, "--solver", path, "--gpu", 0), "train_net")
            kernels.set_mode("cpu")
            assert said in line and line.endswith("pip install 'deconvnet[cuda12]' brings them")


def gpu_module():
    return importlib.import_module("deconvnet.core.kernels.gpu")


def test_out_of_memory_says_what_is_needed_and_which_batch_would_fit(tmp_path, monkeypatch):
    large = tiny_training.DUMMY_NET.replace("dim: 4 dim: 2 dim: 5 dim: 5", "dim: 64 dim: 2 dim: 50 dim: 50").replace(
        "shape { dim: 4 }", "shape { dim: 64 }"
    )
    path = tiny_training.write_dummy_solver(tmp_path, net=large)
    monkeypatch.setitem(importlib.import_module("command_line").__dict__, "CONTEXT", 0)
    stand_in_cupy.install(monkeypatch, memory=38_000_000)
    line = error_of(call("train_net", tmp_path, "--solver", path, "--gpu", 0), "train_net")
    kernels.set_mode("cpu")
    assert "there is not enough memory" in line and "layer '" in line
    assert "the GPU has 0.038 GB: batch_size: " in line and line.endswith(" would fit")


def test_out_of_memory_is_said_where_nobody_knows_which_batch_would_fit(monkeypatch):
    module = importlib.import_module("command_line")
    monkeypatch.setattr(module.kernels, "mode", lambda: "gpu")
    monkeypatch.setattr(module.kernels, "gpu_memory", lambda: (10**9, 10**10))

    def need(batch):
        raise module.NetError("its files say what shapes it makes")

    with pytest.raises(module.NetError, match="there is not enough memory"), module.told_of_memory(need):
        try:
            raise MemoryError("of the device")
        except MemoryError as error:
            raise module.NetError("layer 'x': there is not enough memory") from error


def test_memory_that_others_hold_is_told_apart(tmp_path, monkeypatch):
    module = importlib.import_module("command_line")
    monkeypatch.setattr(module.kernels, "gpu_memory", lambda: (10**9, 10**10))
    monkeypatch.setattr(module.kernels, "pooled_memory", lambda: 5 * 10**8)  # its own is not other programs'
    need = type("Need", (), {"peak": 3 * 10**9})
    assert (
        "it needs 3.5 GB, the GPU has 10 GB of which other programs hold a part: 1.5 GB are left for this one"
        in module._what_would_fit(lambda batch: need)
    )
