"""What scripts import from pycaffe's Python half, and its stopwatch."""

import time

from .core import kernels
from .core.net import Net
from .core.solver import AdaDeltaSolver, AdaGradSolver, AdamSolver, NesterovSolver, RMSPropSolver, SGDSolver

__all__ = [
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "NesterovSolver",
    "Net",
    "RMSPropSolver",
    "SGDSolver",
    "Timer",
]


class Timer:
    """A stopwatch; on a GPU it waits for what was launched. `ms`: milliseconds from start to stop."""

    def __init__(self):
        self.ms = self._began = 0.0

    def start(self) -> None:
        """Begin to measure."""
        kernels.synchronize()
        self._began = time.perf_counter()

    def stop(self) -> None:
        """Settle `ms`."""
        kernels.synchronize()
        self.ms = (time.perf_counter() - self._began) * 1e3
