"""Pooling with switches, average pooling and unpooling (paper, section 3.2.1)."""

import threading
import warnings
from collections import deque
from typing import NamedTuple

import numpy as np

from . import bands, gather
from .device import launch, on_gpu, workspace
from .geometry import Geometry

MOST_SWITCHES = 1 << 24  # the integers that float32 holds exactly
_STRAYS_KEPT = 32  # calls of unpool whose counts may wait
_RUN = 4096  # windows that a block of a GPU takes at a time, at most
_OWN = 8  # of them a thread's, about


class _Strays(threading.local):
    """The counts of a Python thread that wait to be read: (count per plane, shape of the result)."""

    def __init__(self):
        self.waiting: deque = deque()


_strays = _Strays()


class Window(NamedTuple):
    """A pooling window: pairs (vertical, horizontal)."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)

    @property
    def overlaps(self) -> bool:
        """Whether two windows can share a place."""
        return self.kernel[0] > self.stride[0] or self.kernel[1] > self.stride[1]

    def output_size(self, height: int, width: int, floor: bool = False) -> tuple[int, int]:
        """How many windows there are: rounded up (or down), the last one starting inside the padded image, as Caffe has it."""
        return tuple(
            _windows(size, k, s, p, floor)
            for size, k, s, p in zip((height, width), self.kernel, self.stride, self.pad, strict=True)
        )


_PAIRS = Window((2, 2), (2, 2))  # as in the paper's net: two values at a time, no inner loop


def _windows(size: int, kernel: int, stride: int, pad: int, floor: bool) -> int:
    room = size + 2 * pad - kernel
    count = (room // stride if floor else -(-room // stride)) + 1
    if pad and (count - 1) * stride >= size + pad:
        count -= 1
    return count


def require_switches(x, switches) -> None:
    """Raise ValueError for planes of x (N, C, H, W) too large for switches in float32."""
    height, width = x.shape[2:]
    if switches.dtype == np.float32 and height * width > MOST_SWITCHES:
        raise ValueError(f"a plane of {height} x {width} has more places than float32 switches can name (2^24)")


def max_pool(x, window: Window, out, switches, order: str | None = None) -> None:
    """out (N, C, h, w) = the maximum of each window of x (N, C, H, W); switches, alike, its flat index in the plane.

    order: "rows" of windows, which 2x2 windows and the largest ones take on a CPU, "bands" of them (bands.h), which others take, or "runs"
    of many windows a block, which a GPU takes; None for that; results are the same.
    Raises ValueError for a plane too large for float32 switches.
    """
    n, c, height, width = x.shape
    require_switches(x, switches)
    arguments = (x, out, switches, n * c, height, width, *out.shape[2:], *window.kernel, *window.stride, *window.pad)
    few = window.kernel[0] * window.kernel[1] <= bands.MOST_TAPS
    band = bands.of_windows(out.shape[2:], window.kernel, window.stride, (1, 1), x.itemsize) if few else None
    if order is None:
        order = "runs" if on_gpu(x) else "rows" if window == _PAIRS or band is None else "bands"
    if order == "runs":
        together = _together(out)
        launch("max_pool_rows", _runs(out), together * out.shape[3] // _OWN, *arguments, together)
    elif order == "bands":
        launch("max_pool_bands", n * c * out.shape[2], out.shape[3], *arguments, *band)
    else:
        launch("max_pool_forward", n * c * out.shape[2], out.shape[3], *arguments)


def max_pool_backward(dy, switches, window: Window, out, in_cells: bool | None = None) -> None:
    """out (N, C, H, W) = the gradient of `max_pool`: dy (N, C, h, w) at the switches, summed where windows overlap.

    in_cells: let a thread own places or windows, as a GPU does, instead of a plane; results are the same.
    """
    n, c, height, width = out.shape
    if not (on_gpu(dy) if in_cells is None else in_cells):
        windows = dy.shape[2] * dy.shape[3]
        launch("max_pool_backward", n * c, height * width, dy, switches, out, n * c, windows, height * width)
    elif window.overlaps:
        sizes = (n * c, height, width, *dy.shape[2:])
        arguments = (*sizes, *window.kernel, *window.stride, *window.pad)
        launch("max_pool_backward_overlapping", n * c * height, width, dy, switches, out, *arguments)
    else:
        _unpool_cells(dy, switches, window, out, workspace(dy, _runs(dy), "outside", np.int32))


def average_pool(x, window: Window, out, order: str | None = None) -> None:
    """out (N, C, h, w) = the mean of each window of x (N, C, H, W), padding counted as zeros.

    order: "bands" of windows (bands.h), which several of a plane take on a CPU, or "rows"; None for that; results are the same but for rounding.
    """
    band = bands.of_windows(out.shape[2:], window.kernel, window.stride, (1, 1), x.itemsize)
    if not _in_bands(order, x, window, out, band):
        _average_windows("average_pool_forward", x, out, window, x.shape, out.shape)
        return
    gather.correlate(_planes(x), _ones(x, window), Geometry(*window), _planes(out), order="bands")
    _average_windows("average_pool_shares", out, out, window, x.shape, out.shape)


def average_pool_backward(dy, window: Window, out, order: str | None = None) -> None:
    """out (N, C, H, W) = the gradient of `average_pool` from dy (N, C, h, w)."""
    band = bands.of_places(out.shape[2:], window.kernel, window.stride, window.pad, (1, 1), dy.itemsize)
    if not _in_bands(order, dy, window, dy, band):
        _average_windows("average_pool_backward", dy, out, window, out.shape, dy.shape)
        return
    shares = workspace(dy, dy.size, "shares").reshape(dy.shape)
    _average_windows("average_pool_shares", dy, shares, window, out.shape, dy.shape)
    gather.correlate_backward_data(_planes(shares), _ones(dy, window), Geometry(*window), _planes(out), order="bands")


def _in_bands(order: str | None, like, window: Window, windows, band) -> bool:
    """Whether averages of so many `windows` (N, C, h, w) go by bands; `band` is None where there are none."""
    if order is None:
        return not on_gpu(like) and band is not None and windows.shape[2:] != (1, 1)
    return order == "bands"


def _average_windows(
    name: str, source, result, window: Window, whole: tuple[int, ...], windows: tuple[int, ...]
) -> None:
    """Launch a kernel of average pooling of maps `whole` (N, C, H, W) over `windows` (N, C, h, w)."""
    sizes = (whole[0] * whole[1], *whole[2:], *windows[2:])
    rows, width = result.size // result.shape[3], result.shape[3]
    launch(name, rows, width, source, result, *sizes, *window.kernel, *window.stride, *window.pad)


def _planes(maps):
    """Maps (N, C, H, W) as (N * C, 1, H, W)."""
    return maps.reshape(maps.shape[0] * maps.shape[1], 1, *maps.shape[2:])


def _ones(like, window: Window):
    """Weights (1, 1, kh, kw) by which a convolution sums its windows."""
    ones = workspace(like, window.kernel[0] * window.kernel[1], "ones").reshape(1, 1, *window.kernel)
    ones[...] = 1
    return ones


def unpool(
    x,
    switches,
    out,
    distinct: bool = False,
    window: Window | None = None,
    in_cells: bool | None = None,
    warns: bool = True,
) -> None:
    """out (N, C, H, W) = x (N, C, h, w) put at its switches, zero elsewhere; of values for one place the last in scan order wins.

    `distinct` promises that no place is named twice, which spares a pass; window: the pooling window of the switches, where it is known.
    in_cells: let each window write what lies around it, as a GPU does where `distinct` and `window` are given; results are the same.
    A switch outside the plane writes nothing and is warned of if `warns`, on a GPU by `warn_of_strays`.
    """
    planes, windows, size = x.shape[0] * x.shape[1], x.shape[2] * x.shape[3], out.shape[2] * out.shape[3]
    cells = distinct and window is not None and (on_gpu(x) if in_cells is None else in_cells)
    # counts that still wait keep their place
    outside = workspace(x, _runs(x) if cells else planes, f"outside {len(_strays.waiting)}", np.int32)
    if cells:
        _unpool_cells(x, switches, window, out, outside)
    elif distinct:
        launch("unpool_forward", planes, size, x, switches, out, outside, planes, windows, size)
    else:
        winner = workspace(outside, planes * size, "winner")
        launch("unpool_forward_last_wins", planes, size, x, switches, out, winner, outside, planes, windows, size)
    if not warns:
        return
    _strays.waiting.append((outside, out.shape))
    if not on_gpu(x) or len(_strays.waiting) >= _STRAYS_KEPT:
        warn_of_strays()


def _together(x) -> int:
    """Rows of windows, of maps (N, C, h, w) of them, that a block takes at a time."""
    return max(1, min(_RUN // max(1, x.shape[3]), x.shape[2]))


def _runs(x) -> int:
    """How many blocks' worth of windows there are."""
    return x.shape[0] * x.shape[1] * -(-x.shape[2] // _together(x))


def _unpool_cells(x, switches, window: Window, out, outside) -> None:
    """`unpool` by windows that do not overlap; `outside` gets the lost switches of each run of windows."""
    planes, windows, size = x.shape[0] * x.shape[1], x.shape[2] * x.shape[3], out.shape[2] * out.shape[3]
    together, runs = _together(x), _runs(x)
    run, elsewhere = together * x.shape[3], workspace(x, runs, "elsewhere", np.int32)
    sizes = (planes, *x.shape[2:], *out.shape[2:], *window.stride, *window.pad, together)
    launch("unpool_cells", runs, run // _OWN, x, switches, out, outside, elsewhere, *sizes)
    launch("unpool_elsewhere", runs, run // _OWN, x, switches, out, elsewhere, planes, windows, size, run)


def take_strays() -> list:
    """The counts that wait to be read; nobody warns of them unless they are left again."""
    taken = list(_strays.waiting)
    _strays.waiting.clear()
    return taken


def leave_strays(counts: list) -> None:
    """Let counts wait to be read that were taken."""
    _strays.waiting.extend(counts)


def warn_of_strays() -> None:
    """Warn of switches outside their planes. `unpool` on a GPU leaves their counts there, lest the host wait at each call."""
    while _strays.waiting:
        outside, shape = _strays.waiting.popleft()
        lost = int(outside.sum())
        if lost:
            warnings.warn(
                f"unpooling: {lost} switches lie outside a plane of {shape[2]} x {shape[3]}; they wrote nothing",
                stacklevel=3,
            )


def unpool_backward(dy, switches, out, in_runs: bool | None = None) -> None:
    """out (N, C, h, w) = dy (N, C, H, W) read back at the switches; in_runs: a block takes a run of windows, as on a GPU, else a plane."""
    planes, windows, size = out.shape[0] * out.shape[1], out.shape[2] * out.shape[3], dy.shape[2] * dy.shape[3]
    run, together = max(1, windows), 1
    if on_gpu(dy) if in_runs is None else in_runs:
        run, together = min(_RUN, run), max(1, _RUN // 4 // run)  # small planes together, but blocks enough
    rows = -(-planes // together) * -(-windows // run)
    launch("unpool_backward", rows, run * together, dy, switches, out, planes, windows, size, run, together)


def unpool_spread(x, window: Window, out, shares: bool) -> None:
    """out (N, C, H, W) = each value of x (N, C, h, w) added to every place of its window, divided by its size if `shares`."""
    sizes = (x.shape[0] * x.shape[1], *x.shape[2:], *out.shape[2:])
    launch(
        "unpool_spread_forward",
        out.size // out.shape[3],
        out.shape[3],
        x,
        out,
        *sizes,
        *window.kernel,
        *window.stride,
        int(shares),
    )


def unpool_spread_backward(dy, window: Window, out, shares: bool) -> None:
    """out (N, C, h, w) = the sum of dy (N, C, H, W) over each window, divided by its size if `shares`."""
    sizes = (out.shape[0] * out.shape[1], *out.shape[2:], *dy.shape[2:])
    launch(
        "unpool_spread_backward",
        out.size // out.shape[3],
        out.shape[3],
        dy,
        out,
        *sizes,
        *window.kernel,
        *window.stride,
        int(shares),
    )
