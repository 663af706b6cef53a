"""What scripts import from pycaffe's compiled half: names of classes, the log, and how many processes train, which is always one."""

import logging

from .core.blob import BlobVec
from .core.blob import HostBlob as Blob
from .core.layers import PythonLayer as Layer
from .core.layers import layer_types as layer_type_list
from .core.net import Net
from .core.solver import Solver, logger

RawBlobVec = list  # the bottoms and tops of a Python layer

__all__ = [
    "Blob",
    "BlobVec",
    "Layer",
    "Net",
    "RawBlobVec",
    "Solver",
    "has_nccl",
    "init_log",
    "layer_type_list",
    "log",
    "set_multiprocess",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
]


def init_log(level: int = 0, stderr: bool = False) -> None:
    """Log what is of that level or above (0: all, 1: warnings, 2: errors); to stderr, whatever is said."""
    logger.setLevel(logging.INFO + 10 * level)


def log(message: str) -> None:
    """A line in the log."""
    logger.info("%s", message, stacklevel=2)


def has_nccl() -> bool:
    """Whether several GPUs can train one net: no."""
    return False


def solver_count() -> int:
    """How many solvers train one net."""
    return 1


def solver_rank() -> int:
    """Which of them this is, the root."""
    return 0


def set_solver_count(count: int) -> None:
    """Raises ValueError for more than one."""
    if count != 1:
        raise ValueError(f"set_solver_count({count}): one solver trains a net here, on one GPU")


def set_solver_rank(rank: int) -> None:
    """Raises ValueError for another than the root."""
    if rank:
        raise ValueError(f"set_solver_rank({rank}): one solver trains a net here, number 0")


def set_multiprocess(several: bool) -> None:
    """Nothing: one process trains."""
