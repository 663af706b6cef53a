"""The package installed from a wheel, run from a bare checkout, and built where there is no compiler."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("proto", "kernels", "blob", "layers", "net", "solver", "segmentation")
SOURCES = (*ROOMS, "deconvnet", "prototxt", "setup.py", "pyproject.toml", "README.md", "LICENSE")
RELU = """
import numpy as np
from deconvnet.core import kernels
x = np.array([[-1, 2]], np.float32)
kernels.relu(x, 0.0, out=x)
print(kernels.__file__, x.tolist())
"""


def copy_checkout(folder, *, built):
    """What git holds of the package, with or without the host kernels compiled in place."""
    leave = shutil.ignore_patterns("__pycache__", *([] if built else ["libkernels-*"]))
    folder.mkdir(exist_ok=True)
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=leave)
        else:
            shutil.copy(source, folder / name)
    return folder


def without_compiler(**more):
    """An environment in which no C++ compiler is found."""
    return {name: value for name, value in os.environ.items() if name != "CXX"} | {"PATH": "", **more}


def build_wheel(checkout, folder, environment=None):
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        ".",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        folder,
    ]
    return subprocess.run(command, cwd=checkout, env=environment, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, str(ROOT / "kernels" / "host_build.py")], check=True, capture_output=True)
    done = build_wheel(copy_checkout(tmp_path_factory.mktemp("checkout"), built=True), folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def contents(wheel):
    return zipfile.ZipFile(wheel).namelist()


def test_a_wheel_puts_nothing_but_deconvnet_into_site_packages(contents):
    tops = {name.split("/")[0].split("-")[0] for name in contents}
    assert tops == {"deconvnet"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_wheel_holds_every_module_of_a_room(contents, room):
    expected = {f"deconvnet/core/{room}/{path.relative_to(ROOT / room)}" for path in (ROOT / room).rglob("*.py")}
    assert expected and expected <= set(contents)


def test_a_wheel_holds_pycaffes_names(contents):
    assert {f"deconvnet/{path.name}" for path in (ROOT / "deconvnet").glob("*.py")} <= set(contents)


def test_a_wheel_holds_kernel_sources_schema_nets_solvers_and_the_reports_page(contents):
    kinds = [("kernels", "*.cu"), ("kernels", "*.h"), ("proto", "*.proto"), ("solver", "*.prototxt")]
    for room, pattern in [*kinds, ("segmentation", "*.html")]:
        assert {f"deconvnet/core/{room}/{path.name}" for path in (ROOT / room).glob(pattern)} <= set(contents)
    nets = (ROOT / "prototxt").rglob("*.prototxt")
    assert {f"deconvnet/core/prototxt/{path.relative_to(ROOT / 'prototxt')}" for path in nets} <= set(contents)


def test_a_wheel_holds_one_compiled_library_and_says_what_machine_it_is_for(wheel, contents):
    assert len([name for name in contents if "/libkernels-" in name]) == 1
    assert not wheel.name.endswith("-any.whl")


def test_an_installed_wheel_runs_a_kernel_from_an_empty_folder_without_a_compiler(wheel, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(install, check=True, capture_output=True)
    environment = without_compiler(PYTHONPATH=str(site))
    done = subprocess.run(
        [sys.executable, "-c", RELU], cwd=empty, env=environment, check=False, capture_output=True, text=True
    )
    assert done.stdout == f"{site}/deconvnet/core/kernels/__init__.py [[0.0, 2.0]]\n", done.stderr


def test_a_checkout_runs_by_pythonpath_alone_and_compiles_its_kernels_in_place(tmp_path):
    checkout, empty = copy_checkout(tmp_path / "checkout", built=False), tmp_path / "empty"
    empty.mkdir()
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, "-c", RELU], cwd=empty, env=environment, check=False, capture_output=True, text=True
    )
    assert done.stdout == f"{checkout}/kernels/__init__.py [[0.0, 2.0]]\n", done.stderr
    assert len(list((checkout / "kernels").glob("libkernels-*.so"))) == 1


def test_a_missing_compiler_is_said_in_one_line(tmp_path):
    checkout = copy_checkout(tmp_path / "checkout", built=False)
    environment = without_compiler()
    line = "no C++ compiler found: install g++ (Debian: apt-get install g++) or set CXX, then run again"
    command = [sys.executable, str(checkout / "kernels" / "host_build.py")]
    assert (
        subprocess.run(command, env=environment, check=False, capture_output=True, text=True).stderr
        == f"host_build: {line}\n"
    )
    done = build_wheel(checkout, tmp_path, environment)
    assert done.returncode != 0
    assert (done.stdout + done.stderr).count(f"deconvnet: {line}") == 1
    assert "Traceback" not in done.stdout + done.stderr
