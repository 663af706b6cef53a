"""The launches of im2col and its adjoint, in the shape of the device."""

import math

from .device import launch, on_gpu

_RUN = 1024  # places that a block of a GPU takes at a time


def to_columns(x, columns, sizes: tuple[int, ...], taps: tuple[int, ...], by_place: bool | None = None) -> None:
    """Columns of x as `im2col` in im2col.cu has them.

    sizes: (images, channels, height, width, first, rows, out_width); taps: a Geometry's. by_place: let a thread own a place and walk the
    taps, as a GPU does by itself, instead of blocks the taps; results are the same.
    """
    images, channels, _, _, _, rows, out_width = sizes
    if on_gpu(x) if by_place is None else by_place:
        _launch_places("im2col_places", images * channels, rows * out_width, x, columns, *sizes, *taps)
    else:
        launch("im2col", channels * taps[0] * taps[1] * images * rows, out_width, x, columns, *sizes, *taps)


def add_columns(columns, x, sizes: tuple[int, ...], taps: tuple[int, ...], by_place: bool | None = None) -> None:
    """x += the columns that came from it; as `to_columns`."""
    images, channels, height, width, _, rows, out_width = sizes
    if on_gpu(x) if by_place is None else by_place:
        (every_h, back_h), (every_w, back_w) = (_apart(taps[2 + axis], taps[6 + axis]) for axis in (0, 1))
        apart = (every_h, every_w, back_h, back_w)
        _launch_places("col2im_places", images * channels, height * width, columns, x, *sizes, *taps, *apart)
    else:
        launch("col2im", channels * taps[0] * taps[1] * images * rows, out_width, columns, x, *sizes, *taps)


def _apart(stride: int, dilation: int) -> tuple[int, int]:
    """How many taps lie between two that reach the same place, and how many windows."""
    common = math.gcd(stride, dilation)
    return stride // common, dilation // common


def _launch_places(name: str, planes: int, places: int, *arguments) -> None:
    launch(name, planes * -(-places // _RUN), min(_RUN, places), *arguments, _RUN)
