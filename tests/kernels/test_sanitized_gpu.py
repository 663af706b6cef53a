"""What tests/sanitized_gpu.py says of compute-sanitizer's findings, a script in the place of it."""

import subprocess
import sys
from pathlib import Path

import kernel_calls
import numpy as np
import pytest
import sanitized_gpu

PROGRAM = Path(__file__).resolve().parents[1] / "sanitized_gpu.py"


def run(monkeypatch, folder, script=None, *options):
    """The program's end where `compute-sanitizer` is that shell script."""
    if script is not None:
        sanitizer = folder / "compute-sanitizer"
        sanitizer.write_text(f"#!/bin/sh\n{script}\n")
        sanitizer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return subprocess.run([sys.executable, str(PROGRAM), *options], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "script, status, said",
    [
        ("exit 0", 0, ["memcheck: nothing found", "racecheck: nothing found"]),
        ('echo "bad address"; [ $2 != memcheck ] || exit 9', 1, ["memcheck: found\nbad address", "racecheck: nothing"]),
        ("echo Device not supported >&2; exit 1", 1, ["memcheck: ended with status 1\nDevice not supported"]),
        ("exec sleep 60", 1, ["memcheck: did not end within 0.3 s", "racecheck: did not end"]),
    ],
)
def test_each_tool_is_run_and_what_it_says_is_shown(monkeypatch, tmp_path, script, status, said):
    ended = run(monkeypatch, tmp_path, script, "--seconds", "0.3" if "sleep" in script else "60")
    assert ended.returncode == status
    for line in said:
        assert line in ended.stdout


def test_the_tools_are_given_the_calls_of_all_kernels_on_the_gpu(monkeypatch, tmp_path):
    asked = tmp_path / "asked"
    run(monkeypatch, tmp_path, f'echo "$@" >> {asked}')
    for line, tool in zip(asked.read_text().splitlines(), ("memcheck", "racecheck"), strict=True):
        assert line.startswith(
            f"--tool {tool} --error-exitcode 9 --print-limit 20 --report-api-errors no {sys.executable} "
        )
        assert "kernel_calls.py" in line and line.endswith(".npz --gpu")


@pytest.mark.skipif(
    sanitized_gpu.find() is not None, reason="compute-sanitizer is installed, and would run for minutes"
)
def test_without_the_sanitizer_one_line_says_so(monkeypatch, tmp_path):
    ended = run(monkeypatch, tmp_path)
    assert (ended.returncode, ended.stdout.count("\n")) == (0, 1)
    assert "compute-sanitizer is not installed" in ended.stdout


def test_on_a_gpu_every_array_of_the_calls_is_an_allocation_of_its_own(gpu, monkeypatch, tmp_path):
    results, allocators = tmp_path / "results.npz", []
    cuda = __import__("cupy").cuda
    plain = getattr(cuda, "set_allocator", None)
    monkeypatch.setattr(cuda, "set_allocator", allocators.append, raising=plain is not None)
    monkeypatch.setattr(kernel_calls, "use_blocks", lambda count: None)
    monkeypatch.setattr("sys.argv", ["kernel_calls.py", str(results), "--dtypes", "float32", "--gpu"])
    kernel_calls.main()
    assert allocators == [None]
    with np.load(results) as found:
        assert len(found) > 100
