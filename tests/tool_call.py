"""Calling a program of tools/ as users do: in a process of its own, or, for speed, in this one."""

import contextlib
import io
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / "tools"


class Finished(NamedTuple):
    """How a call ended and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def call(tool, folder, *arguments):
    """Run tools/TOOL.py with `folder` as the working directory, within this process."""
    out, err = io.StringIO(), io.StringIO()
    before = os.getcwd(), sys.argv, sys.path
    status = 0
    try:
        os.chdir(folder)
        sys.argv, sys.path = [str(TOOLS / f"{tool}.py"), *map(str, arguments)], [str(TOOLS), *sys.path]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
        if isinstance(end.code, str):
            err.write(f"{end.code}\n")
    finally:
        os.chdir(before[0])
        sys.argv, sys.path = before[1:]
    return Finished(status, out.getvalue(), err.getvalue())


def call_apart(tool, folder, *arguments, **environment):
    """The same in a process of its own, with further environment variables."""
    command = [sys.executable, str(TOOLS / f"{tool}.py"), *map(str, arguments)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False)
    return Finished(done.returncode, done.stdout, done.stderr)


def error_of(finished, tool):
    """The one line that a failing tool ended with."""
    assert finished.returncode == 1, finished.stderr
    assert "Traceback" not in finished.stderr
    last = finished.stderr.splitlines()[-1]
    assert last.startswith(f"{tool}: error: ")
    return last


def only_line(finished, tool):
    """The same, where nothing may have been said before."""
    assert len(finished.stderr.splitlines()) == 1, finished.stderr
    return error_of(finished, tool)
