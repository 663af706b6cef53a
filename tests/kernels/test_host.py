"""The host device: kernels through ctypes, any number of blocks, and arrays that do not fit."""

import ctypes
import math
import os
import subprocess
import sys
from pathlib import Path

import kernel_calls
import numpy as np
import pytest

from deconvnet.core import kernels
from deconvnet.core import processors as processors_of_process
from deconvnet.core.kernels import host, host_build, threads


@pytest.fixture
def blocks(monkeypatch):
    """Let every launch of more than one row take that many blocks."""

    def use(count):
        monkeypatch.setattr(host, "_worth_a_thread", lambda: -1)
        monkeypatch.setattr(threads, "count", lambda: count)
        host.kernel.cache_clear()

    yield use
    host.kernel.cache_clear()


@pytest.mark.parametrize("count", [2, 3, 7])
def test_any_number_of_blocks_gives_the_same_bits(blocks, count):
    """Rows are shared, no sum is: what is computed does not depend on the threads that are there."""
    one, _ = kernel_calls.run()
    blocks(count)
    several, _ = kernel_calls.run()
    for name, values in one.items():
        np.testing.assert_array_equal(several[name], values, err_msg=name)


def test_small_work_stays_on_one_thread_and_large_work_is_shared(monkeypatch):
    monkeypatch.setattr(threads, "count", lambda: 3)
    kernel = host.HostKernel("scale_add", host.signatures()["scale_add"], np.dtype(np.float32))
    seen = []
    monkeypatch.setattr(kernel, "_run", lambda blocks, *values: seen.append(blocks))
    for size in (1, 100, host._worth_a_thread(), host._worth_a_thread() + 1):
        x = np.zeros(size, np.float32)
        kernel(size, 1, (x, x, 1.0, 0.0, size))
    kernel(1, 10**9, (x, x, 1.0, 0.0, 1))  # one row cannot be shared
    assert seen == [1, 1, 1, 3, 1]


WRONG = {
    "float32 among float64": lambda x: x.astype(np.float32),
    "integers": lambda x: x.astype(np.int64),
    "columns": lambda x: x.T,
    "every other value": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_array_of_another_type_or_with_gaps_is_refused_by_name(wrong):
    x = np.zeros((4, 4))
    with pytest.raises(ValueError, match="kernel multiply: z must be a contiguous float64 array, not"):
        kernels.multiply(x, WRONG[wrong](x), x)


def test_float32_is_refused_where_counts_are_wanted():
    x = np.zeros((2, 2))
    with pytest.raises(ValueError, match="kernel maximum: which must be a contiguous int32 array, not float64"):
        kernels.maximum(x, 0, x, np.zeros((2, 2)))


def test_another_library_can_be_named(monkeypatch):
    """As the sanitizer tests do."""
    loaded = host._library()._name
    monkeypatch.setenv("DECONVNET_HOST_LIBRARY", loaded)
    monkeypatch.setattr(host.host_build, "build", lambda folder: pytest.fail("built though a library is named"))
    assert isinstance(host.load_library(), ctypes.CDLL)


def test_where_the_package_cannot_be_written_the_library_goes_to_the_users_cache(monkeypatch, tmp_path):
    loaded = host._library()._name
    monkeypatch.delenv("DECONVNET_HOST_LIBRARY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(host.host_build, "FOLDER", tmp_path / "read-only")
    monkeypatch.setattr(host.host_build, "library_name", lambda: "none.so")
    monkeypatch.setattr(host.os, "access", lambda path, mode: False)
    asked = []
    monkeypatch.setattr(host.host_build, "build", lambda folder: asked.append(folder) or loaded)
    host.load_library()
    assert asked == [tmp_path / "deconvnet"]


def test_a_size_beyond_32_bits_is_refused_not_cut_off():
    bias, y = np.ones(1, np.float32), np.zeros(1, np.float32)
    with pytest.raises(ValueError, match="kernel add_bias: size is 4294967297, beyond 32 bits"):
        host.kernel("add_bias", np.dtype(np.float32))(1, 1, (bias, y, 1, 1, (1 << 32) + 1))
    assert not y.any()


@pytest.mark.parametrize("setting, count", [("3", 3), ("4,2", 4), ("0", 1)])
def test_omp_num_threads_decides(monkeypatch, setting, count):
    monkeypatch.setenv("OMP_NUM_THREADS", setting)
    assert threads.count() == count


@pytest.mark.parametrize("processors, count", [(1, 1), (6, 6), (192, 64)])
def test_without_a_setting_the_processors_that_may_be_used_count_up_to_64(monkeypatch, processors, count):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(processors)), raising=False)
    monkeypatch.setattr(processors_of_process, "granted", lambda: math.inf)
    assert threads.count() == count


