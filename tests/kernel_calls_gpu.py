"""The kernels that have a shape of their own for a GPU, called on tiny shapes on whatever device the mode names; a part of kernel_calls.py."""

import contextlib
import itertools

import numpy as np
from arrays import empty, host, numbers, put, spaced

from deconvnet.core import kernels
from deconvnet.core.kernels import pieces, pooling, taps, update

WIDE = 70  # more values a row than the largest block of the sanitizer builds has threads
# shapes whose channels are single values, several planes together, and planes in parts with a shorter last one
SHAPES = [(5, 3, 1, 1), (3, 5, 4, 5), (2, 3, 5, 29), (1, 2, 9, 15)]


def _numbers(dtype, *shape, seed=0):
    return put(numbers(*shape, seed=seed, dtype=dtype))


@contextlib.contextmanager
def small_pieces(values: int = 64):
    """In its context a piece has so few values that tiny shapes have several."""
    plain, pieces._PIECE = pieces._PIECE, values
    try:
        yield
    finally:
        pieces._PIECE = plain


def _batch_norm_in_pieces(dtype):
    results = []
    with small_pieces():
        for shape, rectified in itertools.product(SHAPES, (False, True)):
            c = shape[1]
            x, scale, shift = _numbers(dtype, *shape), _numbers(dtype, c, seed=1), _numbers(dtype, c, seed=2)
            kept, mean, variance = empty(*shape, dtype=dtype), empty(c, dtype=dtype), empty(c, dtype=dtype)
            kernels.batch_norm_forward(x, scale, shift, 1e-9, x, mean, variance, kept, rectified, in_pieces=True)
            dy, *gradients = (_numbers(dtype, *size, seed=3) for size in (shape, (c,), (c,)))
            given = (dy, kept, scale, shift, mean, variance, 1e-9)
            kernels.batch_norm_backward(*given, dy, *gradients, rectified, in_pieces=True)
            results += [x, kept, mean, variance, dy, *gradients]
    return results


def _products_in_pieces(dtype):
    results = []
    with small_pieces():
        for shape in SHAPES:
            c = shape[1]
            x, dy, scale = _numbers(dtype, *shape), _numbers(dtype, *shape, seed=1), _numbers(dtype, c, seed=2)
            dscale, dshift, dbias = (_numbers(dtype, c, seed=seed) for seed in (3, 4, 5))
            kernels.bias_backward(dy, dbias, in_pieces=True)
            kernels.channel_affine_backward(dy, x, scale, dy, dscale, dshift, in_pieces=True)
            results += [dy, dscale, dshift, dbias]
    return results


def _updates_in_one(dtype):
    """Parameters of less than a part, of exactly one, and of several."""
    plain, update._PART = update._PART, 40
    try:
        rows = [tuple(_numbers(dtype, size, seed=seed) for seed in range(3)) for size in (1, 40, 7, 139)]
        table, gradients, sums = kernels.ArrayTable(), kernels.ArrayTable(), []
        for l1 in (False, True):
            parameters = [(*row, 1.0 + number, 0.5 * number) for number, row in enumerate(rows)]
            rule = {"scale": 0.5, "rate": 0.1, "momentum": 0.9, "decay": 0.01, "l1": l1}
            kernels.sgd_update_all(parameters, table, **rule, in_one=True)
            sums.append(kernels.sum_of_squares_all([row[1] for row in rows], gradients, in_one=True))
        kernels.clear_all([rows[0][1], rows[3][1]], gradients, in_one=True)
        return [*(array for row in rows for array in row), put(np.array(sums))]
    finally:
        update._PART = plain


def _rules_in_one(dtype):
    """Every other rule over parameters of less than a part, of exactly one, and of several, twice."""
    results, plain, update._PART = [], update._PART, 40
    numbers_of = {"momentum": 0.9, "keep": 0.8, "first": 0.9, "second": 0.99, "delta": 1e-3}
    try:
        for rule, names in kernels.RULES.items():
            kept = 2 if rule in ("adadelta", "adam") else 1
            histories = [[put(np.zeros(size, dtype)) for _ in range(kept)] for size in (1, 40, 7, 139)]
            rows = [(*(_numbers(dtype, h[0].size, seed=seed) for seed in range(2)), *h) for h in histories]
            table, own = kernels.ArrayTable(), {name: numbers_of[name] for name in names}
            for l1 in (False, True):
                parameters = [(*row, 1.0 + number, 0.5 * number) for number, row in enumerate(rows)]
                rates = {"scale": 0.5, "rate": 0.1, "decay": 0.01, "l1": l1}
                kernels.rule_update_all(rule, parameters, table, **rates, **own, in_one=True)
            results += [array for row in rows for array in row]
        return results
    finally:
        update._PART = plain


