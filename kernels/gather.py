"""Deconvolution by a direct gather, for few channels a group, as in grouped bilinear upsampling (deconvolution.cu).

Each function takes weights (C, O / group, kh, kw). by_place: a thread owns places, as a GPU likes it; None: on a GPU.
"""

from .device import launch, on_gpu

_ROWS = 8  # of the output that a thread walks down
_THREADS = 256  # of a block that share rows of the input


def gather_forward(x, weights, geometry, y, by_place: bool | None = None) -> None:
    """y (N, O, H', W') = the deconvolution of x (N, C, H, W)."""
    if not _by_place(y, geometry, by_place):
        sizes = (*_sizes(x, y, geometry), *geometry.taps)
        launch("deconv_gather_forward", y.size // y.shape[3], y.shape[3], x, weights, y, *sizes)
        return
    rows = y.shape[0] * y.shape[1] * -(-y.shape[2] // _ROWS)
    sizes = (*_sizes(x, y, geometry), *geometry.taps[:6], _ROWS)
    launch("deconv_gather_forward_places", rows, y.shape[3], x, weights, y, *sizes)


def gather_backward_data(dy, weights, geometry, dx, by_place: bool | None = None) -> None:
    """dx (N, C, H, W) = the gradient with respect to x, from dy (N, O, H', W')."""
    if not _by_place(dx, geometry, by_place):
        sizes = (*_sizes(dx, dy, geometry), *geometry.taps)
        launch("deconv_gather_backward_data", dx.size // dx.shape[3], dy.shape[3], dy, weights, dx, *sizes)
        return
    width = dx.shape[3]
    together = max(1, min(_THREADS // width, dx.shape[2]))
    rows = dx.shape[0] * dx.shape[1] * -(-dx.shape[2] // together)
    sizes = (*_sizes(dx, dy, geometry), *geometry.taps[:6], together)
    launch("deconv_gather_backward_data_places", rows, together * width, dy, weights, dx, *sizes)


def gather_backward_weights(x, dy, geometry, dweights) -> None:
    """dweights += the gradient with respect to the weights."""
    sizes = (*_sizes(x, dy, geometry), *geometry.taps)
    launch("deconv_gather_backward_weights", dweights.size, dy.shape[3], x, dy, dweights, *sizes)


def _by_place(like, geometry, asked: bool | None) -> bool:
    return geometry.dilation == (1, 1) and (on_gpu(like) if asked is None else asked)


def _sizes(x, y, geometry) -> tuple[int, ...]:
    """Of the input x and the output y, as the kernels take them."""
    group = geometry.group
    return (x.shape[0], group, x.shape[1] // group, y.shape[1] // group, *x.shape[2:], *y.shape[2:])
