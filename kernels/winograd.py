"""Winograd's F(4x4, 3x3) for 3x3 stride-1 correlation, its two adjoints included: a quarter of the multiplications (docs/winograd.md)."""

from typing import NamedTuple

from . import threads
from .device import launch, workspace

_PLACES = 36  # of a transformed tile
_WIDEST_PANEL = 32  # outputs that one product takes at most
_BLOCK = 16  # tiles whose products a thread keeps at a time, or more (winograd.cu)
_FEW_TILES = 64  # the same, where it transforms filters for all tiles there are
_LINE = 16  # values that rows of channels are rounded up to
_BAND_VALUES = 2 << 20  # transformed patches (and gradients) of a band
_FILTER_VALUES = 2 << 20  # transformed filters that are made at once


class After(NamedTuple):
    """What becomes of each result of a convolution before it is written: times gain (O,) plus shift (O,) if there is one, then, if
    rectified, not below zero. Batch norm in inference and ReLU cost no pass over memory this way.

    dgain, dshift: where the gradients of gain and shift are added to, in a backward pass.
    """

    gain: object = None
    shift: object = None
    rectified: bool = False
    dgain: object = None
    dshift: object = None


class Tiles(NamedTuple):
    """The 4x4 tiles that cover the results (N, C, H, W) of a correlation, counted along tile rows and through the images."""

    rows_of_image: int
    columns: int
    rows: int

    @classmethod
    def over(cls, shape) -> "Tiles":
        """Of results of that shape."""
        rows = -(-shape[2] // 4)
        return cls(rows, -(-shape[3] // 4), shape[0] * rows)

    def bands(self, values_a_tile: int) -> list[tuple[int, int]]:
        """(first tile row, number of tile rows) of parts that stay in the cache with so many values a tile, all about as large."""
        most = max(1, _BAND_VALUES // (values_a_tile * self.columns))
        count = -(-self.rows // most)
        cuts = [self.rows * number // count for number in range(count + 1)]
        return [(first, end - first) for first, end in zip(cuts, cuts[1:], strict=False)]


def _row(channels: int) -> int:
    """Values from one tile's channels to the next: an odd number of cache lines, so that tiles do not meet in one cache set."""
    return (-(-channels // _WIDEST_PANEL) * 2 | 1) * _LINE


def _plane(tiles: int, row: int) -> int:
    """Values from one place of a transformed tile to the next, likewise odd."""
    return (tiles * row // _LINE | 1) * _LINE


def _panels(outputs: int, depth: int) -> list[tuple[int, int]]:
    """(first, number) of the outputs whose filters are transformed at once."""
    most = max(1, _FILTER_VALUES // (_PLACES * depth * _WIDEST_PANEL)) * _WIDEST_PANEL
    return [(first, min(most, outputs - first)) for first in range(0, outputs, most)]


def correlate(
    x, weights, pad: tuple[int, int], out, bias=None, transposed: bool = False, after: After | None = None
) -> None:
    """out (N, O, H', W') = x (N, C, H, W) correlated with weights (O, C, 3, 3), plus bias (O,) if there is one, and what comes `after`.

    transposed: the weights are (C, O, 3, 3) and turned by half a turn, as the gradient of a correlation or a deconvolution takes
    them; `pad` is that of the correlation whose adjoint is meant. Both pads lie between 0 and 2.
    """
    outputs, depth = out.shape[1], x.shape[1]
    steps = (9, outputs * 9) if transposed else (depth * 9, 9)
    filters = (weights.reshape(-1), *steps, int(transposed))
    pads = tuple(2 - p for p in pad) if transposed else pad
    after = after or After()
    finish = (bias, after.gain, after.shift, int(after.rectified))
    tiles = Tiles.over(out.shape)
    bands = tiles.bands(_PLACES * _row(depth))
    if len(bands) == 1 and _few(tiles, outputs):
        _correlate_few_tiles(x, filters, pads, out, finish, tiles)
    else:
        _correlate_bands(x, filters, pads, out, finish, tiles, bands)


def _few(tiles: Tiles, outputs: int) -> bool:
    """Whether results of so few tiles are made at once: a panel of outputs for each thread, or no more tiles than it takes in any case."""
    number = tiles.rows * tiles.columns
    return number <= _BLOCK or number <= _FEW_TILES and -(-outputs // _WIDEST_PANEL) >= threads.count()


def _patches(x, pads, tiles: Tiles, first: int, rows: int):
    """(patches, values from one tile's channels to the next, and from one place to the next) of a band of tile rows of x."""
    depth = x.shape[1]
    row = _row(depth)
    plane = _plane(rows * tiles.columns, row)
    patches = workspace(x, _PLACES * plane, "patches")
    sizes = (*x.shape[1:], *pads, tiles.rows_of_image, tiles.columns, first, rows, row, plane)
    launch("winograd_patches", rows, tiles.columns * depth * _PLACES, x, patches, *sizes)
    return patches, row, plane


def _correlate_few_tiles(x, filters, pads, out, finish, tiles: Tiles) -> None:
    """`correlate` where the results are few tiles: the filters' transforms stay with the thread that makes them."""
    (weights, *order), (*after, rectified) = filters, finish
    patches, row, plane = _patches(x, pads, tiles, 0, tiles.rows)
    (depth, *_), number = x.shape[1:], tiles.rows * tiles.columns
    sizes = (rectified, depth, *out.shape[1:], tiles.rows_of_image, tiles.columns, number, row, plane, *order)
    panels = -(-out.shape[1] // _WIDEST_PANEL)
    launch("winograd_few_tiles", panels, number * depth * _PLACES, patches, weights, *after, out, *sizes)


def _correlate_bands(x, filters, pads, out, finish, tiles: Tiles, bands) -> None:
    """`correlate` of any size, in bands of tile rows, or where there is one band, in parts of the outputs: what stays in the cache."""
    (weights, o_step, *order), (*after, rectified) = filters, finish
    outputs, depth = out.shape[1], x.shape[1]
    parts = [(0, outputs)] if len(bands) > 1 else _panels(outputs, depth)
    for first_output, count in parts:
        u_plane = _plane(depth, -(-count // _WIDEST_PANEL) * _WIDEST_PANEL)
        u = workspace(x, _PLACES * u_plane, "filters")
        own = weights[first_output * o_step :]
        launch("winograd_filters", depth, _PLACES * count, own, u, count, depth, o_step, *order, u_plane)
        for first, rows in bands:
            if first_output == 0:
                patches, row, plane = _patches(x, pads, tiles, first, rows)
            part = out.reshape(-1)[first_output * out.shape[2] * out.shape[3] :]
            own_after = [None if values is None else values[first_output:] for values in after]
            number, grid = rows * tiles.columns, (tiles.rows_of_image, tiles.columns, first)
            sizes = (rectified, depth, count, *out.shape[1:], *grid, number, row, plane, u_plane)
            launch("winograd_results", count, number * depth, patches, u, *own_after, part, *sizes)


def correlate_backward_weights(x, dy, pad: tuple[int, int], dweights) -> None:
    """dweights (O, C, 3, 3) += the gradient of `correlate` with respect to its weights, from x (N, C, H, W) and dy (N, O, H', W')."""
    outputs, channels = dweights.shape[:2]
    tiles, row, d_row = Tiles.over(dy.shape), _row(channels), _row(outputs)
    for first, rows in tiles.bands(_PLACES * (row + d_row)):
        number = rows * tiles.columns
        patches, _, plane = _patches(x, pad, tiles, first, rows)
        d_plane = _plane(number, d_row)
        gradients = workspace(x, _PLACES * d_plane, "gradients")
        sizes = (*dy.shape[1:], tiles.rows_of_image, tiles.columns, first, rows, d_row, d_plane)
        launch("winograd_gradients", rows, tiles.columns * outputs * _PLACES, dy, gradients, *sizes)
        for first_output, count in _panels(outputs, channels):
            q_plane = _plane(count, row)
            sums = workspace(x, _PLACES * q_plane, "sums")
            sizes = (count, channels, number, d_row, d_plane, row, plane, q_plane)
            launch("winograd_sums", _PLACES * count, number * channels, gradients[first_output:], patches, sums, *sizes)
            launch(
                "winograd_weights",
                count,
                channels * _PLACES,
                sums,
                dweights[first_output:],
                count,
                channels,
                row,
                q_plane,
            )
