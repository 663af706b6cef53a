"""Square windows at several scales, which stand in for object proposals where none are at hand."""

import math

import numpy as np

SIDES = (32, 48, 72, 108, 150)  # pixels; made for images of 160x120


def multi_scale_windows(height, width, sides=SIDES, stride=0.5):
    """Windows that cover an image at every scale: (n, 4) int32 rows x1 y1 x2 y2, inclusive, smallest sides first.

    Neighbours of side s lie at most `stride` * s apart, spread evenly from border to border; a window larger than the
    image is centred and reaches over its border. Raises ValueError for an empty image, a side below 1 or a stride
    that is not in (0, 1], which would leave gaps.
    """
    if height < 1 or width < 1:
        raise ValueError(f"windows need an image of at least one pixel, not {height}x{width}")
    if not 0 < stride <= 1:
        raise ValueError(f"stride {stride} is a share of the window's side: it must be above 0 and at most 1")
    windows = []
    for side in sides:
        if side < 1:
            raise ValueError(f"a window's side must be at least 1 pixel, not {side}")
        for y in _starts(height, side, stride):
            windows += [(x, y, x + side - 1, y + side - 1) for x in _starts(width, side, stride)]
    return np.array(windows, np.int32).reshape(-1, 4)


def _starts(length, side, stride):
    """Where windows of `side` begin along an axis of `length` pixels."""
    if side >= length:
        return [-((side - length) // 2)]
    count = math.ceil((length - side) / max(side * stride, 1)) + 1
    return [round(k * (length - side) / (count - 1)) for k in range(count)]
