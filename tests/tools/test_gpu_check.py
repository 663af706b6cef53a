"""The timing table of `make bench-gpu`, on the CPU in small: its cases run, and its figures are those of the runs."""

import json
import math
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import stand_in_cupy

from deconvnet.core import kernels

TOOL = Path(__file__).resolve().parents[2] / "tools" / "gpu_check.py"
gpu_check = runpy.run_path(str(TOOL))


def run_tool(*arguments):
    return subprocess.run([sys.executable, str(TOOL), *arguments], check=False, capture_output=True, text=True)


def test_the_table_has_a_line_for_every_case_and_copy_is_the_yardstick():
    done = run_tool("--device", "cpu", "--batch", "1", "--size", "32", "--repeat", "1")
    assert done.returncode == 0, done.stderr
    device, header, copy, *rest = done.stdout.splitlines()
    assert device.startswith("CPU")
    assert header.split() == ["shape", "ms", "GB/s", "of", "copy", "GFLOP/s"]
    assert copy.split()[0] == "copy" and copy.split()[-1] == "100%"
    cases = [
        case
        for family in gpu_check["FAMILIES"]
        for case in family(gpu_check["Arrays"](), batch=1, size=32)
        if case.name != "copy"
    ]
    assert [line[:32].strip() for line in rest] == [case.name for case in cases]


def test_figures_are_written_with_device_commit_date_and_command(tmp_path):
    out = tmp_path / "results" / "x.json"
    arguments = ["--device", "cpu", "--batch", "1", "--size", "32", "--repeat", "1", "--out", str(out)]
    done = run_tool(*arguments)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert result["device"].startswith("CPU") and result["commit"] and result["date"][:2] == "20"
    assert result["command"] == " ".join(["tools/gpu_check.py", *arguments])
    printed = [line[:32].strip() for line in done.stdout.splitlines()[2:]]
    assert [row["name"] for row in result["rows"]] == printed
    assert result["rows"][0]["of_copy"] == 1 and all(row["ms"] > 0 for row in result["rows"])


def test_on_a_gpu_the_versions_are_written_too(monkeypatch):
    stand_in_cupy.install(monkeypatch)
    kernels.set_mode("gpu")
    found = gpu_check["provenance"]()
    kernels.set_mode("cpu")
    assert found["device"] == "a device that is not there" and found["compute_capability"] == "90"
    assert (found["cuda"], found["driver_cuda"], found["cupy"]) == ("12.9", "13.0", "14.0")


@pytest.mark.parametrize("family", gpu_check["FAMILIES"])
def test_every_case_runs_and_counts_at_least_one_pass_over_its_shape(family):
    for case in family(gpu_check["Arrays"](), batch=2, size=32):
        case.run()
        assert (
            case.bytes >= math.prod(case.shape) * 4 * 0.75
        )  # unpooling's gradient touches a quarter of the plane, thrice


def test_the_median_of_the_runs_counts_and_the_warm_up_does_not(monkeypatch):
    seconds = iter([9, 9, 3, 1, 2])
    median_seconds = gpu_check["median_seconds"]
    monkeypatch.setitem(median_seconds.__globals__, "seconds_by_clock", lambda run: next(seconds))
    assert median_seconds(lambda: None, repeat=3) == 2


def test_the_same_values_are_drawn_every_time():
    first, second = (gpu_check["Arrays"]()(2, 3) for _ in range(2))
    assert isinstance(first, np.ndarray) and np.array_equal(first, second)


def test_without_a_gpu_one_line_says_so():
    try:
        kernels.set_mode("gpu")
    except kernels.DeviceError:
        done = run_tool()
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("gpu_check: no GPU: ") and done.stderr.count("\n") == 1
    else:
        kernels.set_mode("cpu")
        assert run_tool("--batch", "1", "--size", "32", "--repeat", "1").returncode == 0


@pytest.mark.parametrize(
    "arguments, complaint", [(["--size", "100"], "multiple of 32"), (["--batch", "0"], "at least 1")]
)
def test_sizes_the_net_cannot_have_are_refused(arguments, complaint):
    done = run_tool("--device", "cpu", *arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
