"""Axes in another order."""

import math
from typing import Any, NamedTuple

import numpy as np

from .device import beside, launch

# of the part of a plane that a block takes: its rows and columns fill whole cache lines, and all fit the first cache
_TALL, _WIDE = 16, 64


class Permutation(NamedTuple):
    """How axes change places (permute.cu): the table of the other axes, on the device that is to compute, and the plane's sizes and steps."""

    axes: Any
    others: int
    planes: int
    down: int
    across: int
    x_down: int
    y_down: int
    y_across: int


def permutation(shape: tuple[int, ...], order: tuple[int, ...], like) -> Permutation | None:
    """For `permute`: axis order[i] of an array of that shape becomes axis i. None where all values stay where they are.

    Axes of length 1 do not count, and those that stay neighbours move as one. The table lies on the device of `like`.
    """
    held = [axis for axis, size in enumerate(shape) if size != 1]
    moved: list[list[int]] = []  # runs of axes, numbered among those held, in the order of y
    for axis in (held.index(axis) for axis in order if shape[axis] != 1):
        if moved and moved[-1][-1] + 1 == axis:
            moved[-1].append(axis)
        else:
            moved.append([axis])
    if len(moved) < 2 or 0 in shape:
        return None
    long = [shape[axis] for axis in held]
    sizes = [math.prod(long[run[0] : run[-1] + 1]) for run in moved]
    x_steps = [math.prod(long[run[-1] + 1 :]) for run in moved]
    y_steps = [math.prod(sizes[number + 1 :]) for number in range(len(sizes))]
    across, last = x_steps.index(1), len(moved) - 1
    down = last if across != last else last - 1
    others = [number for number in range(len(moved)) if number not in (across, down)]
    table = np.array([(sizes[number], x_steps[number], y_steps[number]) for number in others], np.int64)
    return Permutation(
        beside(like, table) if others else None,
        len(others),
        math.prod(sizes[number] for number in others),
        sizes[down],
        sizes[across],
        x_steps[down],
        y_steps[down],
        y_steps[across],
    )


def permute(x, how: Permutation | None, out) -> None:
    """out = x with its axes in another order, by the `permutation` of its shape; out is not x."""
    if how is None:
        out.reshape(x.shape)[...] = x
        return
    wide = min(_WIDE, how.across)
    parts = how.planes * -(-how.down // _TALL) * -(-how.across // wide)
    launch("permute", parts, _TALL * wide, x, out, *how, _TALL, wide)
