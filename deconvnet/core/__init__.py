"""The rooms of the house: proto, kernels, blob, layers, net, solver, segmentation.

An installed package holds them as folders beside this file; in a checkout they lie at its root, which joins the search path here.
"""

import math
import os
from pathlib import Path

from . import processors

# Idle threads of OpenMP and OpenBLAS must sleep, not spin: they would hold the core that the next kernel, product or data worker needs.
# Both read this when they are loaded, so it stands before any room imports NumPy.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "18")  # 2^18 cycles: they outlast what lies between two kernels
# A container with the time of few processors sees all of the machine's: with a thread for each, all would wait for one another.
if processors.granted() < math.inf and "OMP_NUM_THREADS" not in os.environ:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(processors.count()))

if not (Path(__file__).parent / "kernels").is_dir():
    __path__.append(str(Path(__file__).resolve().parents[2]))
