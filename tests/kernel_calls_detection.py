"""The kernels of the detectors' layers, SSD's and Fast R-CNN's, called on tiny shapes; a part of kernel_calls.py."""

import numpy as np
from arrays import empty, numbers, put

from deconvnet.core import kernels


def _numbers(dtype, *shape, seed=0):
    return put(numbers(*shape, seed=seed, dtype=dtype))


def _permute(dtype):
    """More than a block takes of planes, bands and rows; rows that stay rows; five axes."""
    results = []
    for shape, order in [((2, 18, 259), (0, 2, 1)), ((18, 2, 70), (1, 0, 2)), ((2, 3, 2, 2, 3), (4, 2, 0, 3, 1))]:
        x = _numbers(dtype, *shape)
        y = empty(*(shape[axis] for axis in order), dtype=dtype)
        kernels.permute(x, kernels.permutation(shape, order, x), y)
        results.append(y)
    return results


def _l2_normalize(dtype):
    """Over images and places, more of these than one run, with one scale and with one each."""
    results = []
    for whole in (True, False):
        for scales in (1, 3):
            x, scale = _numbers(dtype, 2, 3, 263), _numbers(dtype, scales, seed=1)
            squares, dscale = empty(*((2,) if whole else (2, 263)), dtype=dtype), _numbers(dtype, scales, seed=2)
            y, dx = empty(*x.shape, dtype=dtype), empty(*x.shape, dtype=dtype)
            kernels.l2_normalize(x, scale, 0.5, whole, squares, y)
            dy = _numbers(dtype, *x.shape, seed=3)
            kernels.l2_normalize_backward(dy, x, squares, scale, 0.5, whole, dx, dscale)
            results += [squares, y, dx, dscale]
    return results


def _region_pool(dtype):
    """More cells than a block of the sanitizers has threads, cells that share places, regions beyond the map and outside."""
    x = _numbers(dtype, 2, 3, 9, 13)
    boxes = [(1, 0, 0, 25, 17), (0, 3, 4, 9, 6), (0, -9, 8, 14, 40), (1, 90, 90, 99, 99), (0, 20, 2, 4, 1)]
    regions = put(np.array(boxes, dtype))
    y, places, dx = empty(5, 3, 6, 7, dtype=dtype), empty(5, 3, 6, 7, dtype=dtype), empty(2, 3, 9, 13, dtype=dtype)
    kernels.region_pool(x, regions, 0.5, y, places)
    kernels.region_pool_backward(_numbers(dtype, 5, 3, 6, 7, seed=1), regions, places, dx)
    return [y, places, dx]


def _region_means(dtype):
    """The same regions, on 25 maps for each of two outputs."""
    x = _numbers(dtype, 2, 2 * 25, 9, 13)
    boxes = [(1, 0, 0, 25, 17), (0, 3, 4, 9, 6), (0, -9, 8, 14, 40), (1, 90, 90, 99, 99), (0, 20, 2, 4, 1)]
    regions = put(np.array(boxes, dtype))
    y, dx = empty(5, 2, 5, 5, dtype=dtype), empty(2, 50, 9, 13, dtype=dtype)
    kernels.region_means(x, regions, 0.5, y)
    kernels.region_means_backward(_numbers(dtype, 5, 2, 5, 5, seed=1), regions, 0.5, dx)
    return [y, dx]


def _smooth_l1(dtype):
    """More than one run, with and without weights."""
    results = []
    for weights in (0, 2):
        a, b, *more = (_numbers(dtype, 70, 61, seed=seed) for seed in range(2 + weights))
        slope = empty(70, 61, dtype=dtype)
        results += [np.array(kernels.smooth_l1(a, b, 1.5, slope, *more)), slope]
    return results


CALLS = {
    "region_pool_forward": _region_pool,
    "region_pool_backward": _region_pool,
    "region_means_forward": _region_means,
    "region_means_backward": _region_means,
    "smooth_l1_forward": _smooth_l1,
    "permute": _permute,
    "products_of_places": _l2_normalize,
    "products_of_images": _l2_normalize,
    "l2_normalize_forward": _l2_normalize,
    "l2_normalize_backward": _l2_normalize,
    "l2_normalize_scale_backward": _l2_normalize,
}
