"""Run tests/kernel_calls.py on a library that was built with a sanitizer."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from deconvnet.core.kernels import host_build, sources

PROGRAM = Path(__file__).with_name("kernel_calls.py")
ROOT = PROGRAM.parents[1]
RUNTIMES = {"thread": "libtsan.so", "address": "libasan.so"}
FOUND_SOMETHING = 66  # what a sanitizer exits with


def runtime(sanitizer: str) -> str | None:
    """The library to load before Python; None where the compiler came without it."""
    command = [host_build.compiler(), f"-print-file-name={RUNTIMES[sanitizer]}"]
    path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return os.path.realpath(path) if os.path.exists(path) else None


def without_randomised_addresses() -> list[str]:
    """The words before a command that switch address randomisation off; none where that is forbidden.

    ThreadSanitizers before 2024 cannot bear as much of it as newer kernels do.
    """
    command = ["setarch", platform.machine(), "-R"]
    allowed = shutil.which("setarch") and subprocess.run([*command, "true"], capture_output=True).returncode == 0
    return command if allowed else []


def run(library, sanitizer: str, results, *options: str) -> subprocess.CompletedProcess:
    """Run the calls with two blocks a launch; the exit status is FOUND_SOMETHING where the sanitizer found something."""
    environment = {
        **os.environ,
        "DECONVNET_HOST_LIBRARY": str(library),
        "LD_PRELOAD": runtime(sanitizer),
        "TSAN_OPTIONS": f"exitcode={FOUND_SOMETHING}",
        "ASAN_OPTIONS": f"exitcode={FOUND_SOMETHING}:detect_leaks=0",  # Python's own
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    command = [*without_randomised_addresses(), sys.executable, str(PROGRAM), str(results), "--blocks", "2", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def build_changed(folder: Path, file: str, text: str, *options: str, alone: bool = True) -> str:
    """The library of one kernel file, alone or with all others, that has another text; built in `folder` with host_build.py's options."""
    others = [] if alone else sources.cuda_files()
    for path in (*sources.headers(), sources.FOLDER / "host_build.py", *others):
        shutil.copy(path, folder)
    (folder / file).write_text(text)
    command = [sys.executable, str(folder / "host_build.py"), "--folder", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
