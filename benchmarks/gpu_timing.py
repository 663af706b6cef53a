"""How a call is timed on a device, whoever computes: events around each of many calls after a warm-up, the median counts.

Works over CuPy, over PyTorch and over a CPU; nothing but Python is imported. Rows are printed as JSON lines the moment they are known.
"""

import itertools
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator

MOST_CALLS = 50
FEWEST_CALLS = 5
GROUP = 10  # calls that are queued at once
HELD = 1.5  # how much longer than queueing a group takes the device is kept busy before it
MOST_HELD = 0.2  # seconds
MOST_SETS = 32  # of arrays that take turns


class Cpu:
    """The clock in the place of events; what a device does is done when the call returns."""

    l2_bytes = 0

    def event(self) -> float:
        """Now."""
        return time.perf_counter()

    def seconds(self, first: float, last: float) -> float:
        """Between two events."""
        return last - first

    def synchronize(self) -> None:
        """Nothing is under way."""

    def hold(self, seconds: float) -> None:
        """Nothing needs to be queued."""


def emit(**row) -> None:
    """Print a row of the results."""
    print(json.dumps(row), flush=True)


def told(error: BaseException) -> str:
    """An error in one line."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:300]}"


def sets_to_rotate(needed: int, l2_bytes: int) -> int:
    """How many sets of arrays of `needed` bytes are more than the cache holds, three times over."""
    return max(1, min(MOST_SETS, math.ceil(3 * l2_bytes / max(1, needed))))


def time_calls(device, calls: list[Callable[[], object]], seconds: float) -> dict:
    """The time of one call, of `calls` that take turns, each over arrays of its own.

    Before each group of calls the device is given enough to do that all of them wait in its queue: what is measured is the device's
    time, not that of whoever queues. A call that waits for the device by itself is measured with its waiting.
    """
    turn = itertools.cycle(calls)
    for call in calls:
        call()
    device.synchronize()
    group = [next(turn) for _ in range(GROUP)]
    begin = time.perf_counter()
    for call in group:
        call()
    queued = time.perf_counter() - begin
    device.synchronize()
    once = (time.perf_counter() - begin) / GROUP
    count = max(FEWEST_CALLS, min(MOST_CALLS, int(seconds / max(once, 1e-7))))
    found: list[float] = []
    while len(found) < count:
        device.hold(min(HELD * queued, MOST_HELD))
        events = [device.event()]
        for _ in range(min(GROUP, count - len(found))):
            next(turn)()
            events.append(device.event())
        device.synchronize()
        found += [device.seconds(a, b) for a, b in itertools.pairwise(events)]
    return spread(found)


def time_steps(device, step: Callable[[], object], seconds: float, warm: int = 2) -> dict:
    """The time from one pass of a whole net to the next, one after the other without a pause, whoever queues them included."""
    for _ in range(warm):
        step()
    device.synchronize()
    begin = time.perf_counter()
    events = [device.event()]
    while len(events) <= FEWEST_CALLS or (time.perf_counter() - begin < seconds and len(events) <= MOST_CALLS):
        step()
        events.append(device.event())
    device.synchronize()
    return spread([device.seconds(a, b) for a, b in itertools.pairwise(events)])


def spread(found: list[float]) -> dict:
    """Median and quarters, in milliseconds."""
    quarters = statistics.quantiles(found, n=4)
    return {
        "ms": statistics.median(found) * 1e3,
        "quarters_ms": [quarters[0] * 1e3, quarters[2] * 1e3],
        "calls": len(found),
    }


def time_cases(device, cases, makers: dict, mode: str, seconds: float, release: Callable[[], None]) -> Iterator[dict]:
    """A row for each case that there is a maker for: maker(case) makes arrays and returns the call over them.

    A case that fails becomes a row that says why.
    """
    for case in cases:
        if case.name not in makers:
            continue
        row = {"part": "kernel", "mode": mode, **case._asdict()}
        calls = []
        try:
            for _ in range(sets_to_rotate(case.bytes, device.l2_bytes)):
                calls.append(makers[case.name](case))
            row |= time_calls(device, calls, seconds)
        except Exception as error:  # whatever it is, the other cases are worth having
            row["error"] = told(error)
        calls.clear()
        release()
        yield row
