"""Resizing by MATLAB's rule: windows of an image into a net's input, score maps into their boxes of an image."""

from typing import Any, NamedTuple

import numpy as np

from .device import array_module, beside, launch
from .sources import INT

_FAR = 1 << 30  # pixels from the image's corner that a box may reach


class Taps(NamedTuple):
    """What each value of resized boxes takes of its neighbours (resampling.cu): arrays on the device that is to compute.

    axes: (2 n, 8) int32, of each of n boxes down and across; first: int32, and weights: of all values of all axes
    """

    axes: Any
    first: Any
    weights: Any

    def of(self, start: int, stop: int) -> "Taps":
        """Those of the boxes start .. stop alone."""
        return self._replace(axes=self.axes[2 * start : 2 * stop])


def window_taps(boxes, size: tuple[int, int], like, antialias: bool = True) -> Taps:
    """For `resize_windows`: boxes (n, 4) whole numbers x1 y1 x2 y2, inclusive, resized to `size` (rows, columns).

    The taps lie on the device of `like` and their weights have its dtype. antialias: widen the kernel where a side shrinks.
    Raises ValueError for a box beyond what 32 bits count.
    """
    begin, end = _corners(boxes)
    size = np.broadcast_to(size, begin.shape)
    return _made(like, antialias, length=end - begin, wanted=size, begin=0 * begin, count=size, at=begin)


def map_taps(boxes, size: tuple[int, int], canvas: tuple[int, int], like, antialias: bool = True) -> Taps:
    """For `merge_maps`: maps of `size` (rows, columns), each resized to its box and cut off at the border of a canvas of that size.

    Else as `window_taps`.
    """
    begin, end = _corners(boxes)
    first, last = np.maximum(begin, 0), np.minimum(end, canvas)
    seen = np.where((first < last).all(axis=1, keepdims=True), last - first, 0)
    length = np.broadcast_to(size, begin.shape)
    return _made(like, antialias, length=length, wanted=end - begin, begin=first - begin, count=seen, at=first)


def resize_windows(image, taps: Taps, mean, scale: float, out) -> None:
    """out (n, C, h, w) = the boxes of an image (H, W, C) uint8, zero beyond its border, resized, less mean (C,), times scale.

    taps: `window_taps` of n boxes for (h, w).
    """
    n, channels, rows, columns = out.shape
    sizes = (n, channels, *image.shape[:2], rows, columns)
    launch("resize_windows", n * channels * rows, columns, mean, image, *taps, out, *sizes, scale)


def merge_maps(maps, taps: Taps, canvas, greatest: bool = False) -> None:
    """canvas (K, H, W) += maps (n, K, h, w), each resized to its box, box after box; greatest: or the greatest of all of them.

    taps: `map_taps` of n boxes for (h, w) and (H, W).
    """
    n, classes, height, width = maps.shape
    sizes = (n, classes, height, width, *canvas.shape[1:])
    launch("merge_maps", classes * canvas.shape[1], n * canvas.shape[2], maps, *taps, canvas, *sizes, int(greatest))


def _corners(boxes) -> tuple[np.ndarray, np.ndarray]:
    """Where boxes begin and end, (n, 2) each: row, column."""
    boxes = np.asarray(boxes, np.int64).reshape(-1, 4)
    if (abs(boxes) >= _FAR).any():
        raise ValueError(
            f"a box reaches {abs(boxes).max()} pixels from the image's corner, and {_FAR - 1} are the most"
        )
    return boxes[:, 1::-1], boxes[:, :1:-1] + 1


def _made(like, antialias: bool, length, wanted, begin, count, at) -> Taps:
    """The tables of axes (n, 2)."""
    widest = np.maximum(-(-2 * length // wanted), 2) if antialias else 2  # reach lies on both sides of a place
    taps = np.where(length == wanted, 1, np.minimum(length, widest))
    ends = [np.cumsum(values).reshape(values.shape) for values in (count, count * taps)]
    first, weight = ends[0] - count, ends[1] - count * taps
    values, weights = (int(end[-1, -1]) if end.size else 0 for end in ends)
    if weights >= INT:
        raise ValueError(f"{len(taps)} boxes take {weights} weights, and 32 bits count {INT - 1}: merge fewer at once")
    axes = np.stack([length, wanted, begin, count, taps, at, first, weight], axis=-1).reshape(-1, 8)
    module = array_module(like)
    made = Taps(beside(like, axes.astype(np.int32)), module.empty(values, np.int32), module.empty(weights, like.dtype))
    arrays, most = (made.weights, made.first, made.axes), int(count.max(initial=0))
    launch("axis_taps", len(axes), most, *arrays, len(axes), int(antialias))
    return made
