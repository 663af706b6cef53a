"""The kernels of the SSD detectors' layers called on tiny shapes; a part of kernel_calls.py."""

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


CALLS = {
    "permute": _permute,
    "products_of_places": _l2_normalize,
    "products_of_images": _l2_normalize,
    "l2_normalize_forward": _l2_normalize,
    "l2_normalize_backward": _l2_normalize,
    "l2_normalize_scale_backward": _l2_normalize,
}
