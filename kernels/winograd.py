"""Winograd's F(4x4, 3x3) for 3x3 stride-1 correlation, its two adjoints included: a quarter of the multiplications (docs/winograd.md)."""

from typing import NamedTuple

from .device import launch, workspace

_PLACES = 36  # of a transformed tile
_WIDEST_PANEL = 32  # outputs that one product takes at most
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
    pads = tuple(2 - p for p in pad) if transposed else pad
    tiles, row = Tiles.over(out.shape), _row(depth)
    bands, chunks = tiles.bands(_PLACES * row), _panels(outputs, depth)
    flat = weights.reshape(-1)
    after = after or After()
    if len(bands) > 1:
        chunks = [(0, outputs)]
    for first_output, count in chunks:
        u_plane = _plane(depth, -(-count // _WIDEST_PANEL) * _WIDEST_PANEL)
        filters = workspace(x, _PLACES * u_plane, "filters")
        launch(
            "winograd_filters",
            depth,
            _PLACES * count,
            flat[first_output * steps[0] :],
            filters,
            count,
            depth,
            *steps,
            int(transposed),
            u_plane,
        )
        for first, rows in bands:
            number = rows * tiles.columns
            plane = _plane(number, row)
            patches = workspace(x, _PLACES * plane, "patches")
            if first_output == 0:
                sizes = (*x.shape[1:], *pads, tiles.rows_of_image, tiles.columns, first, rows, row, plane)
                launch("winograd_patches", rows, tiles.columns * depth * _PLACES, x, patches, *sizes)
            part = out.reshape(-1)[first_output * out.shape[2] * out.shape[3] :]
            own = [None if values is None else values[first_output:] for values in (bias, after.gain, after.shift)]
            sizes = (
                int(after.rectified),
                depth,
                count,
                *out.shape[1:],
                tiles.rows_of_image,
                tiles.columns,
                first,
                number,
                row,
                plane,
                u_plane,
            )
            launch("winograd_results", count, number * depth, patches, filters, *own, part, *sizes)


def correlate_backward_weights(x, dy, pad: tuple[int, int], dweights) -> None:
    """dweights (O, C, 3, 3) += the gradient of `correlate` with respect to its weights, from x (N, C, H, W) and dy (N, O, H', W')."""
    outputs, channels = dweights.shape[:2]
    tiles, row, d_row = Tiles.over(dy.shape), _row(channels), _row(outputs)
    for first, rows in tiles.bands(_PLACES * (row + d_row)):
        number = rows * tiles.columns
        plane, d_plane = _plane(number, row), _plane(number, d_row)
        patches, gradients = workspace(x, _PLACES * plane, "patches"), workspace(x, _PLACES * d_plane, "gradients")
        grid = (tiles.rows_of_image, tiles.columns, first, rows)
        launch(
            "winograd_patches",
            rows,
            tiles.columns * channels * _PLACES,
            x,
            patches,
            *x.shape[1:],
            *pad,
            *grid,
            row,
            plane,
        )
        launch(
            "winograd_gradients",
            rows,
            tiles.columns * outputs * _PLACES,
            dy,
            gradients,
            *dy.shape[1:],
            *grid,
            d_row,
            d_plane,
        )
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
