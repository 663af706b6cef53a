"""Does the suite catch mistakes? Flip a sign or an index in each kernel, one at a time, and see that its tests fail.

    python tests/mutate_kernels.py [--quick] [--only KERNEL]

Every change is compiled into a library of its own and the tests of that kernel's layers run on it. Then every barrier of every
kernel is left out, one at a time: ThreadSanitizer must see the race. Prints a line a change and ends with exit status 1 where one
survives. --quick takes one change a file and no barriers. Minutes, on all processors.
"""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import kernel_calls
import mutations_bands
import mutations_bvlc
import mutations_detection
import mutations_gpu
import mutations_paper
import mutations_tensor
import sanitized

from deconvnet.core.kernels import sources

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ROOT / "kernels"

_PARTS = (mutations_paper, mutations_bands, mutations_bvlc, mutations_detection, mutations_gpu, mutations_tensor)
# the tests that are to notice a change in a file
TESTS = {stem: tests for part in _PARTS for stem, tests in part.TESTS.items()}


class Mutation(NamedTuple):
    """In the kernel (or device function) `kernel`, `old` stands exactly once and becomes `new`."""

    kernel: str
    old: str
    new: str


MUTATIONS = [Mutation(*change) for part in _PARTS for change in part.CHANGES]

_START = re.compile(r"^(?:KERNEL\(|DEVICE [^(]*?)(\w+)[,(]", re.MULTILINE)


def places(source: str) -> dict[str, tuple[int, int]]:
    """Where each kernel and device function of a file begins and ends."""
    starts = [(found.group(1), found.start()) for found in _START.finditer(source)]
    ends = [start for _, start in starts[1:]] + [len(source)]
    return {name: (start, end) for (name, start), end in zip(starts, ends, strict=True)}


def find(mutation: Mutation) -> tuple[Path, str]:
    """The file of a mutation and that file's text after it. Raises ValueError where `old` does not stand there exactly once."""
    for file in [*sorted(KERNELS.glob("*.cu")), *sorted(KERNELS.glob("*.h"))]:
        source = file.read_text()
        if mutation.kernel in places(source):
            start, end = places(source)[mutation.kernel]
            count = source.count(mutation.old, start, end)
            if count != 1:
                raise ValueError(f"{file.name}: {mutation.kernel} has {mutation.old!r} {count} times, not once")
            return file, source[:start] + source[start:end].replace(mutation.old, mutation.new) + source[end:]
    raise ValueError(f"no kernel or device function is called {mutation.kernel}")


def build(folder: Path) -> Path:
    """The library of the kernels in `folder`, by the builder that lies there, little optimised."""
    spec = importlib.util.spec_from_file_location(f"builder_{folder.name}", folder / "host_build.py")
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    builder.FLAGS = [{"-O3": "-O1"}.get(flag, flag) for flag in builder.FLAGS]
    return builder.build(folder)


def copy_kernels(folder: Path) -> None:
    """The sources and the builder."""
    for file in [*KERNELS.glob("*.cu"), *KERNELS.glob("*.h"), KERNELS / "host_build.py"]:
        shutil.copy(file, folder)


def run_tests(library: Path, stems: list[str]) -> tuple[bool, str]:
    """Whether the tests of these kernel files pass on a library, and the last thing that was said."""
    files = sorted({str(ROOT / "tests" / test) for stem in stems for test in TESTS[stem]})
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "--no-header",
        "--tb=line",
        "-p",
        "no:cacheprovider",
        "--device",
        "cpu",
        *files,
    ]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "DECONVNET_HOST_LIBRARY": str(library), "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return False, "hangs"
    if done.returncode not in (0, 1) and done.returncode > 0:
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    failed = re.findall(r"^FAILED \S*?tests/(\S+)", done.stdout, re.MULTILINE)
    return done.returncode == 0, failed[0] if failed else "crashes"


def survives(mutation: Mutation) -> tuple[bool, str]:
    """Whether the tests pass in spite of a mutation, and what noticed it."""
    file, text = find(mutation)
    with tempfile.TemporaryDirectory() as scratch:
        copy_kernels(Path(scratch))
        Path(scratch, file.name).write_text(text)
        return run_tests(build(Path(scratch)), [file.stem])


def barriers() -> list[tuple[str, Path, int]]:
    """(kernel, file, where it stands) of every sync_block() in a kernel."""
    found = []
    for file in sorted(KERNELS.glob("*.cu")):
        source = file.read_text()
        for name, (start, end) in places(source).items():
            found += [(name, file, start + at.start()) for at in re.finditer(r"sync_block\(\);", source[start:end])]
    return found


def survives_without(barrier: tuple[str, Path, int]) -> tuple[bool, str]:
    """Whether ThreadSanitizer finds nothing where a barrier is left out."""
    name, file, at = barrier
    source = file.read_text()
    with tempfile.TemporaryDirectory() as scratch:
        text = source[:at] + source[at:].replace("sync_block();", ";", 1)
        options = ("--threads", "33", "--sanitizer", "thread")
        library = sanitized.build_changed(Path(scratch), file.name, text, *options, alone=False)
        kernel = name if name in kernel_calls.CALLS else next(iter(sources.kernels_in(file)))  # that calls the function
        done = sanitized.run(library, "thread", Path(scratch, "results.npz"), "--only", kernel, "--dtypes", "float32")
    # or a wild address, taken from memory that no thread had written yet
    found = re.search(r"data race|SEGV", done.stderr) if done.returncode == sanitized.FOUND_SOMETHING else None
    if not found and done.returncode:
        raise RuntimeError(f"{name} under ThreadSanitizer ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return not found, f"ThreadSanitizer: {found and found[0]}"


def one_per_file(mutations: list[Mutation]) -> list[Mutation]:
    """The first mutation of a backward kernel of each file, else of any."""
    chosen = {}
    for mutation in sorted(mutations, key=lambda m: "backward" not in m.kernel):
        chosen.setdefault(find(mutation)[0], mutation)
    return list(chosen.values())


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description="Change each kernel and see that its tests fail.")
    parser.add_argument("--quick", action="store_true", help="one change a file")
    parser.add_argument("--only", help="the changes of one kernel")
    chosen = parser.parse_args()
    mutations = [m for m in MUTATIONS if chosen.only in (None, m.kernel)]
    mutations = one_per_file(mutations) if chosen.quick else mutations
    with tempfile.TemporaryDirectory() as scratch:
        copy_kernels(Path(scratch))
        passed, said = run_tests(build(Path(scratch)), list(TESTS))
        if not passed:
            sys.exit(f"the kernels as they are do not pass: {said}")
    changes = [(m.kernel, f"{m.old} -> {m.new}".replace("\n", " ")) for m in mutations]
    jobs = [(survives, mutation) for mutation in mutations]
    for barrier in [] if chosen.quick else barriers():
        name, file, at = barrier
        if chosen.only in (None, name):
            changes.append((name, f"without the barrier in line {file.read_text().count(chr(10), 0, at) + 1}"))
            jobs.append((survives_without, barrier))
    left = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (kernel, change), (survived, said) in zip(changes, pool.map(lambda job: job[0](job[1]), jobs), strict=True):
            left += survived
            print(
                f"{'SURVIVES' if survived else 'killed  '}  {kernel}: {change}{'' if survived else f'  [{said}]'}",
                flush=True,
            )
    print(f"{len(changes) - left} of {len(changes)} changes were noticed")
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    main()
