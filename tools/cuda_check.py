"""Compile every kernel for several GPU architectures without a GPU, by the NVRTC of the pip wheel nvidia-cuda-nvrtc-cu12.

A file is compiled as CuPy would at run time, down to machine code, in float and in double. Warnings about it are errors, and every
kernel must come out under its own name. The table shows the most registers that a kernel of the file takes in one thread.
"""

import argparse
import ctypes
import importlib.util
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import command_line

from deconvnet.core.kernels import sources

ARCHITECTURES = ("sm_52", "sm_70", "sm_80", "sm_90")
REALS = ("float", "double")
# that an old architecture will be dropped one day says nothing about the source
_DEPRECATION = re.compile(r"^nvrtc: warning: Architectures prior to .* are deprecated.*\n", re.MULTILINE)
_RESOURCES = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers",
    re.DOTALL,
)


class NvrtcMissing(RuntimeError):
    """The compiler's library is not installed."""


class Resources(NamedTuple):
    """What one kernel takes on one architecture: registers a thread, and bytes that it spills to memory."""

    registers: int
    spilled: int


class Outcome(NamedTuple):
    """One file compiled for one architecture and dtype: its kernels, and the compiler's complaints (empty where all is well)."""

    file: Path
    arch: str
    real: str
    kernels: dict[str, Resources]
    log: str


class Nvrtc:
    """The run-time compiler, through ctypes. Raises NvrtcMissing where the wheel is not installed."""

    def __init__(self):
        package = importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.cuda_nvrtc")
        folders = package.submodule_search_locations if package else []
        found = [path for folder in folders for path in sorted(Path(folder, "lib").glob("libnvrtc.so.*"))]
        if not found:
            raise NvrtcMissing("NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12")
        self._library = ctypes.CDLL(str(found[0]))

    def compile(self, text: str, name: str, options: list[str]) -> tuple[bool, str]:
        """Compile a source to machine code; (whether it did, the compiler's log)."""
        program = ctypes.c_void_p()
        self._call("nvrtcCreateProgram", ctypes.byref(program), text.encode(), name.encode(), 0, None, None)
        try:
            arguments = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            status = self._library.nvrtcCompileProgram(program, len(options), arguments)
            size = ctypes.c_size_t()
            self._call("nvrtcGetProgramLogSize", program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            self._call("nvrtcGetProgramLog", program, log)
            return status == 0, log.value.decode()
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _call(self, function: str, *arguments) -> None:
        status = getattr(self._library, function)(*arguments)
        if status:
            raise RuntimeError(f"{function} failed with status {status}")


def check(nvrtc: Nvrtc, file: Path, arch: str, real: str) -> Outcome:
    """Compile one file and read the log: errors, warnings, and kernels that did not come out are complaints."""
    options = [f"--gpu-architecture={arch}", "-std=c++17", f"-Dreal={real}", "--ptxas-options=-v"]
    compiled, log = nvrtc.compile(sources.source_text(file), file.name, options)
    log = _DEPRECATION.sub("", log)
    kernels = {name: Resources(int(used), int(out) + int(back)) for name, out, back, used in _RESOURCES.findall(log)}
    complaints = "".join(
        line
        for line in log.splitlines(keepends=True)
        if not line.startswith("ptxas info") and "ptxas         ." not in line
    )
    if not compiled or "warning" in complaints:
        return Outcome(file, arch, real, kernels, complaints.strip() or "the compiler failed and said nothing")
    missing = sorted(sources.kernels_in(file).keys() - kernels.keys())
    return Outcome(
        file,
        arch,
        real,
        kernels,
        f"{file.name}: no kernel of the name {', '.join(missing)} came out" if missing else "",
    )


def print_table(outcomes: list[Outcome], architectures: list[str]) -> None:
    """A row per file and dtype, a column per architecture."""
    width = max(len(outcome.file.name) for outcome in outcomes)
    print(f"{'most registers':{width}}  dtype   " + "".join(f"{arch:>12}" for arch in architectures))
    rows = {}
    for outcome in outcomes:
        rows.setdefault((outcome.file.name, outcome.real), []).append(outcome)
    for (file, real), row in rows.items():
        print(f"{file:{width}}  {real:6}  " + "".join(f"{_cell(outcome):>12}" for outcome in row))


def _cell(outcome: Outcome) -> str:
    if outcome.log:
        return "FAILED"
    registers = max((resources.registers for resources in outcome.kernels.values()), default=0)
    return f"ok {registers}" + (" spills" if any(resources.spilled for resources in outcome.kernels.values()) else "")


def main() -> None:
    """Compile, print the table, then each log that is not empty; exit status 1 if there is one."""
    parser = argparse.ArgumentParser(description="Compile the CUDA kernels without a GPU.")
    parser.add_argument("files", nargs="*", type=Path, help=".cu files (default: every kernel file)")
    parser.add_argument(
        "--arch", action="append", help=f"architecture, may be repeated (default: {' '.join(ARCHITECTURES)})"
    )
    chosen = parser.parse_args()
    architectures = chosen.arch or list(ARCHITECTURES)
    try:
        nvrtc = Nvrtc()
        jobs = [
            (file, arch, real)
            for file in chosen.files or sources.cuda_files()
            for real in REALS
            for arch in architectures
        ]
        with ThreadPoolExecutor() as pool:
            outcomes = list(pool.map(lambda job: check(nvrtc, *job), jobs))
    except (NvrtcMissing, OSError) as error:
        sys.exit(f"cuda_check: {error}")
    print_table(outcomes, architectures)
    failures = [outcome for outcome in outcomes if outcome.log]
    for failure in failures:
        print(f"\n{failure.file.name}, {failure.arch}, {failure.real}:\n{failure.log}")
    if failures:
        sys.exit(f"cuda_check: {len(failures)} of {len(outcomes)} compilations failed")
    print(f"{len(outcomes)} compilations, no complaint")


if __name__ == "__main__":
    command_line.run(main)
