"""Convolution and transposed convolution: Winograd's tiles, dilated by phases, a product that needs no columns, im2col + GEMM, one pass
over the weights, a gather, or tensor cores.

`algorithm` chooses. All of them are for two spatial axes: maps of fewer get axes of one place (`_planes`), those of more are taken apart
(slices.py).

The three functions `correlate`, `correlate_backward_data` and `correlate_backward_weights` are one linear map and its two adjoints;
a deconvolution is the same map with forward and backward-data exchanged.
"""

import os
from typing import NamedTuple

from . import dense, direct, gather, phases, slices, tensor_product, winograd, winograd_batched
from .bias import add_bias, bias_backward
from .device import launch, matrix_product, on_gpu, workspace
from .geometry import Geometry
from .normalization import channel_affine_forward, compose_affine
from .taps import add_columns, to_columns
from .winograd import After

_BAND_BYTES = 6 << 20  # columns that stay in a processor's cache between im2col and the product
_GPU_BAND_BYTES = 256 << 20
_BATCHED_PLACES = 64  # of a map on a GPU; smaller ones of several images make one product together
_POINTWISE_PLACES = 128  # the same on a CPU
_GATHER_TAPS = 4  # up to that many channels a group the direct gather beats the product
_WINOGRAD_CHANNELS = 16  # fewer leave lanes of the transforms empty
_WINOGRAD_FILTERS = 5  # tiles that cost as much as transforming the filters does
_WINOGRAD_SUMS = 18  # and as transforming their gradient back
_GPU_WINOGRAD_FILTERS = 16  # both, not measured yet
_DENSE_IMAGES = 32  # beyond them a general product is as fast
_DENSE_WEIGHTS = 1 << 20  # fewer stay in the cache, where a second pass over them costs nothing


class _Chunk(NamedTuple):
    """A part of a batch that goes through one product: whole images, or a band of output rows of one image."""

    image: int
    images: int
    first: int
    rows: int


