"""Convolution of few channels a group, as a depthwise one and grouped bilinear upsampling have, without columns for a product.

Each function takes weights (O, C / group, kh, kw) as `convolution.correlate` does; a deconvolution exchanges the first two. `order` is how
a kernel goes through the maps, of which results are the same but for rounding; None is the best for the device and the window:
"bands" of windows (convolution_bands.cu) suit a CPU, "places" that a thread owns a GPU, "rows" (both deconvolution.cu) serve what neither can.
"""

from . import bands
from .device import launch, on_gpu

_ROWS = 8  # of the output that a thread walks down
_THREADS = 256  # of a block that share rows of the input


def correlate(x, weights, geometry, y, order: str | None = None) -> None:
    """y (N, O, H', W') = x (N, C, H, W) correlated with the weights."""
    sizes, taps = (geometry.kernel, geometry.stride, geometry.dilation), geometry.taps
    band = bands.of_windows(y.shape[2:], *sizes, y.itemsize)
    order = _order(order, y, geometry, band)
    height, width = y.shape[2:]
    if order == "bands":
        launch(
            "correlate_bands",
            y.size // width,
            width * _taps(geometry),
            x,
            weights,
            y,
            *_sizes(x, y, geometry),
            *taps,
            *band,
        )
    elif order == "rows":
        sizes = _sizes(y, x, geometry)
        launch("deconv_gather_backward_data", y.size // width, x.shape[3], x, weights, y, *sizes, *taps)
    else:
        together = max(1, min(_THREADS // width, height))
        rows = y.shape[0] * y.shape[1] * -(-height // together)
        sizes = (*_sizes(y, x, geometry), *taps[:6], together)
        launch("deconv_gather_backward_data_places", rows, together * width, x, weights, y, *sizes)


def correlate_backward_data(dy, weights, geometry, dx, order: str | None = None) -> None:
    """dx (N, C, H, W) = the gradient of `correlate` with respect to x, from dy (N, O, H', W')."""
    taps = geometry.taps
    band = bands.of_places(dx.shape[2:], geometry.kernel, geometry.stride, geometry.pad, geometry.dilation, dx.itemsize)
    order = _order(order, dx, geometry, band)
    height, width = dx.shape[2:]
    if order == "bands":
        sizes = (*_sizes(dx, dy, geometry), *taps, *band)
        launch("correlate_bands_backward_data", dx.size // width, width * _taps(geometry), dy, weights, dx, *sizes)
    elif order == "rows":
        launch("deconv_gather_forward", dx.size // width, width, dy, weights, dx, *_sizes(dy, dx, geometry), *taps)
    else:
        rows = dx.shape[0] * dx.shape[1] * -(-height // _ROWS)
        sizes = (*_sizes(dy, dx, geometry), *taps[:6], _ROWS)
        launch("deconv_gather_forward_places", rows, width, dy, weights, dx, *sizes)


def correlate_backward_weights(x, dy, geometry, dweights, order: str | None = None) -> None:
    """dweights += the gradient of `correlate` with respect to the weights."""
    band = bands.of_windows(dy.shape[2:], geometry.kernel, geometry.stride, geometry.dilation, dy.itemsize)
    if geometry.kernel[0] * geometry.kernel[1] > bands.MOST_TAPS:
        band = None
    if _order(order, dy, geometry, band) == "bands":
        sizes = (*_sizes(x, dy, geometry), *geometry.taps, *band)
        rows = dweights.shape[0] * dweights.shape[1]
        width = dy.size // dy.shape[1] * _taps(geometry)
        launch("correlate_bands_backward_weights", rows, width, x, dy, dweights, *sizes)
    else:
        sizes = (*_sizes(dy, x, geometry), *geometry.taps)
        launch("deconv_gather_backward_weights", dweights.size, dy.shape[3], dy, x, dweights, *sizes)


def _order(asked: str | None, like, geometry, band) -> str:
    """How to go through the maps; `band` is None where there are no bands."""
    if asked is None:
        asked = "places" if on_gpu(like) else "bands"
        if (geometry.dilation != (1, 1)) if asked == "places" else band is None:
            return "rows"
    return asked


def _taps(geometry) -> int:
    """How much more than to move it there is to do for a result: so many bands are worth a second thread much earlier."""
    return geometry.kernel[0] * geometry.kernel[1]


def _sizes(x, y, geometry) -> tuple[int, ...]:
    """Of maps x and y, as the kernels take them."""
    group = geometry.group
    return (x.shape[0], group, x.shape[1] // group, y.shape[1] // group, *x.shape[2:], *y.shape[2:])
