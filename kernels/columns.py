"""The columns of a convolution as an array of their own."""

from .geometry import Geometry
from .taps import add_columns, to_columns


def im2col(x, geometry: Geometry, out) -> None:
    """out (N, C * kh * kw, h, w) = what each tap of the window sees of x (N, C, H, W) at each place."""
    for one, its_columns in zip(x, out, strict=True):
        to_columns(one, its_columns, _sizes(x, out), geometry.taps)


def col2im(columns, geometry: Geometry, out) -> None:
    """out (N, C, H, W) = the adjoint of `im2col` of columns (N, C * kh * kw, h, w): every value where it came from, summed."""
    out[...] = 0
    for one, its_columns in zip(out, columns, strict=True):
        add_columns(its_columns, one, _sizes(out, columns), geometry.taps)


def _sizes(x, columns) -> tuple[int, ...]:
    """Of one image."""
    return (1, *x.shape[1:], 0, *columns.shape[2:])