@pytest.mark.parametrize(
    "group, files, granted",
    [
        ("0::/", {"cpu.max": "250000 100000"}, 2.5),
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("0::/", {}, math.inf),
        ("0::/user/job", {"user/job/cpu.max": "400000 100000", "user/cpu.max": "300000 100000"}, 3),
        ("0::/../../other", {"cpu.max": "200000 100000", "other/cpu.max": "100000 100000"}, 2),
        ("0::/\udcff\nstrange\n", {"cpu.max": "100000 0"}, math.inf),
        ("0::/not/seen/within", {"cpu.max": "100000 100000"}, 1),
        ("3:cpuset:/\n4:cpu,cpuacct:/job", {"cpu/job/cpu.cfs_quota_us": "50000", "cpu/job/cpu.cfs_period_us": "100000"}, 0.5),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("1:cpuset:/", {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
    ],
)  # fmt: skip
def test_a_containers_share_of_processors_counts(monkeypatch, tmp_path, group, files, granted):
    for name, text in {
        "proc/self/cgroup": group,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n", errors="surrogateescape")
    assert processors_of_process.granted(tmp_path) == granted
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    monkeypatch.setattr(processors_of_process, "granted", lambda: granted)
    assert threads.count() == {2.5: 3, 0.5: 1}.get(granted, min(granted, 6))


# prints BLAS's setting and how many threads kernels take where a control group grants the time of one processor
GRANTED_ONE = """
import os, pathlib
plain, files = pathlib.Path.read_text, {"/proc/self/cgroup": "0::/", "/sys/fs/cgroup/cpu.max": "100000 100000"}
pathlib.Path.read_text = lambda path, *how, **more: files[str(path)] if str(path) in files else plain(path, *how, **more)
import deconvnet
from deconvnet.core.kernels import threads
print(os.environ.get("OPENBLAS_NUM_THREADS"), threads.count())
"""


@pytest.mark.parametrize("setting, said", [({}, "1 1"), ({"OMP_NUM_THREADS": "2"}, "None 2")])
def test_blas_takes_no_more_threads_than_a_container_is_granted(setting, said):
    kept = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    done = subprocess.run([sys.executable, "-c", GRANTED_ONE], env=kept | setting, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (said, "")


def test_a_setting_that_is_no_number_is_named(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="OMP_NUM_THREADS is 'many': it must be a number of threads"):
        threads.count()


# prints how many threads the first kernel on two of them starts, and whether a forked child can run one
ON_THREADS = """
import os
import numpy as np
from deconvnet.core import kernels
before = len(os.listdir("/proc/self/task"))
kernels.scale_add(np.ones(1 << 20), 1.0, y := np.zeros(1 << 20), 0.0)
print(len(os.listdir("/proc/self/task")) - before, int(y.sum()) == 1 << 20)
if LENT and os.fork() == 0:
    kernels.scale_add(np.ones(1 << 20), 2.0, y, 0.0)
    os._exit(int(y.sum()) != 2 << 20)
print(not LENT or os.wait()[1] == 0)
"""


@pytest.mark.skipif(
    not os.path.isdir("/proc/self/task") or threads.count() < 2 or not threads.of_blas(),
    reason="NumPy's BLAS lends no threads here",
)
@pytest.mark.parametrize("lent", [True, False])
def test_kernels_run_on_the_threads_of_blas_if_it_has_as_many_and_else_start_openmps(lent):
    """One pool serves kernels and products, and a forked child can go on with it. Where a compiler has no OpenMP none is started."""
    started = 0 if lent or not host_build.has_openmp(host_build.compiler()) else 1
    program = ON_THREADS.replace("LENT", str(lent))
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2" if lent else "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == [str(started), "True", "True"]


def test_idle_threads_are_told_to_sleep_before_any_library_loads():
    """libgomp reads OMP_WAIT_POLICY when it loads; a user's own choice stays."""
    program = "import os; from deconvnet.core import kernels; print(os.environ['OMP_WAIT_POLICY'])"
    root = str(Path(kernels.__file__).parents[1])
    for given, expected in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        environment = {**environment, "PYTHONPATH": root, **given}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected
