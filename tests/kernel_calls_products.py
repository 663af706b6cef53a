"""The kernels of convolutions and fully connected layers called on tiny shapes; a part of kernel_calls.py."""

import os

import numpy as np
from arrays import empty, numbers, put

from deconvnet.core import kernels
from deconvnet.core.kernels import convolution, direct, gather, phases, winograd, winograd_batched

# more values a row than the largest block of the sanitizer builds has threads
WIDE = 70


def _numbers(dtype, *shape, seed=0):
    return put(numbers(*shape, seed=seed, dtype=dtype))


def _convolutions(dtype, shape, outputs, geometry):
    """A convolution and a deconvolution of one geometry, forward, with what may come after it, and backward."""
    results = []
    for transposed in (False, True):
        size = (geometry.transposed_size if transposed else geometry.output_size)(*shape[2:])
        first, second = (shape[1], outputs) if transposed else (outputs, shape[1])
        weights = _numbers(dtype, first, second // geometry.group, *geometry.kernel, seed=1)
        x, y = _numbers(dtype, *shape), empty(shape[0], outputs, *size, dtype=dtype)
        forward, backward = (
            (kernels.deconv_forward, kernels.deconv_backward)
            if transposed
            else (kernels.conv_forward, kernels.conv_backward)
        )
        forward(x, weights, None, geometry, y)
        finished, bias, gain, shift = (
            empty(*y.shape, dtype=dtype),
            *(_numbers(dtype, outputs, seed=n) for n in (4, 5, 6)),
        )
        forward(x, weights, bias, geometry, finished, kernels.After(gain, shift, rectified=True))
        dx, dweights = empty(*shape, dtype=dtype), put(np.zeros(weights.shape, dtype))
        backward(x, weights, _numbers(dtype, *y.shape, seed=3), geometry, dx, dweights)
        results += [y, finished, dx, dweights]
    return results


def _products(dtype):
    strided = kernels.Geometry((3, 2), (2, 3), (1, 2), (2, 1), group=2)
    return [
        *_convolutions(dtype, (1, 2, 1, WIDE), 1, kernels.Geometry((2, 3), pad=(1, 1))),
        *_convolutions(dtype, (1, 2, 4, 3), 10, strided),
        *_convolutions(dtype, (2, 1, 1, 3), 2, kernels.Geometry((1, 1))),
        *_in_bands(dtype),
    ]


def _in_bands(dtype):
    """A batch cut into single rows, as a large one is cut into bands."""
    plain = convolution._chunks
    convolution._chunks = lambda geometry, like, images, channels, outputs, rows, width: [
        convolution._Chunk(image, 1, row, 1) for image in range(images) for row in range(rows)
    ]
    try:
        return _convolutions(dtype, (1, 1, 2, 5), 1, kernels.Geometry((3, 2), (1, 2), (1, 1)))
    finally:
        convolution._chunks = plain


def _tiles(dtype):
    """More tiles than a run and a block, more outputs than a panel, more channels than a vector, and as many as fill one, whichever
    processor's, planes that end inside a tile; in bands, and all tiles at once, of more channels than a block transforms at a time.
    """
    wish, few = os.environ.get("DECONVNET_CONVOLUTION"), (winograd._BLOCK, winograd._FEW_TILES)
    os.environ["DECONVNET_CONVOLUTION"] = "winograd"
    results = []
    try:
        for winograd._BLOCK, winograd._FEW_TILES, channels in ((0, 0, 16), (64, 64, 67)):
            results += _convolutions(dtype, (2, 3, 5, 34), 37, kernels.Geometry((3, 3), pad=(1, 1)))
            results += _convolutions(dtype, (1, channels, 4, 3), 2, kernels.Geometry((3, 3), pad=(0, 2)))
        # of order 1: their rounding goes with the largest, not with each value
        return [result / 64 for result in results]
    finally:
        winograd._BLOCK, winograd._FEW_TILES = few
        os.environ.pop("DECONVNET_CONVOLUTION")
        if wish is not None:
            os.environ["DECONVNET_CONVOLUTION"] = wish


def _batched_tiles(dtype):
    """The same in a GPU's order: parts of one image, groups of one image and of all, more filters than a block has threads."""
    names = "_BYTES", "_FEW_FILTERS"
    plain, chosen = [getattr(winograd_batched, name) for name in names], convolution._tiles
    convolution._tiles = lambda like: winograd_batched
    try:
        results = []
        for values in ((1, 0), (1 << 20, 0), (1 << 20, 1 << 20)):
            for name, value in zip(names, values, strict=True):
                setattr(winograd_batched, name, value)
            results += _tiles(dtype)
        return results
    finally:
        convolution._tiles = chosen
        for name, value in zip(names, plain, strict=True):
            setattr(winograd_batched, name, value)


def _direct_products(dtype):
    """Panels and vectors that are not full, and outputs that fill them, strides and groups; whole images together, and single rows."""
    plain, results = (direct._PLACES, direct._SEEN_BYTES, direct._WEIGHTS_SEEN_BYTES), []
    direct._PLACES = 0
    try:
        for direct._SEEN_BYTES, direct._WEIGHTS_SEEN_BYTES in (plain[1:], (0, 0)):
            results += _convolutions(dtype, (2, 3, 6, 9), 19, kernels.Geometry((3, 4), (2, 1), (1, 2)))
            results += _convolutions(dtype, (1, 10, 3, WIDE // 2), 10, kernels.Geometry((2, 3), pad=(1, 0), group=2))
            results += _convolutions(dtype, (1, 2, 4, 6), 16, kernels.Geometry((2, 3), pad=(1, 0)))
        return results
    finally:
        direct._PLACES, direct._SEEN_BYTES, direct._WEIGHTS_SEEN_BYTES = plain


def _phases(dtype):
    """Maps that the dilation does not divide, both ways."""
    geometry, results = kernels.Geometry((3, 2), pad=(2, 3), dilation=(2, 3)), []
    weights = _numbers(dtype, 2, 3, 3, 2, seed=1)
    for below, channels, outputs in ((kernels.conv_forward, 3, 2), (kernels.deconv_forward, 2, 3)):
        forward = below is kernels.conv_forward
        size = (geometry.output_size if forward else geometry.transposed_size)(5, 7)
        y = empty(1, outputs, *size, dtype=dtype)
        phases.convolve(below, _numbers(dtype, 1, channels, 5, 7), weights, None, geometry, y, None)
        results.append(y)
    return results


def _whole_maps(dtype):
    """A window as large as the map, for one image and for four, two and one at once; as if the weights were too large for the cache."""
    plain, convolution._DENSE_WEIGHTS = convolution._DENSE_WEIGHTS, 0
    try:
        return [
            *_convolutions(dtype, (1, 2, 5, 7), 6, kernels.Geometry((5, 7))),
            *_convolutions(dtype, (7, 2, 5, 7), 6, kernels.Geometry((5, 7))),
            *_convolutions(dtype, (2, 5, 1, 1), WIDE, kernels.Geometry((1, 1))),
        ]
    finally:
        convolution._DENSE_WEIGHTS = plain


def _tensor_products(dtype):
    """Tails of tiles, columns of two tiles, a sum that is split and merged, and one over images; read along and across."""
    results = []
    for precision in ("TF32", "BFLOAT16"):
        results += [
            *_convolutions(
                dtype, (2, 3, 3, WIDE), 3, kernels.Geometry((3, 2), (1, 2), (1, 1), (1, 2), precision=precision)
            ),
            *_convolutions(dtype, (1, 3, 20, 30), 2, kernels.Geometry((1, 1), precision=precision)),
            *_convolutions(dtype, (3, 5, 1, 1), 3, kernels.Geometry((1, 1), precision=precision)),
        ]
    return results


def _gathers(dtype):
    results = []
    for window in (
        kernels.Geometry((4, 4), (2, 2), (1, 1), group=2),
        kernels.Geometry((3, 2), (1, 2), (1, 0), group=2),
        kernels.Geometry((3, 3), (1, 1), (1, 1), group=2),
    ):
        shape = (1, 4, 10, WIDE // 4)
        x, weights = _numbers(dtype, *shape), _numbers(dtype, 4, 2, *window.kernel)
        for order in ("rows", "bands", "places"):
            y = empty(1, 4, *window.transposed_size(*shape[2:]), dtype=dtype)
            dx, dweights = empty(*shape, dtype=dtype), _numbers(dtype, *weights.shape)
            gather.correlate_backward_data(x, weights, window, y, order=order)
            gather.correlate(y, weights, window, dx, order=order)
            gather.correlate_backward_weights(y, x, window, dweights, order=order)
            results += [y, dx, dweights]
    return [
        *results,
        *_convolutions(dtype, (1, 2, 2, WIDE // 2 + 1), 2, kernels.Geometry((4, 4), (2, 2), (1, 1), group=2)),
        *_convolutions(dtype, (1, 4, 2, 3), 4, kernels.Geometry((3, 2), (1, 2), (1, 0), (2, 2), group=2)),
    ]


CALLS = {
    "images_from_columns": _products,
    "columns_from_images": _products,
    "winograd_patches": _tiles,
    "winograd_gradients": _tiles,
    "winograd_filters": _tiles,
    "winograd_results": _tiles,
    "winograd_few_tiles": _tiles,
    "winograd_sums": _tiles,
    "winograd_weights": _tiles,
    "winograd_batched_patches": _batched_tiles,
    "winograd_batched_gradients": _batched_tiles,
    "winograd_batched_filters": _batched_tiles,
    "winograd_batched_results": _batched_tiles,
    "winograd_batched_weights": _batched_tiles,
    "direct_panels": _direct_products,
    "direct_correlate": _direct_products,
    "direct_weights": _direct_products,
    "split_phases": _phases,
    "join_phases": _phases,
    "dense_rows": _whole_maps,
    "dense_columns": _whole_maps,
    "dense_outer": _whole_maps,
    "tensor_product_tf32": _tensor_products,
    "tensor_product_bf16": _tensor_products,
    "merge_splits": _tensor_products,
    "deconv_gather_forward": _gathers,
    "deconv_gather_forward_places": _gathers,
    "deconv_gather_backward_data": _gathers,
    "deconv_gather_backward_data_places": _gathers,
    "deconv_gather_backward_weights": _gathers,
    "correlate_bands": _gathers,
    "correlate_bands_backward_data": _gathers,
    "correlate_bands_backward_weights": _gathers,
}
