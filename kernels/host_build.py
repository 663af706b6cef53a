"""Compile the kernels for the processor at hand; also run by setup.py, so nothing but the standard library is imported.

python kernels/host_build.py [--threads N --sanitizer thread|address] [--folder DIR]
"""

import argparse
import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
FLAGS = [
    "-std=c++20",
    "-O3",
    "-march=native",
    "-fopenmp",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-Wall",
    "-Wextra",
]
REALS = ("float", "double")
_YOUNG = 3600  # seconds for which a library may belong to a process that is about to load it
SANITIZER_FLAGS = ["-std=c++20", "-O1", "-g1", "-fPIC", "-pthread", "-Wall", "-Wextra", "-fno-omit-frame-pointer"]


class BuildError(RuntimeError):
    """The host kernels could not be compiled; the message says why in one line, the compiler's log below it."""


def compiler() -> str:
    """The C++ compiler: $CXX, else g++, c++ or clang++. Raises BuildError where there is none."""
    for name in filter(None, [os.environ.get("CXX"), "g++", "c++", "clang++"]):
        if shutil.which(name):
            return name
    raise BuildError("no C++ compiler found: install g++ (Debian: apt-get install g++) or set CXX, then run again")


def has_openmp(cxx: str) -> bool:
    """Whether OpenMP's threads can be linked; a clang++ often comes without them. BLAS lends its own (threads.py), and else one thread serves."""
    program = "int main() {\n#pragma omp parallel\n  {}\n}\n"
    with tempfile.TemporaryDirectory() as scratch:
        command = [cxx, "-fopenmp", "-x", "c++", "-", "-o", str(Path(scratch, "program"))]
        return subprocess.run(command, input=program, text=True, capture_output=True, check=False).returncode == 0


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "".join(
            sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
        )
    except OSError:
        return platform.machine() + platform.processor()


def library_name(flags: list[str] = FLAGS, reals: tuple[str, ...] = REALS) -> str:
    """The file name of the library, keyed by the flags, the dtypes and the processor, then by the sources."""
    kind, content = hashlib.sha256(" ".join([*flags, *reals]).encode() + _processor().encode()), hashlib.sha256()
    for source in [*sorted(FOLDER.glob("*.h")), *sorted(FOLDER.glob("*.cu"))]:
        content.update(source.name.encode() + source.read_bytes())
    return f"libkernels-{kind.hexdigest()[:8]}-{content.hexdigest()[:16]}.so"


def _remove_stale(library: Path) -> None:
    """Remove the libraries of older sources beside a new one; those of another processor that shares the folder serve it still."""
    kind = library.name.rpartition("-")[0]
    for other in library.parent.glob(f"{kind}-*"):
        with contextlib.suppress(OSError):  # another process may be removing it, too
            if other != library and time.time() - other.stat().st_mtime > _YOUNG:
                other.unlink()


def build(
    folder: Path, threads: int | None = None, sanitizer: str | None = None, reals: tuple[str, ...] = REALS
) -> Path:
    """Compile every .cu file, for float and for double unless `reals` names one alone, into one library in `folder`; return its path.

    `threads` makes the test-only build with blocks of that many real threads, `sanitizer` ("thread" or "address") instruments it.
    An existing library of the same key is taken as it is; a new one beside the sources replaces those of older sources. Raises BuildError.
    """
    flags = FLAGS
    if threads:
        flags = [*SANITIZER_FLAGS, f"-DBLOCK_THREADS={threads}"] + ([f"-fsanitize={sanitizer}"] if sanitizer else [])
    library = Path(folder) / library_name(flags, reals)
    if library.exists():
        return library
    cxx = compiler()
    if "-fopenmp" in flags and not has_openmp(cxx):
        flags = ["-fopenmp-simd" if flag == "-fopenmp" else flag for flag in flags]
    with tempfile.TemporaryDirectory() as scratch:
        objects = []
        running = []
        for real in reals:
            unit = Path(scratch, f"kernels_{real}.cpp")
            unit.write_text("".join(f'#include "{source}"\n' for source in sorted(FOLDER.glob("*.cu"))))
            objects.append(str(unit.with_suffix(".o")))
            command = [cxx, *flags, f"-Dreal={real}", "-c", str(unit), "-o", objects[-1]]
            running.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        for process in running:
            log = process.communicate()[1]
            if process.returncode:
                raise BuildError(f"the host kernels do not compile with {cxx}; its log:\n{log}")
        try:
            library.parent.mkdir(parents=True, exist_ok=True)
            # beside, then renamed: another process may load the library at any moment
            beside = library.with_suffix(f".{os.getpid()}")
            subprocess.run(
                [cxx, *flags, "-shared", *objects, "-o", str(beside)], check=True, stderr=subprocess.PIPE, text=True
            )
            beside.rename(library)
        except OSError as error:
            raise BuildError(f"the host kernels cannot be written to {library.parent}: {error.strerror}") from None
        except subprocess.CalledProcessError as error:
            raise BuildError(f"the host kernels do not link with {cxx}; its log:\n{error.stderr}") from None
    if library.parent == FOLDER:  # a cache folder serves several versions
        _remove_stale(library)
    return library


def main() -> None:
    """Build from the command line and print the library's path."""
    parser = argparse.ArgumentParser(description="Compile the host kernels.")
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="where the library goes (default: beside the sources)"
    )
    parser.add_argument("--threads", type=int, help="test-only build with blocks of that many real threads")
    parser.add_argument("--sanitizer", choices=["thread", "address"])
    chosen = parser.parse_args()
    try:
        print(build(chosen.folder, chosen.threads, chosen.sanitizer))
    except BuildError as error:
        sys.exit(f"host_build: {error}")


if __name__ == "__main__":
    main()