def _chunks(geometry: Geometry, like, images: int, channels: int, outputs: int, rows: int, width: int) -> list[_Chunk]:
    """Cut a batch so that the columns of a chunk (a value for each tap and place) stay within the cache, on a GPU they and the rows within
    the bytes for both; or into images that are their own.
    """
    depth = channels * geometry.kernel[0] * geometry.kernel[1]
    if geometry.pointwise and rows * width >= _POINTWISE_PLACES and not on_gpu(like):
        return [_Chunk(image, 1, 0, rows) for image in range(images)]
    budget = (_GPU_BAND_BYTES if on_gpu(like) else _BAND_BYTES) // like.itemsize
    at_once = budget // max(1, (depth + outputs if on_gpu(like) else depth) * rows * width)
    if at_once >= 1:
        return [_Chunk(image, min(at_once, images - image), 0, rows) for image in range(0, images, at_once)]
    if (
        rows * width <= 1024
    ):  # few places and many channels: a product over fewer places is slower than one out of the cache
        return [_Chunk(image, 1, 0, rows) for image in range(images)]
    band = max(1, -(-256 // width), budget // (depth * width))
    return [
        _Chunk(image, 1, first, min(band, rows - first)) for image in range(images) for first in range(0, rows, band)
    ]


def _columns(x, chunk: _Chunk, geometry: Geometry, out_width: int):
    """The columns (K, places) of a chunk of x (N, C, H, W); a view of x where they are the image itself."""
    channels, height, width = x.shape[1:]
    depth = channels * geometry.kernel[0] * geometry.kernel[1]
    if geometry.pointwise and chunk.images == 1:
        return x[chunk.image].reshape(channels, height * width)[
            :, chunk.first * width : (chunk.first + chunk.rows) * width
        ]
    columns = workspace(x, depth * chunk.images * chunk.rows * out_width, "columns")
    part = x[chunk.image : chunk.image + chunk.images]
    sizes = (chunk.images, channels, height, width, chunk.first, chunk.rows, out_width)
    to_columns(part, columns, sizes, geometry.taps)
    return columns.reshape(depth, chunk.images * chunk.rows * out_width)


def _rows_of(y, chunk: _Chunk):
    """The places of a chunk in y (N, C, H, W) as (C, places); a view for one image, a copy in the workspace for several."""
    channels, height, width = y.shape[1:]
    if chunk.images == 1:
        return y[chunk.image].reshape(channels, height * width)[
            :, chunk.first * width : (chunk.first + chunk.rows) * width
        ]
    rows = workspace(y, channels * chunk.images * height * width, "rows").reshape(channels, -1)
    part = y[chunk.image : chunk.image + chunk.images]
    launch(
        "columns_from_images",
        channels * chunk.images,
        height * width,
        part,
        rows,
        chunk.images,
        channels,
        height * width,
    )
    return rows


def _grouped(matrix, group: int):
    """The rows of a matrix in `group` equal parts."""
    return matrix.reshape(group, matrix.shape[0] // group, *matrix.shape[1:]) if group > 1 else matrix[None]


def _maps_as_matrices(geometry: Geometry, x, y) -> bool:
    """Whether one product for each image, all in one call, takes the maps as they lie: large ones seen through a 1x1 window on a GPU."""
    return on_gpu(x) and geometry.pointwise and geometry.group == 1 and y.shape[2] * y.shape[3] >= _BATCHED_PLACES


def _matrices(maps):
    """Maps (N, C, H, W) as (N, C, H * W)."""
    images, channels, height, width = maps.shape
    return maps.reshape(images, channels, height * width)  # -1 is no size of maps without images


def correlate(x, weights, geometry: Geometry, out) -> None:
    """out (N, O, H', W') = x (N, C, H, W) correlated with weights (O, C / group, kh, kw)."""
    outputs = out.shape[1]
    if _maps_as_matrices(geometry, x, out):
        matrix_product(weights.reshape(1, outputs, -1), _matrices(x), _matrices(out))
        return
    matrix = _grouped(weights.reshape(outputs, -1), geometry.group)
    places = out.shape[2] * out.shape[3]
    for chunk in _chunks(geometry, x, *x.shape[:2], *out.shape[1:]):
        columns = _grouped(_columns(x, chunk, geometry, out.shape[3]), geometry.group)
        direct = chunk.images == 1
        if direct:
            product = _rows_of(out, chunk)
        else:
            product = workspace(out, outputs * chunk.images * places, "rows").reshape(outputs, chunk.images * places)
        for part, filters, target in zip(columns, matrix, _grouped(product, geometry.group), strict=True):
            matrix_product(filters, part, target)
        if not direct:
            part = out[chunk.image : chunk.image + chunk.images]
            rows = chunk.images * outputs
            launch("images_from_columns", rows, places, product, part, chunk.images, outputs, places)


def correlate_backward_data(dy, weights, geometry: Geometry, dx) -> None:
    """dx (N, C, H, W) = the gradient of `correlate` with respect to x, from dy (N, O, H', W')."""
    outputs = dy.shape[1]
    if _maps_as_matrices(geometry, dx, dy):
        matrix_product(weights.reshape(1, outputs, -1).transpose(0, 2, 1), _matrices(dy), _matrices(dx))
        return
    matrix = _grouped(weights.reshape(outputs, -1), geometry.group)
    channels, height, width = dx.shape[1:]
    depth, out_width = channels * geometry.kernel[0] * geometry.kernel[1], dy.shape[3]
    if not geometry.pointwise:
        dx[...] = 0
    for chunk in _chunks(geometry, dy, dy.shape[0], channels, *dy.shape[1:]):
        rows = _grouped(_rows_of(dy, chunk), geometry.group)
        places = chunk.images * chunk.rows * out_width
        if geometry.pointwise and chunk.images == 1:
            columns = _rows_of(dx, chunk)
        else:
            columns = workspace(dy, depth * places, "columns").reshape(depth, places)
        for part, filters, target in zip(rows, matrix, _grouped(columns, geometry.group), strict=True):
            matrix_product(filters.T, part, target)
        part = dx[chunk.image : chunk.image + chunk.images]
        if not geometry.pointwise:
            sizes = (chunk.images, channels, height, width, chunk.first, chunk.rows, out_width)
            add_columns(columns, part, sizes, geometry.taps)
        elif chunk.images > 1:
            sizes = (chunk.images, channels, height * width)
            launch("images_from_columns", chunk.images * channels, height * width, columns, part, *sizes)


def correlate_backward_weights(x, dy, geometry: Geometry, dweights) -> None:
    """dweights (O, C / group, kh, kw) += the gradient of `correlate` with respect to its weights."""
    outputs = dy.shape[1]
    matrix = _grouped(dweights.reshape(outputs, -1), geometry.group)
    for chunk in _chunks(geometry, x, *x.shape[:2], *dy.shape[1:]):
        columns = _grouped(_columns(x, chunk, geometry, dy.shape[3]), geometry.group)
        rows = _grouped(_rows_of(dy, chunk), geometry.group)
        for a, b, target in zip(rows, columns, matrix, strict=True):
            matrix_product(a, b.T, target, add=True)


def prefers_gather(geometry: Geometry, in_channels: int, out_channels: int) -> bool:
    """Whether no product is made: few channels a group, as depthwise convolution and grouped bilinear upsampling have."""
    return geometry.group > 1 and max(in_channels, out_channels) // geometry.group <= _GATHER_TAPS


def _planes(geometry: Geometry, *arrays):
    """A geometry, and maps and weights (or None), of fewer than two spatial axes as of two; others as they are."""
    if len(geometry.kernel) >= 2:
        return geometry, *arrays
    return geometry.of_planes, *(one if one is None else one.reshape(_plane(one.shape)) for one in arrays)


def _plane(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of maps or weights with spatial axes of one place for those that are missing to two."""
    return (*shape[:2], *(1,) * (4 - len(shape)), *shape[2:])


def algorithm(
    geometry: Geometry,
    bottom: tuple[int, ...],
    top: tuple[int, ...],
    transposed: bool = False,
    gpu: bool = False,
    of_weights: bool = False,
) -> str:
    """How a convolution (a deconvolution if transposed) from `bottom` (N, C, H, W) to `top` (N, O, H', W') is computed.

    of_weights: or its gradient with respect to the weights. "gather", "tensor", "dense", "winograd", "direct", "product", or "phases" where
    Winograd's tiles serve what a dilated one falls into.
    A precision other than FLOAT32 takes "tensor" (tensor_product.serves). Else the environment's
    DECONVNET_CONVOLUTION, product or winograd, overrules what was measured to be faster; what cannot be computed that way takes
    what it would take without. "slices" for more than two spatial axes: each of the convolutions that they are taken apart into
    chooses anew. Raises ValueError for another word in the environment.
    """
    if len(geometry.kernel) > 2:
        return "slices"
    if len(geometry.kernel) < 2:
        geometry, bottom, top = geometry.of_planes, _plane(bottom), _plane(top)
    if not bottom[0]:
        return "product"  # of no image
    if tensor_product.serves(geometry):
        return "tensor"
    asked = os.environ.get("DECONVNET_CONVOLUTION")
    if asked and asked not in ("product", "winograd"):
        raise ValueError(f"DECONVNET_CONVOLUTION is {asked!r}: it must be product or winograd, or not be set")
    if asked != "product" and prefers_gather(geometry, bottom[1], top[1]):
        return "gather"
    whole, single = (top, bottom) if transposed else (bottom, top)
    if phases.pays(geometry, bottom, top, of_weights):
        of_phases = (phases.shape(geometry, maps) for maps in (bottom, top))
        near = algorithm(phases.near(geometry), *of_phases, transposed, gpu, of_weights)
        return "phases" if near == "winograd" else "product"
    if asked == "product" or geometry.dilation != (1, 1):
        return "product"
    if of_weights:
        serves = direct.pays_for_weights(geometry, whole[1] // geometry.group, single)
    else:
        serves = direct.pays(geometry, bottom[1], top, transposed)
    otherwise = "direct" if serves and not gpu else "product"
    if geometry.group != 1:
        return otherwise
    if single[2:] == (1, 1) and geometry.kernel == whole[2:] and geometry.pad == (0, 0) and top[0] <= _DENSE_IMAGES:
        large = whole[1] * whole[2] * whole[3] * single[1] >= _DENSE_WEIGHTS
        return "dense" if large and not gpu else "product"
    if (geometry.kernel, geometry.stride) != ((3, 3), (1, 1)) or max(geometry.pad) > 2:
        return otherwise
    # partly filled tiles count in full, and so do the filters' transforms, which few places do not repay
    images, height, width = top[0], *top[2:]
    tiles = images * -(-height // 4) * -(-width // 4)
    filters = _GPU_WINOGRAD_FILTERS if gpu else _WINOGRAD_SUMS if of_weights else _WINOGRAD_FILTERS
    pays = min(bottom[1], top[1]) >= _WINOGRAD_CHANNELS and 4 * (tiles + filters) < images * height * width
    return "winograd" if pays or asked == "winograd" else otherwise


def _finish(bias, after: After | None, y) -> None:
    """Add the bias (None: nothing) and do what comes after, in a pass of their own."""
    if after is None:
        add_bias(bias, y)
        return
    gain, shift = after.gain, after.shift
    if bias is not None:
        gain, shift = (None, bias) if gain is None else compose_affine((None, bias), (gain, shift), y)
    channel_affine_forward(y, gain, shift, y, after.rectified)


def _tiles(like):
    """Winograd's tiles in the order of the device of an array."""
    return winograd_batched if on_gpu(like) else winograd


def _forward(chosen: str, x, weights, bias, geometry: Geometry, out, after: After | None = None) -> None:
    """`correlate`, the bias and what comes after."""
    if chosen == "winograd":
        _tiles(x).correlate(x, weights, geometry.pad, out, bias, after=after)
        return
    if chosen == "direct":
        direct.correlate(x, weights, geometry, out, bias, after)
        return
    if chosen == "phases":
        phases.convolve(conv_forward, x, weights, bias, geometry, out, after)
        return
    if chosen == "tensor":
        tensor_product.correlate(x, weights, geometry, out, bias, after)
        return
    if chosen == "gather":
        gather.correlate(x, weights, geometry, out)
    elif chosen == "dense":
        dense.correlate(x, weights, out)
    elif chosen == "slices":
        slices.correlate(conv_forward, x, weights, geometry, out)
    else:
        correlate(x, weights, geometry, out)
    _finish(bias, after, out)


def _adjoint(chosen: str, dy, weights, bias, geometry: Geometry, dx, after: After | None = None) -> None:
    """`correlate_backward_data`, the bias and what comes after."""
    if chosen == "winograd":
        _tiles(dy).correlate(dy, weights, geometry.pad, dx, bias, transposed=True, after=after)
        return
    if chosen == "direct" and direct.pays(geometry, dy.shape[1], dx.shape, transposed=True):
        direct.correlate_backward_data(dy, weights, geometry, dx, bias, after)
        return
    if chosen == "phases":
        phases.convolve(deconv_forward, dy, weights, bias, geometry, dx, after)
        return
    if chosen == "tensor":
        tensor_product.correlate_backward_data(dy, weights, geometry, dx, bias, after)
        return
    if chosen == "gather":
        gather.correlate_backward_data(dy, weights, geometry, dx)
    elif chosen == "dense":
        dense.correlate_backward_data(dy, weights, dx)
    elif chosen == "slices":
        slices.correlate_backward_data(deconv_forward, dy, weights, geometry, dx)
    else:
        correlate_backward_data(dy, weights, geometry, dx)
    _finish(bias, after, dx)


def _weights_gradient(chosen: str, x, dy, geometry: Geometry, dweights) -> None:
    """`correlate_backward_weights`."""
    if chosen == "winograd":
        _tiles(x).correlate_backward_weights(x, dy, geometry.pad, dweights)
    elif chosen == "tensor":
        tensor_product.correlate_backward_weights(x, dy, geometry, dweights)
    elif chosen == "gather":
        gather.correlate_backward_weights(x, dy, geometry, dweights)
    elif chosen == "dense":
        dense.correlate_backward_weights(x, dy, dweights)
    elif chosen == "direct":
        direct.correlate_backward_weights(x, dy, geometry, dweights)
    elif chosen == "phases":
        phases.backward_weights(conv_backward, x, dy, geometry, dweights)
    elif chosen == "slices":
        slices.correlate_backward_weights(conv_backward, x, dy, geometry, dweights)
    else:
        correlate_backward_weights(x, dy, geometry, dweights)


def conv_forward(x, weights, bias, geometry: Geometry, out, after: After | None = None) -> None:
    """Convolution: out (N, O, H', W') from x (N, C, H, W), weights (O, C / group, kh, kw) and bias (O,) or None.

    Here and below there may be any number of spatial axes, as the geometry says.
    """
    geometry, x, weights, out = _planes(geometry, x, weights, out)
    _forward(algorithm(geometry, x.shape, out.shape, gpu=on_gpu(x)), x, weights, bias, geometry, out, after)


def conv_backward(x, weights, dy, geometry: Geometry, dx=None, dweights=None, dbias=None) -> None:
    """Gradients of a convolution: dx is written, dweights and dbias are added to; None for what is not wanted."""
    geometry, x, weights, dy, dx, dweights = _planes(geometry, x, weights, dy, dx, dweights)
    shapes = (geometry, x.shape, dy.shape, False, on_gpu(x))
    if dbias is not None:
        bias_backward(dy, dbias)
    if dweights is not None:
        _weights_gradient(algorithm(*shapes, of_weights=True), x, dy, geometry, dweights)
    if dx is not None:
        _adjoint(algorithm(*shapes), dy, weights, None, geometry, dx)


def deconv_forward(x, weights, bias, geometry: Geometry, out, after: After | None = None) -> None:
    """Transposed convolution: out (N, O, H', W') from x (N, C, H, W), weights (C, O / group, kh, kw) and bias (O,) or None."""
    geometry, x, weights, out = _planes(geometry, x, weights, out)
    _adjoint(algorithm(geometry, x.shape, out.shape, True, on_gpu(x)), x, weights, bias, geometry, out, after)


def deconv_backward(x, weights, dy, geometry: Geometry, dx=None, dweights=None, dbias=None) -> None:
    """Gradients of a transposed convolution: dx is written, dweights and dbias are added to; None for what is not wanted."""
    geometry, x, weights, dy, dx, dweights = _planes(geometry, x, weights, dy, dx, dweights)
    shapes = (geometry, x.shape, dy.shape, True, on_gpu(x))
    if dbias is not None:
        bias_backward(dy, dbias)
    if dweights is not None:
        _weights_gradient(algorithm(*shapes, of_weights=True), dy, x, geometry, dweights)
    if dx is not None:
        _forward(algorithm(*shapes), dy, weights, None, geometry, dx)
