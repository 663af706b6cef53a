"""Resizing as the release's inference does: MATLAB's bilinear `imresize`, which widens its kernel where it shrinks."""

import cv2
import numpy as np

from .. import kernels


def for_kernels(maps):
    """NumPy's maps as contiguous float32; CuPy's as they are."""
    return np.ascontiguousarray(maps, np.float32) if isinstance(maps, np.ndarray) else maps


def resize(maps, height, width, antialias=True, rows=(0, None)):
    """Resize (C, h, w) maps to (C, height, width), bilinear; a side that shrinks is antialiased if asked.

    maps: NumPy's, for a result in float32, or CuPy's, for one on the same GPU. `rows` (start, stop) gives only those rows
    of the result, which bounds the memory that a large result takes.
    """
    maps = for_kernels(maps)
    start, stop, _ = slice(*rows).indices(height)
    if maps.shape[1:] == (height, width):
        return maps[:, start:stop]
    out = kernels.array_module(maps).zeros((len(maps), max(stop - start, 0), width), maps.dtype)
    taps = kernels.map_taps([(0, -start, width - 1, height - 1 - start)], maps.shape[1:], out.shape[1:], out, antialias)
    kernels.merge_maps(maps.reshape(1, *maps.shape), taps, out)
    return out


def shrunk_size(height, width, longest):
    """(height, width) of an image when its longer side is at most `longest` pixels (None: as it is)."""
    if longest is None or max(height, width) <= longest:
        return height, width
    shrink = longest / max(height, width)
    return max(round(height * shrink), 1), max(round(width * shrink), 1)


def shrunk(image, longest):
    """An image (H, W, 3) uint8 of its shrunk_size, areas averaged; itself where it has that size."""
    size = shrunk_size(*image.shape[:2], longest)
    return image if size == image.shape[:2] else cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
