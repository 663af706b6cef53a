"""Winograd's tiles on a GPU: 36 matrix products by the library, for some images at once (docs/winograd.md). As kernels/winograd.py."""

from collections.abc import Iterator
from typing import NamedTuple

from .device import launch, matrix_product, workspace
from .winograd import After

_PLACES = 36  # of a transformed tile
_PIECE = 256  # tiles, or filters, of a row of blocks
_FEW_FILTERS = 128 * 128  # whose products, one a place, keep too few processors busy
_BYTES = 256 << 20  # of transformed patches and results at once
_ALIGNED = 4  # values that rows of tiles are rounded up to, so that the library can read 16 bytes at a time


class _Tiles(NamedTuple):
    """The 4x4 tiles over some images of maps of one size: down and across an image, and of all of them."""

    down: int
    across: int
    number: int

    @classmethod
    def over(cls, images: int, height: int, width: int) -> "_Tiles":
        """Of so many maps."""
        down, across = -(-height // 4), -(-width // 4)
        return cls(down, across, images * down * across)

    @property
    def row(self) -> int:
        """Values from one row of tiles to the next."""
        return -(-self.number // _ALIGNED) * _ALIGNED

    def transformed(self, kernel: str, images, groups: int, purpose: str, *pad: int):
        """What a kernel makes of images (N, C, H, W), N / groups of them under these tiles: (36 * groups, C, tiles) in a workspace."""
        channels = images.shape[1]
        values = workspace(images, _PLACES * groups * channels * self.row, purpose)
        plane, at_once = groups * channels * self.row, images.shape[0] // groups
        for group in range(groups):
            part = images[group * at_once : (group + 1) * at_once]
            self.launch(
                kernel, channels, part, values[group * channels * self.row :], *images.shape[1:], *pad, plane=plane
            )
        return values.reshape(_PLACES * groups, channels, self.row)[:, :, : self.number]

    def launch(self, kernel: str, planes: int, *arguments, plane: int) -> None:
        """Run a kernel over the tiles of so many planes."""
        rows = planes * -(-self.number // _PIECE)
        launch(kernel, rows, min(_PIECE, self.number), *arguments, *self, self.row, plane)


def _parts(out, planes: int) -> Iterator[slice]:
    """Parts of a batch of results (N, O, H, W) whose transforms, of so many planes, stay within the bytes."""
    images, _, height, width = out.shape
    at_once = max(1, _BYTES // (_PLACES * planes * _Tiles.over(1, height, width).row * out.itemsize))
    for first in range(0, images, at_once):
        yield slice(first, min(first + at_once, images))


def _filters(weights, rotated: bool):
    """The transformed filters (36, A, B) of weights (A, B, 3, 3)."""
    number = weights.shape[0] * weights.shape[1]
    filters = workspace(weights, _PLACES * number, "filters")
    launch("winograd_batched_filters", -(-number // _PIECE), _PIECE, weights, filters, number, int(rotated))
    return filters.reshape(_PLACES, *weights.shape[:2])


def correlate(
    x, weights, pad: tuple[int, int], out, bias=None, transposed: bool = False, after: After | None = None
) -> None:
    """As `winograd.correlate`."""
    outputs, after = out.shape[1], after or After()
    pads = tuple(2 - p for p in pad) if transposed else pad
    filters = _filters(weights, rotated=transposed)
    if transposed:
        filters = filters.transpose(0, 2, 1)
    for part in _parts(out, x.shape[1] + outputs):
        tiles, target = _Tiles.over(part.stop - part.start, *out.shape[2:]), out[part]
        patches = tiles.transformed("winograd_batched_patches", x[part], 1, "columns", *pads)
        plane = outputs * tiles.row
        results = workspace(out, _PLACES * plane, "rows").reshape(_PLACES, outputs, tiles.row)
        matrix_product(filters, patches, results[:, :, : tiles.number])
        own, sizes = (bias, after.gain, after.shift), (int(after.rectified), *out.shape[1:])
        tiles.launch("winograd_batched_results", outputs, results, *own, target, *sizes, plane=plane)


def correlate_backward_weights(x, dy, pad: tuple[int, int], dweights) -> None:
    """As `winograd.correlate_backward_weights`."""
    number = dweights.shape[0] * dweights.shape[1]
    for part in _parts(dy, x.shape[1] + dy.shape[1]):
        images = part.stop - part.start
        groups = images if number <= _FEW_FILTERS else 1
        tiles = _Tiles.over(images // groups, *dy.shape[2:])
        patches = tiles.transformed("winograd_batched_patches", x[part], groups, "columns", *pad)
        gradients = tiles.transformed("winograd_batched_gradients", dy[part], groups, "rows")
        sums = workspace(x, _PLACES * groups * number, "filters").reshape(_PLACES * groups, *dweights.shape[:2])
        matrix_product(gradients, patches.transpose(0, 2, 1), sums)
        launch("winograd_batched_weights", -(-number // _PIECE), _PIECE, sums, dweights, number, groups)
