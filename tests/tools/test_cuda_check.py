"""Every kernel compiles for a GPU, and the check says so when one does not. No GPU is needed.

The oldest architecture and one of today are compiled here; `make cuda-check` compiles them all.
"""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from deconvnet.core.kernels import sources

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "cuda_check.py"
cuda_check_module = runpy.run_path(str(TOOL))
SOUND = '#include "kernel.h"\nKERNEL(double_it, real* x, int n) {\n  for_each(i, n) x[i] *= 2;\n}\n'


def cuda_check(*arguments):
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)], check=False, capture_output=True, text=True
    )


def check_source(tmp_path, text):
    file = tmp_path / "sample.cu"
    file.write_text(text)
    return cuda_check("--arch", "sm_80", file)


@pytest.fixture(scope="module")
def compiled():
    """Every kernel file, compiled for the architectures that docs/kernels.md shows: (outcomes, NVRTC's version)."""
    nvrtc = cuda_check_module["Nvrtc"]()
    architectures = list(cuda_check_module["PAGE_ARCHITECTURES"])
    return cuda_check_module["compile_all"](nvrtc, sources.cuda_files(), architectures), nvrtc.version()


def test_every_kernel_compiles_without_a_warning_in_float_and_double(compiled):
    outcomes, _ = compiled
    assert [outcome.log for outcome in outcomes if outcome.log] == []
    for real in ("float", "double"):
        for arch in ("sm_52", "sm_90"):
            found = {name for one in outcomes if (one.real, one.arch) == (real, arch) for name in one.kernels}
            assert found == set(sources.signatures())


def test_no_kernel_spills_registers(compiled):
    outcomes, _ = compiled
    assert [(name, one.arch) for one in outcomes for name, taken in one.kernels.items() if taken.spilled] == []


def test_the_page_shows_what_the_compiler_says(compiled):
    outcomes, version = compiled
    page = (ROOT / "docs" / "kernels.md").read_text()
    if f"NVRTC {version}," not in page:
        pytest.skip(f"docs/kernels.md was written by another NVRTC than {version}")
    told = "the kernels have changed: python tools/cuda_check.py --render"
    assert cuda_check_module["page_with"](outcomes, version, page) == page, told


def test_the_page_has_a_section_for_each_file():
    page = (ROOT / "docs" / "kernels.md").read_text()
    sections = [line.removeprefix("### ") for line in page.splitlines() if line.startswith("### ")]
    assert sorted(sections) == [file.name for file in sources.cuda_files()]


def test_the_compilers_log_is_read_kernel_by_kernel():
    log = """ptxas info    : Compiling entry function 'first' for 'sm_80'
ptxas info    : Function properties for first
ptxas         .     40 bytes stack frame, 24 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 96 registers, used 1 barriers, 256 bytes smem, 380 bytes cmem[0]
ptxas info    : Compiling entry function 'second' for 'sm_80'
ptxas info    : Function properties for second
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 18 registers, used 0 barriers, 364 bytes cmem[0]
"""
    found = cuda_check_module["resources_in"](log)
    assert found["first"]._asdict() == {"registers": 96, "spilled": 40, "stack": 40, "shared": 256}
    assert found["second"]._asdict() == {"registers": 18, "spilled": 0, "stack": 0, "shared": 0}


def test_the_architectures_of_the_last_ten_years_are_checked_by_default(tmp_path):
    file = tmp_path / "sample.cu"
    file.write_text(SOUND)
    done = cuda_check(file)
    assert done.returncode == 0, done.stdout + done.stderr
    first, *rows, last = done.stdout.splitlines()
    asked = ["sm_52", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"]
    left = next((row for row in rows if row.startswith("not compiled")), "").replace(",", " ").split()
    assert first.split()[5:] == [arch for arch in asked if arch not in left]
    assert set(asked) == {*first.split()[5:], *(word for word in left if word.startswith("sm_"))}
    assert rows[0].split()[:3] == ["sample.cu", "double_it", "float"]
    assert last.endswith("no complaint")


def test_an_architecture_that_the_compiler_does_not_know_is_said_in_one_line():
    done = cuda_check("--arch", "sm_1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cuda_check: NVRTC ") and done.stderr.endswith(" does not know sm_1\n")


def test_many_registers_are_pointed_out():
    resources = cuda_check_module["Resources"]
    outcome = cuda_check_module["Outcome"](
        Path("a.cu"), "sm_52", "float", {"lean": resources(64, 0, 0, 0), "fat": resources(65, 8, 8, 0)}, ""
    )
    assert cuda_check_module["heavy"]([outcome]) == ["a.cu: fat, float: sm_52 65 spills 8"]


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