def _unpool_in_cells(dtype):
    """Cells of 2 x 2 written two values at once, and of other sizes one by one; two switches change their cells."""
    results = []
    plain, pooling._RUN = pooling._RUN, 40
    try:
        for sizes, size in [(((2, 2), (2, 2), (0, 0)), (6, 54)), (((2, 1), (3, 2), (1, 0)), (7, 11))]:
            window = kernels.Window(*sizes)
            shape = (1, 2, *window.output_size(*size))
            y, switches = empty(*shape, dtype=dtype), empty(*shape, dtype=dtype)
            kernels.max_pool(put(spaced(1, 2, *size, dtype=dtype)), window, y, switches, order="runs")
            back, up = empty(1, 2, *size, dtype=dtype), empty(1, 2, *size, dtype=dtype)
            kernels.max_pool_backward(y, switches, window, back, in_cells=True)
            changed = host(switches).copy()
            changed[0, 1, 0, 0], changed[0, 1, 1, 1] = changed[0, 1, 1, 1], changed[0, 1, 0, 0]
            kernels.unpool(y, put(changed), up, distinct=True, window=window, in_cells=True)
            results += [y, switches, back, up]
        return results
    finally:
        pooling._RUN = plain


def _columns(dtype):
    """In either shape: whole images, and a band of output rows of one; with strides, dilation and padding."""
    results = []
    plain, taps._RUN = taps._RUN, 40
    try:
        for by_place in (False, True):
            for sizes, window in [
                ((2, 3, 5, 14, 0, 5, 14), (3, 3, 1, 1, 1, 1, 1, 1)),
                ((1, 2, 9, 8, 1, 2, 5), (2, 3, 2, 2, 1, 2, 3, 1)),
            ]:
                images, channels, height, width, _, rows, out_width = sizes
                x = _numbers(dtype, images, channels, height, width)
                columns = empty(channels * window[0] * window[1], images, rows, out_width, dtype=dtype)
                taps.to_columns(x, columns, sizes, window, by_place=by_place)
                taps.add_columns(columns, x, sizes, window, by_place=by_place)
                results += [columns, x]
        return results
    finally:
        taps._RUN = plain


def _resampled(dtype):
    """Boxes that grow and shrink, over borders and over one another; in one the places move from thread to thread."""
    boxes = [(-3, -1, 60, 4), (0, 0, WIDE - 1, 3), (5, 1, 5, 1), (2, -9, 80, 12), (-4, -4, -1, -1), (40, 0, 49, 2)]
    image = put(np.random.default_rng(0).integers(0, 256, (4, WIDE, 3), dtype=np.uint8))
    results = []
    for size, antialias in [((5, 8), True), ((5, 8), False), ((3, WIDE), True)]:
        x = empty(len(boxes), 3, *size, dtype=dtype)
        taps = kernels.window_taps(boxes, size, x, antialias)
        kernels.resize_windows(image, taps, put(np.array([3, 2, 1], dtype)), 1 / 64, x)
        taps = kernels.map_taps(boxes, size, (4, WIDE), x, antialias)
        for greatest in (False, True):
            canvas = put(np.zeros((3, 4, WIDE), dtype))
            kernels.merge_maps(x, taps, canvas, greatest)
            results.append(canvas)
        results += [x, taps.weights]
    return results


def _class_map(dtype):
    """Several runs, of which the last is shorter; equal scores, and what is not a number."""
    x = np.round(numbers(4, 1, 2 * 256 + WIDE, dtype=dtype))
    x[2, 0, ::9] = np.nan
    out = empty(1, x.shape[2], dtype=np.uint8)
    kernels.class_map(put(x), out)
    return [out]


CALLS = {
    "class_map": _class_map,
    "axis_taps": _resampled,
    "merge_maps": _resampled,
    "resize_windows": _resampled,
    "channel_moments": _batch_norm_in_pieces,
    "merge_moments": _batch_norm_in_pieces,
    "normalize_planes": _batch_norm_in_pieces,
    "batch_norm_planes_backward": _batch_norm_in_pieces,
    "batch_norm_products": _batch_norm_in_pieces,
    "channel_products": _products_in_pieces,
    "merge_products": _products_in_pieces,
    "sgd_update_all": _updates_in_one,
    **{f"{rule}_update_all": _rules_in_one for rule in kernels.RULES},
    "sum_of_squares_all": _updates_in_one,
    "clear_all": _updates_in_one,
    "im2col": _columns,
    "col2im": _columns,
    "im2col_places": _columns,
    "col2im_places": _columns,
    "max_pool_rows": _unpool_in_cells,
    "unpool_cells": _unpool_in_cells,
    "unpool_elsewhere": _unpool_in_cells,
}
