"""Kernels that read and write whole vectors do so within their arrays: behind each of them the process has no memory."""

import os
import signal
import subprocess
import sys

import numpy as np
import sanitized

from deconvnet.core.kernels import sources


def run(results, *options, **environment):
    environment = os.environ | {"PYTHONPATH": str(sanitized.ROOT), "OPENBLAS_NUM_THREADS": "1"} | environment
    command = [sys.executable, str(sanitized.PROGRAM), str(results), "--guard", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_no_kernel_touches_what_lies_behind_an_array(tmp_path):
    done = run(tmp_path / "results.npz")
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(tmp_path / "results.npz") as results:
        assert results.files


READS = "for (; done < count && (LANES - 1) * stride + done + LANES <= room; "


def test_who_reads_on_behind_an_array_ends_at_once(tmp_path):
    """The proof of the harness."""
    source = (sources.FOLDER / "lanes.h").read_text()
    assert source.count(READS) == 1
    changed = source.replace(READS, "for (; done < count; ")
    kernels = (sources.FOLDER / "winograd.cu").read_text().replace('#include "lanes.h"', changed)
    library = sanitized.build_changed(tmp_path, "winograd.cu", kernels)
    options = ("--only", "winograd_patches", "--dtypes", "float32")
    done = run(tmp_path / "results.npz", *options, DECONVNET_HOST_LIBRARY=library)
    assert done.returncode == -signal.SIGSEGV
