"""Compile every kernel for the GPU architectures we promise without a GPU, by the NVRTC of the pip wheel nvidia-cuda-nvrtc-cu12.

    python tools/cuda_check.py [FILE.cu ...] [--arch sm_90 ...] [--render]

A file is compiled as CuPy would at run time, down to machine code, in float and in double. Warnings about it are errors, and every
kernel must come out under its own name. The table shows what the compiler says that each kernel takes: registers of a thread on each
architecture, static shared memory of a block, stack of a thread (arrays that are indexed and so lie in device memory), and spills.
--render puts the part of it that docs/kernels.md shows into that page.
"""

import argparse
import itertools
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import command_line
from nvrtc import CUPY_OPTIONS, Nvrtc, NvrtcMissing

from deconvnet.core.kernels import sources

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))

from pages import with_block  # noqa: E402

ARCHITECTURES = ("sm_52", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
REALS = ("float", "double")
PAGE = ROOT / "docs" / "kernels.md"
# the Titan X of the paper and a data-centre GPU of today
PAGE_ARCHITECTURES = ("sm_52", "sm_90")
# with more, fewer than 1024 threads fit a processor's 65536 registers and memory is waited for
MANY_REGISTERS = 64
# that an old architecture will be dropped one day says nothing about the source
_DEPRECATION = re.compile(r"^nvrtc: warning: Architectures prior to .* are deprecated.*\n", re.MULTILINE)
_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")


class Resources(NamedTuple):
    """What one kernel takes on one architecture: registers a thread, and bytes.

    spilled: written to and read from memory for want of registers; stack: of a thread, spills and indexed arrays; shared: of a block
    """

    registers: int
    spilled: int
    stack: int
    shared: int


class Outcome(NamedTuple):
    """One file compiled for one architecture and dtype: its kernels, and the compiler's complaints (empty where all is well)."""

    file: Path
    arch: str
    real: str
    kernels: dict[str, Resources]
    log: str


def check(nvrtc: Nvrtc, file: Path, arch: str, real: str) -> Outcome:
    """Compile one file and read the log: errors, warnings, and kernels that did not come out are complaints."""
    options = [f"--gpu-architecture={arch}", "-std=c++17", f"-Dreal={real}", *CUPY_OPTIONS, "--ptxas-options=-v"]
    compiled, log = nvrtc.compile(sources.source_text(file), file.name, options)
    log = _DEPRECATION.sub("", log)
    kernels = resources_in(log)
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


def resources_in(log: str) -> dict[str, Resources]:
    """What the compiler's verbose log says of each kernel."""
    kernels = {}
    # what lies between two entries may also speak of functions that were not inlined
    _, *parts = _ENTRY.split(log)
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        used = _USED.search(text)
        if used:
            stack, out, back = map(int, _STACK.search(text).groups())
            kernels[name] = Resources(int(used[1]), out + back, stack, int(used[2] or 0))
    return kernels


def rows_of(outcomes: list[Outcome], architectures: list[str]) -> list[list[str]]:
    """A row per kernel and dtype, its heading first: shared memory and stack (the most of all), and registers per architecture."""
    rows = [["file", "kernel", "dtype", "shared", "stack", *architectures]]
    for file in dict.fromkeys(outcome.file for outcome in outcomes):
        for kernel, real in itertools.product(sources.kernels_in(file), REALS):
            own = {one.arch: one for one in outcomes if (one.file, one.real) == (file, real)}
            taken = [own[arch].kernels.get(kernel) if not own[arch].log else None for arch in architectures]
            shared, stack = (
                max((getattr(one, side) for one in taken if one), default=0) for side in ("shared", "stack")
            )
            cells = [_cell(one) if one else "FAILED" for one in taken]
            rows.append([file.name, kernel, real, str(shared), str(stack), *cells])
    return rows


def _cell(resources: Resources) -> str:
    return f"{resources.registers}" + (f" spills {resources.spilled}" if resources.spilled else "")


def heavy(outcomes: list[Outcome]) -> list[str]:
    """A line for each kernel and dtype that spills or takes more than MANY_REGISTERS, on whichever architecture."""
    told: dict[tuple[str, str, str], list[str]] = {}
    for outcome in outcomes:
        for kernel, one in outcome.kernels.items():
            if one.spilled or one.registers > MANY_REGISTERS:
                told.setdefault((outcome.file.name, kernel, outcome.real), []).append(f"{outcome.arch} {_cell(one)}")
    return [f"{file}: {kernel}, {real}: {', '.join(cells)}" for (file, kernel, real), cells in told.items()]


def page_with(outcomes: list[Outcome], version: str, page: str) -> str:
    """The text of docs/kernels.md with the table in its place."""
    shown = [outcome for outcome in outcomes if outcome.arch in PAGE_ARCHITECTURES]
    heading, *rows = rows_of(shown, list(PAGE_ARCHITECTURES))
    lines = [heading, ["---"] * 3 + ["---:"] * (len(heading) - 3), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    said = f"NVRTC {version}, bytes of shared memory and stack, registers per architecture, by `python tools/cuda_check.py --render`:"
    return with_block(page, "registers", f"{said}\n\n{table}")


def compile_all(nvrtc: Nvrtc, files: list[Path], architectures: list[str]) -> list[Outcome]:
    """Every file, dtype and architecture, as many at once as there are processors."""
    jobs = [(file, arch, real) for file in files for real in REALS for arch in architectures]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(lambda job: check(nvrtc, *job), jobs))


def main() -> None:
    """Compile, print the table, then each log that is not empty; exit status 1 if there is one."""
    parser = argparse.ArgumentParser(description="Compile the CUDA kernels without a GPU.")
    parser.add_argument("files", nargs="*", type=Path, help=".cu files (default: every kernel file)")
    parser.add_argument(
        "--arch", action="append", help=f"architecture, may be repeated (default: {' '.join(ARCHITECTURES)})"
    )
    parser.add_argument("--render", action="store_true", help="put the table into docs/kernels.md")
    chosen = parser.parse_args()
    if chosen.render and (chosen.files or chosen.arch):
        parser.error("--render takes every file and its own architectures")
    try:
        nvrtc = Nvrtc()
        known = nvrtc.architectures()
        if unknown := sorted(set(chosen.arch or ()) - known):
            sys.exit(f"cuda_check: NVRTC {nvrtc.version()} does not know {', '.join(unknown)}")
        wanted = chosen.arch or (PAGE_ARCHITECTURES if chosen.render else ARCHITECTURES)
        architectures = [arch for arch in wanted if arch in known]
        outcomes = compile_all(nvrtc, chosen.files or sources.cuda_files(), architectures)
    except (NvrtcMissing, OSError) as error:
        sys.exit(f"cuda_check: {error}")
    command_line.print_table(rows_of(outcomes, architectures))
    for line in heavy(outcomes):
        print(f"more than {MANY_REGISTERS} registers, or spills: {line}")
    left = [arch for arch in wanted if arch not in known]
    if left:
        print(f"not compiled, for NVRTC {nvrtc.version()} does not know them: {', '.join(left)}")
    finish(outcomes)
    if chosen.render:
        PAGE.write_text(page_with(outcomes, nvrtc.version(), PAGE.read_text()))


def finish(outcomes: list[Outcome]) -> None:
    """Say how it went; exit status 1 with the logs where something failed."""
    failures = [outcome for outcome in outcomes if outcome.log]
    for failure in failures:
        print(f"\n{failure.file.name}, {failure.arch}, {failure.real}:\n{failure.log}")
    if failures:
        sys.exit(f"cuda_check: {len(failures)} of {len(outcomes)} compilations failed")
    print(f"{len(outcomes)} compilations, no complaint")


if __name__ == "__main__":
    command_line.run(main)
