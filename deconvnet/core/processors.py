"""How many processors this process may keep busy. Nothing here imports NumPy, whose BLAS settles its threads when it is loaded."""

import functools
import math
import os
from pathlib import Path


def count() -> int:
    """Those that it may run on, and no more than its control groups grant it time of: containers are mostly limited so."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, granted())))


@functools.cache
def granted(root: str = "/") -> float:
    """Processors' worth of time that Linux's control groups, of either version, grant this process; infinity where they set no limit.

    root: where proc/self/cgroup and sys/fs/cgroup lie.
    """
    try:
        lines = Path(root, "proc/self/cgroup").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return math.inf
    least = math.inf
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = Path(root, "sys/fs/cgroup", "cpu" if controllers else "")
        # within a container its parents, and its own name, may not be seen: then it lies at the top
        own = top if ".." in path.split("/") else top / path.lstrip("/")
        least = min(least, *(_limit(group) for group in (own, *own.parents) if group == top or top in group.parents))
    return least


def _limit(group: Path) -> float:
    for files in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((group / file).read_text() for file in files).split()
            return int(quota) / int(period) if int(quota) > 0 else math.inf
        except (OSError, ValueError, ZeroDivisionError):  # no such file; "max"
            continue
    return math.inf
