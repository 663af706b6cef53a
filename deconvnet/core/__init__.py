"""The rooms of the house: proto, kernels, blob, layers, net, solver, segmentation.

An installed package holds them as folders beside this file; in a checkout they lie at its root, which joins the search path here.
"""

import os
from pathlib import Path

# Idle threads of OpenMP and OpenBLAS must sleep, not spin: they would hold the core that the next kernel, product or data worker needs.
# Both read this when they are loaded, so it stands before any room imports NumPy.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "18")  # 2^18 cycles: they outlast what lies between two kernels

if not (Path(__file__).parent / "kernels").is_dir():
    __path__.append(str(Path(__file__).resolve().parents[2]))
