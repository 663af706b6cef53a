"""Resizing: windows of an image into a net's input and score maps into their boxes of an image by MATLAB's rule, maps by DeepLab's."""

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


def corner_taps(size: tuple[int, int], begin: int, end: int, wanted: tuple[int, int], like) -> tuple[Taps, Taps]:
    """For `merge_maps` of one map of `size`, resized to `wanted` so that the corner pixels' middles stay where they are, and for its gradient.

    The map is what remains of `size` without its first `begin` and last `end` rows and columns. Value j of an axis of W, made of one of
    length L, lies at j (L - 1) / (W - 1), and takes of its two neighbours what they are near. The taps lie as in `window_taps`.
    """
    forward, backward = [], []
    for whole, made in zip(size, wanted, strict=True):
        length, steps = whole - begin - end, max(made - 1, 1)
        j, i = np.arange(made), np.arange(length)

        # in whole numbers, so that a value at a neighbour is the neighbour's
        def shares(j, i, length=length, steps=steps):
            return np.maximum(steps - abs(j * (length - 1) - i * steps), 0) / steps

        taps = min(2, length)
        first = np.minimum(j * (length - 1) // steps, length - taps)
        forward.append((0, first + begin, shares(j, first + np.arange(taps)[:, None])))
        # neighbour i is taken of by the values nearer than one step, all where it is the only one
        taps = min(made, -(-2 * steps // (length - 1))) if length > 1 else made
        first = np.clip((i - 1) * steps // max(length - 1, 1) + 1, 0, made - taps)
        backward.append((begin, first, shares(first + np.arange(taps)[:, None], i)))
    return _laid_out(forward, like), _laid_out(backward, like)


def _laid_out(axes, like) -> Taps:
    """The table of axes (where it begins on the canvas, first (n,), weights (taps, n))."""
    rows, values, weights = [], 0, 0
    for at, first, shares in axes:
        rows.append((0, 0, 0, len(first), len(shares), at, values, weights))
        values, weights = values + first.size, weights + shares.size
    first, shares = (np.concatenate([axis[part].ravel() for axis in axes]) for part in (1, 2))
    arrays = (np.array(rows, np.int32), first.astype(np.int32), shares.astype(like.dtype))
    return Taps(*(beside(like, array) for array in arrays))


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
