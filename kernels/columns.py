"""The columns of a convolution as an array of their own."""

from .convolution import Geometry
from .device import launch


def im2col(x, geometry: Geometry, out) -> None:
    """out (N, C * kh * kw, h, w) = what each tap of the window sees of x (N, C, H, W) at each place."""
    _each_image("im2col", x, out, x, out, geometry)


def col2im(columns, geometry: Geometry, out) -> None:
    """out (N, C, H, W) = the adjoint of `im2col` of columns (N, C * kh * kw, h, w): every value where it came from, summed."""
    out[...] = 0
    _each_image("col2im", columns, out, out, columns, geometry)


def _each_image(kernel: str, source, target, x, columns, geometry: Geometry) -> None:
    channels, height, width = x.shape[1:]
    rows, out_width = columns.shape[2:]
    sizes = (1, channels, height, width, 0, rows, out_width)
    for one, other in zip(source, target, strict=True):
        launch(kernel, columns.shape[1] * rows, out_width, one, other, *sizes, *geometry.taps)
