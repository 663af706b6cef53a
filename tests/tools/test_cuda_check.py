"""Every kernel compiles for every architecture we promise, and the check says so when one does not. No GPU is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

from deconvnet.core.kernels import sources

TOOL = Path(__file__).resolve().parents[2] / "tools" / "cuda_check.py"
SOUND = '#include "kernel.h"\nKERNEL(double_it, real* x, int n) {\n  for_each(i, n) x[i] *= 2;\n}\n'


def cuda_check(*arguments):
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)], check=False, capture_output=True, text=True
    )


def check_source(tmp_path, text):
    file = tmp_path / "sample.cu"
    file.write_text(text)
    return cuda_check("--arch", "sm_80", file)


@pytest.mark.parametrize("arch", ["sm_52", "sm_70", "sm_80", "sm_90"])
def test_every_kernel_file_compiles_without_a_warning_in_float_and_double(arch):
    done = cuda_check("--arch", arch)
    assert done.returncode == 0, done.stdout + done.stderr
    for file in sources.cuda_files():
        for real in ("float", "double"):
            assert [row for row in done.stdout.splitlines() if row.split()[:3] == [file.name, real, "ok"]]


def test_the_four_architectures_are_checked_by_default(tmp_path):
    file = tmp_path / "sample.cu"
    file.write_text(SOUND)
    done = cuda_check(file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0].split()[-4:] == ["sm_52", "sm_70", "sm_80", "sm_90"]


def test_an_error_fails_with_the_compilers_log_naming_file_and_line(tmp_path):
    done = check_source(tmp_path, SOUND.replace("x[i] *= 2", "x[i] *= two"))
    assert done.returncode == 1
    assert 'sample.cu(3): error: identifier "two" is undefined' in done.stdout
    assert "FAILED" in done.stdout
    assert done.stderr == "cuda_check: 2 of 2 compilations failed\n"


def test_a_warning_about_the_source_fails(tmp_path):
    done = check_source(tmp_path, SOUND.replace("for_each", "int unused; for_each"))
    assert done.returncode == 1
    assert "sample.cu(3): warning" in done.stdout


def test_a_kernel_that_loses_its_name_fails(tmp_path):
    mangled = "#undef KERNEL\n#define KERNEL(name, ...) __global__ void name(__VA_ARGS__)\n"
    done = check_source(tmp_path, SOUND.replace("KERNEL(", mangled + "KERNEL(", 1))
    assert done.returncode == 1
    assert "sample.cu: no kernel of the name double_it came out" in done.stdout


def test_a_file_that_is_not_there_is_said_in_one_line(tmp_path):
    done = cuda_check(tmp_path / "absent.cu")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cuda_check: ") and "absent.cu" in done.stderr and done.stderr.count("\n") == 1
