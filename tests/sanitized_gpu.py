"""Every kernel on a GPU under CUDA's compute-sanitizer: addresses out of bounds (memcheck) and races in shared memory (racecheck).

    python tests/sanitized_gpu.py [--seconds 200]

The calls are those of kernel_calls.py, on tiny shapes, because a sanitizer slows kernels down 10 to 50 times; each tool has so many seconds.
Without compute-sanitizer one line says so. Exit status 1 where a tool finds something or does not end.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CALLS = Path(__file__).with_name("kernel_calls.py")
TOOLS = ("memcheck", "racecheck")
FOUND = 9  # exit status that tells what was found from a call that failed
SHOWN = 40  # last lines of what a tool says


def find() -> str | None:
    """Where compute-sanitizer is."""
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")


def check(sanitizer: str, tool: str, seconds: float) -> bool:
    """Run one tool over all calls and print what it says; whether it found nothing."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sanitizer, "--tool", tool, "--error-exitcode", str(FOUND), "--print-limit", "20"]
        command += ["--report-api-errors", "no"]  # CuPy asks for what a device may not have, and we raise what is wrong
        command += [sys.executable, str(CALLS), str(Path(folder, "results.npz")), "--gpu"]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            print(f"{tool}: did not end within {seconds:g} s", flush=True)
            return False
    if run.returncode == 0:
        print(f"{tool}: nothing found", flush=True)
        return True
    said = "\n".join((run.stdout + run.stderr).splitlines()[-SHOWN:])
    print(
        f"{tool}: {'found' if run.returncode == FOUND else f'ended with status {run.returncode}'}\n{said}", flush=True
    )
    return False


def main() -> None:
    """Run both tools."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=200)
    chosen = parser.parse_args()
    sanitizer = find()
    if sanitizer is None:
        print("memcheck and racecheck not done: compute-sanitizer is not installed")
        return
    sys.exit(0 if all([check(sanitizer, tool, chosen.seconds) for tool in TOOLS]) else 1)


if __name__ == "__main__":
    main()
