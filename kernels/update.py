"""The solver's passes over parameters: one by one, or all of them in one launch."""

import numpy as np

from .device import address, beside, launch, launch_elementwise, on_gpu, workspace

_RUN = 1 << 10  # values of a partial sum: what a lane of a narrow vector adds up must not lose digits
_PART = 1 << 13  # values that a block takes at a time where it goes over all parameters


def sgd_update(
    weights, gradient, velocity, *, scale: float, rate: float, momentum: float, decay: float, l1: bool
) -> None:
    """velocity = momentum * velocity + rate * (scale * gradient + decay * weights or its sign); weights -= velocity; gradient = velocity."""
    size = weights.size
    launch_elementwise("sgd_update", size, weights, gradient, velocity, scale, rate, momentum, decay, int(l1), size)


def sum_of_squares(x) -> float:
    """The sum of the squares of all values, in double over runs of float sums."""
    runs = -(-x.size // _RUN)
    sums = workspace(x, runs, "sums", np.float64)
    launch("sum_of_squares", runs, _RUN, x, sums, x.size, _RUN)
    return float(sums.sum())


class ArrayTable:
    """Where arrays lie, as kernels over many of them in one launch want to know it; made anew when one has moved or changed its size."""

    def __init__(self):
        self._known = None
        self._made = ()

    def look_up(self, rows: list[tuple], numbers: list[tuple] = ()) -> tuple:
        """(table, owners, numbers as double, parts) for rows of arrays, those of a row having one size; `parts` is what blocks share.

        Raises ValueError for arrays of several dtypes, or with gaps.
        """
        known = [[row[0].size, *map(address, row)] for row in rows], [*numbers]
        if known != self._known or on_gpu(self._made[0]) != on_gpu(rows[0][0]):
            self._made, self._known = self._make(rows, *known), known
        return self._made

    @staticmethod
    def _make(rows, known, numbers):
        like = rows[0][0]
        for array in (array for row in rows for array in row):
            if array.dtype != like.dtype or not array.flags.c_contiguous:
                raise ValueError(
                    f"an array table takes contiguous {like.dtype} arrays, not {array.dtype} {array.shape}"
                )
        parts = [-(-size // _PART) for size, *_ in known]
        first = np.cumsum([0, *parts[:-1]])
        table = np.array(
            [(size, begin, *places) for (size, *places), begin in zip(known, first, strict=True)], np.int64
        )
        owners = np.repeat(np.arange(len(rows), dtype=np.int32), parts)
        return (*(beside(like, made) for made in (table, owners, np.array(numbers, np.float64))), len(owners))


def in_one_launch(rows: list[tuple], asked: bool | None) -> bool:
    """Whether kernels go over all rows at once: on a GPU, where nothing else is asked for."""
    return bool(rows) and (on_gpu(rows[0][0]) if asked is None else asked)


def launch_update(name: str, rows: list[tuple], multipliers: list[tuple], table: ArrayTable, *numbers) -> None:
    """Run an update over rows of (weights, gradient, histories ...) at once; multipliers: of the rate and of the decay, a pair a row."""
    made, owners, multiplied, parts = table.look_up(rows, multipliers)
    launch(name, parts, _PART, made, owners, multiplied, *numbers, parts, _PART, dtype=rows[0][0].dtype)


def sgd_update_all(
    parameters: list[tuple],
    table: ArrayTable,
    *,
    scale: float,
    rate: float,
    momentum: float,
    decay: float,
    l1: bool,
    in_one: bool | None = None,
) -> None:
    """`sgd_update` of (weights, gradient, velocity, multiplier of the rate, of the decay) each, on a GPU in one launch.

    table: kept by the caller from one update to the next; in_one: launch once (or once each) whatever the device.
    """
    if not in_one_launch(parameters, in_one):
        rule = {"scale": scale, "momentum": momentum, "l1": l1}
        for weights, gradient, velocity, rate_mult, decay_mult in parameters:
            sgd_update(weights, gradient, velocity, rate=rate * rate_mult, decay=decay * decay_mult, **rule)
        return
    rows, multipliers = [parameter[:3] for parameter in parameters], [parameter[3:] for parameter in parameters]
    launch_update("sgd_update_all", rows, multipliers, table, scale, rate, momentum, decay, int(l1))


def sum_of_squares_all(arrays: list, table: ArrayTable, in_one: bool | None = None) -> float:
    """The sum of the squares of all values of all arrays; on a GPU one launch and one number fetched."""
    rows = [(array,) for array in arrays]
    if not in_one_launch(rows, in_one):
        return sum(map(sum_of_squares, arrays))
    made, owners, _, parts = table.look_up(rows)
    sums = workspace(made, parts, "sums", np.float64)
    launch("sum_of_squares_all", parts, _PART, made, owners, sums, parts, _PART, dtype=arrays[0].dtype)
    return float(sums.sum())


def clear_all(arrays: list, table: ArrayTable, in_one: bool | None = None) -> None:
    """Set every value of every array to zero, on a GPU in one launch."""
    rows = [(array,) for array in arrays]
    if not in_one_launch(rows, in_one):
        for array in arrays:
            array[...] = 0
        return
    made, owners, _, parts = table.look_up(rows)
    launch("clear_all", parts, _PART, made, owners, parts, _PART, dtype=arrays[0].dtype)
