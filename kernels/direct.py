"""Convolution on a CPU as a product that needs no columns in memory (direct.cu), at stride 1 its adjoint as well."""

from . import threads
from .device import launch, workspace
from .winograd import After

_SEEN_BYTES = 4 << 20  # what the windows of a band see; shorter bands lay out more rows twice
_LINE = 16  # values of a cache line
_SPARE = 32  # values behind a plane that whole vectors reach
_TALLEST = 8  # outputs of a panel, at most
_PLACES = 128  # of a result: fewer do not repay that the weights are put in order
_OUTPUTS = 4  # of a group: fewer leave most of a panel empty


def pays(geometry, out, transposed: bool) -> bool:
    """Whether maps `out` (N, O, H, W) are computed faster this way than from columns: many places that overlapping windows see.

    transposed: they are those of the adjoint
    """
    if geometry.dilation != (1, 1) or out[2] * out[3] < _PLACES or out[1] // geometry.group < _OUTPUTS:
        return False
    (kernel_h, kernel_w), (stride_h, stride_w), (pad_h, pad_w) = geometry.kernel, geometry.stride, geometry.pad
    if transposed and ((stride_h, stride_w) != (1, 1) or pad_h >= kernel_h or pad_w >= kernel_w):
        return False
    return kernel_h * kernel_w > stride_h * stride_w


def correlate(x, weights, geometry, out, bias=None, after: After | None = None) -> None:
    """out (N, O, H', W') = x (N, C, H, W) correlated with weights (O, C / group, kh, kw), plus bias (O,) if there is one, and what comes `after`."""
    _correlate(x, weights, geometry, out, bias, after, turned=False)


def correlate_backward_data(dy, weights, geometry, dx, bias=None, after: After | None = None) -> None:
    """dx (N, C, H, W) = the gradient of `correlate` at stride 1 from dy (N, O, H', W'), likewise: windows that are turned by half a turn."""
    back = geometry._replace(pad=tuple(k - 1 - p for k, p in zip(geometry.kernel, geometry.pad, strict=True)))
    _correlate(dy, weights, back, dx, bias, after, turned=True)


def _correlate(x, weights, geometry, out, bias, after: After | None, turned: bool) -> None:
    (images, channels, *size), (_, outputs, height, width) = x.shape, out.shape
    (kernel_h, kernel_w), stride_h, group = geometry.kernel, geometry.stride[0], geometry.group
    depth, taps = channels // group, kernel_h * kernel_w
    panels = _panels(weights, group, depth, outputs // group, taps, turned)
    after = after or After()
    finish = (bias, after.gain, after.shift, int(after.rectified))
    planes, reach = channels * kernel_w * min(stride_h, kernel_h), (kernel_h - 1) // stride_h
    parts = threads.count()
    rows = _rows(_SEEN_BYTES // (x.itemsize * planes * width) - reach, images, height, parts)
    # an odd number of lines, so that planes do not meet in one cache set
    plane = (((rows + reach) * width + _SPARE) // _LINE | 1) * _LINE
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
