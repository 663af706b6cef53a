"""Convolution on tensor cores: one implicit product, its operands rounded to TF32 or bfloat16, its sums in float32 (tensor_product.cu).

On a host the same source rounds and multiplies as the tensor cores do, slowly: what a precision does to a net shows there, too.
"""

import math
from typing import NamedTuple

import numpy as np

from .device import DeviceError, compute_capability, launch, launch_blocks, workspace

PRECISIONS = ("FLOAT32", "TF32", "BFLOAT16")
_KERNELS = {"TF32": "tensor_product_tf32", "BFLOAT16": "tensor_product_bf16"}
# as in tensor_product.cu: threads of a block, and rows and columns of what it computes
_THREADS = 128
_TILES = {4: 128, 8: 64}  # by the bytes of a value
_STEP = 16  # terms that are loaded at once
_BLOCKS = 512  # that keep a large GPU busy; sums are split where there are fewer, on every device alike
_SHARE = 16 * _STEP  # terms of a sum that are worth a block
_TENSOR_CORES = (8, 0)  # compute capability
_WINDOW = 31  # rows and columns of a window, together: the kernel has a bit for each
_LARGEST = 1 << 30  # values of an array whose offsets the kernel's `int`s hold


def require_precision(precision: str, dtype) -> None:
    """Raise ValueError for no word of PRECISIONS, or where other numbers than float32 would be rounded; DeviceError for too old a GPU."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}: it must be {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}")
    if precision == "FLOAT32":
        return
    if np.dtype(dtype) != np.float32:
        raise ValueError(
            f"precision {precision} rounds float32, and the net's dtype is {np.dtype(dtype)}: choose FLOAT32"
        )
    have = compute_capability()
    if have is not None and have < _TENSOR_CORES:
        told = f"of compute capability {have[0]}.{have[1]} has no tensor cores for it (8.0 and later have)"
        raise DeviceError(f"precision {precision}: the GPU, {told}: choose FLOAT32")


def serves(geometry) -> bool:
    """Whether a precision makes a difference: not in groups of channels, nor for windows of more than 31 rows and columns together."""
    return geometry.precision != "FLOAT32" and geometry.group == 1 and sum(geometry.kernel) <= _WINDOW


def correlate(x, weights, geometry, out, bias=None, after=None) -> None:
    """out (N, O, H', W') = x (N, C, H, W) correlated with weights (O, C, kh, kw), plus bias (O,), then what comes after."""
    after = _Finish(bias, after, out.shape[1])
    x, weights, out, geometry = _flattened(x, weights, out, geometry)
    outputs, places, taps = out.shape[1], math.prod(out.shape[2:]), math.prod(geometry.kernel)
    depth = x.shape[1] * taps
    for part, result in _parts(x, out):
        left = {"left": weights, "row": depth, "run": depth, "jump": depth, "across": False}
        right = {"right": part, "across": places > 1, "grid": out.shape[2:], "transposed": False}
        _product(geometry, (outputs, len(part), places), depth, left, right, result, after)


def correlate_backward_data(dy, weights, geometry, dx, bias=None, after=None) -> None:
    """dx (N, C, H, W) = the gradient of `correlate` with respect to x, from dy (N, O, H', W'), plus bias (C,), then what comes after."""
    after = _Finish(bias, after, dx.shape[1])
    dx, weights, dy, geometry = _flattened(dx, weights, dy, geometry)
    channels, places, taps = dx.shape[1], math.prod(dx.shape[2:]), math.prod(geometry.kernel)
    for part, result in _parts(dy, dx):
        left = {"left": weights, "row": taps, "run": taps, "jump": channels * taps, "across": taps == 1}
        right = {"right": part, "across": places > 1, "grid": dx.shape[2:], "transposed": True}
        _product(geometry, (channels, len(part), places), dy.shape[1] * taps, left, right, result, after)


def correlate_backward_weights(x, dy, geometry, dweights) -> None:
    """dweights (O, C, kh, kw) += the gradient of `correlate` with respect to its weights."""
    x, dweights, dy, geometry = _flattened(x, dweights, dy, geometry)
    outputs, places = dy.shape[1], math.prod(dy.shape[2:])
    for part, gradient in _parts(x, dy):
        left = {"left": gradient, "row": places, "run": places, "jump": outputs * places, "across": places == 1}
        right = {"right": part, "across": places == 1, "grid": dy.shape[2:], "transposed": False}
        sizes = (outputs, 1, dweights.size // outputs)
        _product(geometry, sizes, len(part) * places, left, right, dweights, adds=True)


def _flattened(whole, weights, single, geometry):
    """The same for 1x1 windows where the window covers the whole map: then no tap of any place is idle."""
    if single.shape[2:] != (1, 1) or geometry.kernel != whole.shape[2:] or geometry.pad != (0, 0):
        return whole, weights, single, geometry
    flat = (len(whole), whole.size // len(whole), 1, 1)
    one = geometry._replace(kernel=(1, 1), stride=(1, 1), dilation=(1, 1))
    return whole.reshape(flat), weights.reshape(weights.shape[0], flat[1], 1, 1), single, one


def _parts(first, second):
    """Two batches in parts of as many images as the kernel can count the values of."""
    images = max(1, _LARGEST // max(first.size // len(first), second.size // len(second)))
    return [(first[k : k + images], second[k : k + images]) for k in range(0, len(first), images)]


class _Finish(NamedTuple):
    """What becomes of the sums of each of so many channels: the bias (or None), then what comes after (or None)."""

    bias: object = None
    after: object = None
    channels: int = 1

    def arguments(self, rows: int):
        """As the kernels take it, for so many rows of results; a channel may have several."""
        gain, shift, rectified = self.after[:3] if self.after else (None, None, False)
        return self.bias, gain, shift, int(rectified), rows // self.channels


_PLAIN = _Finish()


def _product(geometry, sizes, depth, left, right, out, finish=_PLAIN, adds=False) -> None:
    """out (images, rows, run) = (adds: +=) the product of rows x depth and depth x (images * run), sizes being (rows, images, run)."""
    rows, images, run = sizes
    tile = _TILES[out.dtype.itemsize]
    tiles = -(-rows // tile) * -(-images * run // tile)
    share = _share(tiles, depth)
    splits = -(-depth // share)
    finish = finish.arguments(rows)
    target = out if splits == 1 else workspace(out, splits * out.size, "partial products")
    _, channels, height, width = right["right"].shape
    launch_blocks(
        _KERNELS[geometry.precision],
        tiles * splits,
        _THREADS,
        *(left["left"], right["right"], target, *finish),
        *(rows, images * run, depth, share, splits),
        *(left["row"], left["run"], left["jump"], run, rows * run, int(adds)),
        *(int(left["across"]), int(right["across"]), int(adds), int(right["transposed"])),
        *(height, width, channels * height * width, math.prod(right["grid"]), right["grid"][1], *geometry.taps),
    )
    if splits > 1:
        launch("merge_splits", rows * images, run, target, out, *finish, splits, rows, images, run, int(adds))


def _share(tiles: int, depth: int) -> int:
    """How many terms of its sums one block takes, for so many tiles of results: all, or so many that there are blocks enough."""
    splits = min(_BLOCKS // max(1, tiles), depth // _SHARE)
    return -(-depth // max(1, splits) // _STEP) * _STEP
