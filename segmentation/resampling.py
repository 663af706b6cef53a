"""Resizing as the release's inference does: MATLAB's bilinear `imresize`, which widens its kernel where it shrinks."""

from functools import lru_cache

import cv2
import numpy as np

_BLOCK = 64  # samples made by one product; few enough that a product holds few zeros


def resize(maps, height, width, antialias=True, rows=(0, None)):
    """Resize (C, h, w) maps to (C, height, width) float32, bilinear; a side that shrinks is antialiased if asked.

    `rows` (start, stop) gives only those rows of the result, which bounds the memory that a large result takes.
    """
    maps = np.ascontiguousarray(maps, np.float32)
    channels, h, w = maps.shape
    start, stop, _ = slice(*rows).indices(height)
    if h == height:
        maps = maps[:, start:stop]
    else:
        out = np.empty((channels, stop - start, w), np.float32)
        for at, taps, weights in _blocks(h, height, antialias, start, stop):
            np.matmul(weights, maps[:, taps], out=out[:, at])
        maps = out
    if w == width:
        return maps
    out = np.empty((channels * (stop - start), width), np.float32)
    for at, taps, weights in _blocks(w, width, antialias, 0, width):
        out[:, at] = maps.reshape(-1, w)[:, taps] @ weights.T
    return out.reshape(channels, -1, width)


def shrunk(image, longest):
    """An image (H, W, 3) uint8 whose longer side is at most `longest` pixels (None: as it is), areas averaged."""
    height, width = image.shape[:2]
    if longest is None or max(height, width) <= longest:
        return image
    shrink = longest / max(height, width)
    size = max(round(width * shrink), 1), max(round(height * shrink), 1)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=256)  # windows of one image often share their sizes
def _blocks(length, wanted, antialias, start, stop):
    """How samples start to stop of `wanted` arise from an axis of `length`: [(where, taps, weights)].

    where: a slice of the result, counted from `start`; taps: the slice of the axis that reaches it; weights (samples,
    taps) float32, rows that sum to 1. A sample's weights are a triangle about its place, one pixel to each side, or,
    antialiased, as wide as a pixel of the smaller axis; beyond the border the axis is mirrored, which is clamping
    where it grows.
    """
    reach = max(length / wanted, 1) if antialias else 1
    blocks = []
    for first in range(start, stop, _BLOCK):
        place = (np.arange(first, min(first + _BLOCK, stop)) + 0.5) * length / wanted - 0.5
        around = np.arange(np.floor(place[0] - reach), np.ceil(place[-1] + reach) + 1, dtype=np.int64)
        share = np.maximum(1 - abs(place[:, None] - around) / reach, 0)
        inside = around % (2 * length)
        inside = np.where(inside < length, inside, 2 * length - 1 - inside)
        weights = np.zeros((len(place), np.ptp(inside) + 1))
        np.add.at(weights.T, inside - inside.min(), share.T)
        weights /= weights.sum(axis=1, keepdims=True)
        blocks.append(
            (
                slice(first - start, first - start + len(place)),
                slice(inside.min(), inside.max() + 1),
                np.float32(weights),
            )
        )
    return blocks
