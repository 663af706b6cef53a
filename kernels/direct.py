"""Convolution on a CPU as a product that needs no columns in memory (direct.cu), at stride 1 its adjoint as well."""

import math

from . import threads
from .device import launch, workspace
from .winograd import After

_SEEN_BYTES = 4 << 20  # what the windows of a band see; shorter bands lay out more rows twice
_LINE = 16  # values of a cache line
_SPARE = 32  # values behind a plane that whole vectors reach
_TALLEST = 8  # outputs of a panel, at most
_PLACES = 128  # of all results: fewer do not repay that the weights are put in order
_OUTPUTS = 4  # of a group: fewer leave most of a panel empty
_MOST_PLANES = 700  # that windows see: a product of so many terms repays its columns
_WEIGHTS_OUTPUTS = 32  # of a group: more repay the columns for the weights' gradient, too,
_WEIGHTS_TAPS = 200  # unless it has no more taps than that
_WEIGHTS_SEEN_BYTES = 3 << 18  # what the windows of some images see there, of a thread's channels
_WEIGHTS_ROWS = 8  # of a band there, or more: sums over lanes are to be few


def pays(geometry, channels: int, out, transposed: bool = False) -> bool:
    """Whether maps `out` (N, O, H, W) are computed faster this way from maps of so many channels than from columns.

    transposed: they are those of the adjoint
    """
    if not _serves(geometry, out) or channels * _planes(geometry) > _MOST_PLANES:
        return False
    stride_one = geometry.stride == (1, 1) and all(p < k for p, k in zip(geometry.pad, geometry.kernel, strict=True))
    return stride_one or not transposed


def pays_for_weights(geometry, depth: int, single) -> bool:
    """Whether the gradient of the weights is, of `depth` channels a group; `single` (N, O, H, W) are the maps with a place for each window."""
    small = single[1] // geometry.group <= _WEIGHTS_OUTPUTS or depth * math.prod(geometry.kernel) <= _WEIGHTS_TAPS
    return small and _serves(geometry, single)


def _serves(geometry, out) -> bool:
    """Whether windows overlap, and results are many."""
    overlap = math.prod(geometry.kernel) > math.prod(geometry.stride) and geometry.dilation == (1, 1)
    return overlap and out[0] * out[2] * out[3] >= _PLACES and out[1] // geometry.group >= _OUTPUTS


def _planes(geometry) -> int:
    """How many planes of a channel the windows see: for each column, and for each row within a stride."""
    return geometry.kernel[1] * min(geometry.stride[0], geometry.kernel[0])


def correlate(x, weights, geometry, out, bias=None, after: After | None = None) -> None:
    """out (N, O, H', W') = x (N, C, H, W) correlated with weights (O, C / group, kh, kw), plus bias (O,) if there is one, and what comes `after`."""
    _correlate(x, weights, geometry, out, bias, after, turned=False)


def correlate_backward_data(dy, weights, geometry, dx, bias=None, after: After | None = None) -> None:
    """dx (N, C, H, W) = the gradient of `correlate` at stride 1 from dy (N, O, H', W'), likewise: windows that are turned by half a turn."""
    back = geometry._replace(pad=tuple(k - 1 - p for k, p in zip(geometry.kernel, geometry.pad, strict=True)))
    _correlate(dy, weights, back, dx, bias, after, turned=True)


def correlate_backward_weights(x, dy, geometry, dweights) -> None:
    """dweights (O, C / group, kh, kw) += the gradient of `correlate` with respect to its weights, from x (N, C, H, W) and dy (N, O, H', W')."""
    (images, channels, *size), (_, outputs, height, width) = x.shape, dy.shape
    kernel_h, stride_h, group = geometry.kernel[0], geometry.stride[0], geometry.group
    parts = threads.count()
    reach = (kernel_h - 1) // stride_h
    # each channel is seen once where all go in about equal parts, as many as leave a band some rows; few are seen by every thread
    most = max(
        1, _WEIGHTS_SEEN_BYTES // (x.itemsize * _planes(geometry) * _plane(min(height, _WEIGHTS_ROWS) + reach, width))
    )
    c_parts = parts * -(-channels // (parts * most)) if channels % parts == 0 or channels >= 4 * parts else 1
    o_parts = 1 if c_parts > 1 else parts
    planes = -(-channels // c_parts) * _planes(geometry)
    rows = _rows(_WEIGHTS_SEEN_BYTES // (x.itemsize * planes * width) - reach, 1, height, 1)
    plane = _plane(rows + reach, width)
    together = min(images, _WEIGHTS_SEEN_BYTES // (x.itemsize * planes * plane)) if rows == height else 1
    together = max(1, together)
    seen = workspace(x, c_parts * o_parts * together * planes * plane, "seen")
    sizes = (c_parts, o_parts, images, together, group, channels // group, outputs // group, *size)
    taps = (height, width, *geometry.taps[:6], rows, plane)
    launch("direct_weights", c_parts * o_parts, dy.size * dweights[0].size, x, dy, dweights, seen, *sizes, *taps)


def _plane(rows: int, width: int) -> int:
    """Values from one plane of what windows see to the next: an odd number of lines, so that planes do not meet in one cache set."""
    return ((rows * width + _SPARE) // _LINE | 1) * _LINE


def _correlate(x, weights, geometry, out, bias, after: After | None, turned: bool) -> None:
    (images, channels, *size), (_, outputs, height, width) = x.shape, out.shape
    (kernel_h, kernel_w), stride_h, group = geometry.kernel, geometry.stride[0], geometry.group
    depth, taps = channels // group, kernel_h * kernel_w
    panels = _panels(weights, group, depth, outputs // group, taps, turned)
    after = after or After()
    finish = (bias, after.gain, after.shift, int(after.rectified))
    planes, reach = channels * _planes(geometry), (kernel_h - 1) // stride_h
    parts = threads.count()
    rows = _rows(_SEEN_BYTES // (x.itemsize * planes * width) - reach, images, height, parts)
    plane = _plane(rows + reach, width)
    seen = workspace(x, parts * planes * plane, "seen")
    sizes = (parts, images, group, depth, outputs // group, *size, height, width, *geometry.taps[:6], rows)
    launch("direct_correlate", parts, out.size * depth * taps, x, panels, *finish, out, seen, *sizes, plane)


def _panels(weights, group: int, depth: int, outputs: int, taps: int, turned: bool):
    """The weights (group * outputs, depth, kh, kw), or (group * depth, outputs, kh, kw) if turned, as direct.cu's products take them."""
    rows = group * -(-outputs // _TALLEST)
    panels = workspace(weights, rows * _TALLEST * depth * taps, "panels")
    steps = (taps, outputs * taps) if turned else (depth * taps, taps)
    launch(
        "direct_panels",
        rows,
        _TALLEST * depth * taps,
        weights,
        panels,
        group,
        depth,
        outputs,
        taps,
        *steps,
        int(turned),
    )
    return panels


def _rows(most: int, images: int, height: int, parts: int) -> int:
    """How many rows of an image a band has, `most` if it may, so that the bands of all images go into equal parts."""
    bands = -(-height // max(1, most))
    if images % parts:
        bands = -(-bands // parts) * parts
    return -(-height // min(bands, height))
