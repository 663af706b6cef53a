"""Convolution and transposed convolution by products: im2col + GEMM, its adjoints, and a direct gather where a product has nothing to share.

The three functions `correlate`, `correlate_backward_data` and `correlate_backward_weights` are one linear map and its two adjoints;
a deconvolution is the same map with forward and backward-data exchanged.
"""

from typing import NamedTuple

import numpy as np

from .device import array_module, launch, on_gpu, workspace

_BAND_BYTES = 6 << 20  # columns that stay in a processor's cache between im2col and the product
_GPU_BAND_BYTES = 256 << 20
_WEIGHTS_BLOCK = 1 << 20  # values of a weight gradient that are computed at once before they are added
_GATHER_TAPS = 4  # up to that many channels a group the direct gather beats the product


class Geometry(NamedTuple):
    """How a window moves: pairs (vertical, horizontal), and the number of groups."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    group: int = 1

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Of a convolution over height x width; not positive where the window does not fit."""
        return tuple(
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, k, s, p, d in zip((height, width), self.kernel, self.stride, self.pad, self.dilation, strict=True)
        )

    def transposed_size(self, height: int, width: int) -> tuple[int, int]:
        """Of a deconvolution over height x width."""
        return tuple(
            s * (size - 1) + d * (k - 1) + 1 - 2 * p
            for size, k, s, p, d in zip((height, width), self.kernel, self.stride, self.pad, self.dilation, strict=True)
        )

    @property
    def taps(self) -> tuple[int, ...]:
        """The window as the kernels take it."""
        return (*self.kernel, *self.stride, *self.pad, *self.dilation)

    @property
    def pointwise(self) -> bool:
        """Whether the columns are the image itself."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and self.pad == (0, 0)


class _Chunk(NamedTuple):
    """A part of a batch that goes through one product: whole images, or a band of output rows of one image."""

    image: int
    images: int
    first: int
    rows: int


def _chunks(like, images: int, depth: int, rows: int, width: int) -> list[_Chunk]:
    """Cut a batch so that the columns of a chunk (depth x places values) stay within the cache."""
    budget = (_GPU_BAND_BYTES if on_gpu(like) else _BAND_BYTES) // like.itemsize
    at_once = budget // max(1, depth * rows * width)
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
    launch("im2col", depth * chunk.images, chunk.rows * out_width, part, columns, *sizes, *geometry.taps)
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


def correlate(x, weights, geometry: Geometry, out) -> None:
    """out (N, O, H', W') = x (N, C, H, W) correlated with weights (O, C / group, kh, kw)."""
    xp, outputs = array_module(x), out.shape[1]
    matrix = _grouped(weights.reshape(outputs, -1), geometry.group)
    places = out.shape[2] * out.shape[3]
    for chunk in _chunks(x, x.shape[0], x.shape[1] * geometry.kernel[0] * geometry.kernel[1], *out.shape[2:]):
        columns = _grouped(_columns(x, chunk, geometry, out.shape[3]), geometry.group)
        direct = chunk.images == 1
        if direct:
            product = _rows_of(out, chunk)
        else:
            product = workspace(out, outputs * chunk.images * places, "rows").reshape(outputs, chunk.images * places)
        for part, filters, target in zip(columns, matrix, _grouped(product, geometry.group), strict=True):
            xp.matmul(filters, part, out=target)
        if not direct:
            part = out[chunk.image : chunk.image + chunk.images]
            launch(
                "images_from_columns",
                chunk.images * outputs,
                places,
                product,
                None,
                part,
                chunk.images,
                outputs,
                places,
            )


def correlate_backward_data(dy, weights, geometry: Geometry, dx) -> None:
    """dx (N, C, H, W) = the gradient of `correlate` with respect to x, from dy (N, O, H', W')."""
    xp, outputs = array_module(dy), dy.shape[1]
    matrix = _grouped(weights.reshape(outputs, -1), geometry.group)
    channels, height, width = dx.shape[1:]
    depth, out_width = channels * geometry.kernel[0] * geometry.kernel[1], dy.shape[3]
    if not geometry.pointwise:
        dx[...] = 0
    for chunk in _chunks(dy, dy.shape[0], depth, *dy.shape[2:]):
        rows = _grouped(_rows_of(dy, chunk), geometry.group)
        places = chunk.images * chunk.rows * out_width
        if geometry.pointwise and chunk.images == 1:
            columns = _rows_of(dx, chunk)
        else:
            columns = workspace(dy, depth * places, "columns").reshape(depth, places)
        for part, filters, target in zip(rows, matrix, _grouped(columns, geometry.group), strict=True):
            xp.matmul(filters.T, part, out=target)
        part = dx[chunk.image : chunk.image + chunk.images]
        if not geometry.pointwise:
            sizes = (chunk.images, channels, height, width, chunk.first, chunk.rows, out_width)
            launch(
                "col2im",
                chunk.images * channels,
                geometry.kernel[0] * geometry.kernel[1] * chunk.rows * out_width,
                columns,
                part,
                *sizes,
                *geometry.taps,
            )
        elif chunk.images > 1:
            launch(
                "images_from_columns",
                depth * chunk.images,
                height * width,
                columns,
                None,
                part,
                chunk.images,
                channels,
                height * width,
            )


def correlate_backward_weights(x, dy, geometry: Geometry, dweights) -> None:
    """dweights (O, C / group, kh, kw) += the gradient of `correlate` with respect to its weights."""
    outputs = dy.shape[1]
    matrix = _grouped(dweights.reshape(outputs, -1), geometry.group)
    for chunk in _chunks(x, x.shape[0], x.shape[1] * geometry.kernel[0] * geometry.kernel[1], *dy.shape[2:]):
        columns = _grouped(_columns(x, chunk, geometry, dy.shape[3]), geometry.group)
        rows = _grouped(_rows_of(dy, chunk), geometry.group)
        for a, b, target in zip(rows, columns, matrix, strict=True):
            add_product(a, b.T, target)


def add_product(a, b, out) -> None:
    """out (M, N) += a (M, K) @ b (K, N), a block of rows at a time so that the product is added while it is in the cache."""
    xp = array_module(a)
    block = max(1, _WEIGHTS_BLOCK // max(1, out.shape[1]))
    scratch = workspace(out, min(block, out.shape[0]) * out.shape[1], "product")
    for first in range(0, out.shape[0], block):
        target = out[first : first + block]
        product = scratch[: target.size].reshape(target.shape)
        xp.matmul(a[first : first + block], b, out=product)
        target += product


def prefers_gather(geometry: Geometry, in_channels: int, out_channels: int) -> bool:
    """Whether a deconvolution takes the direct gather: few channels a group, as grouped bilinear upsampling has."""
    return geometry.group > 1 and max(in_channels, out_channels) // geometry.group <= _GATHER_TAPS


def _gather(name: str, x, y, geometry: Geometry, rows: int, *arrays) -> None:
    """Launch a direct deconvolution kernel whose input has x's shape and whose output y's."""
    g = geometry.group
    sizes = (x.shape[0], g, x.shape[1] // g, y.shape[1] // g, *x.shape[2:], *y.shape[2:])
    launch(f"deconv_gather_{name}", rows, y.shape[3], *arrays, *sizes, *geometry.taps)


def conv_forward(x, weights, bias, geometry: Geometry, out) -> None:
    """Convolution: out (N, O, H', W') from x (N, C, H, W), weights (O, C / group, kh, kw) and bias (O,) or None."""
    correlate(x, weights, geometry, out)
    add_bias(bias, out)


def conv_backward(x, weights, dy, geometry: Geometry, dx=None, dweights=None, dbias=None) -> None:
    """Gradients of a convolution: dx is written, dweights and dbias are added to; None for what is not wanted."""
    if dbias is not None:
        bias_backward(dy, dbias)
    if dweights is not None:
        correlate_backward_weights(x, dy, geometry, dweights)
    if dx is not None:
        correlate_backward_data(dy, weights, geometry, dx)


def deconv_forward(x, weights, bias, geometry: Geometry, out) -> None:
    """Transposed convolution: out (N, O, H', W') from x (N, C, H, W), weights (C, O / group, kh, kw) and bias (O,) or None."""
    if prefers_gather(geometry, x.shape[1], out.shape[1]):
        _gather("forward", x, out, geometry, out.size // out.shape[3], x, weights, out)
    else:
        correlate_backward_data(x, weights, geometry, out)
    add_bias(bias, out)


def deconv_backward(x, weights, dy, geometry: Geometry, dx=None, dweights=None, dbias=None) -> None:
    """Gradients of a transposed convolution: dx is written, dweights and dbias are added to; None for what is not wanted."""
    gather = prefers_gather(geometry, x.shape[1], dy.shape[1])
    if dbias is not None:
        bias_backward(dy, dbias)
    if dweights is not None:
        if gather:
            _gather("backward_weights", x, dy, geometry, weights.size, x, dy, dweights)
        else:
            correlate_backward_weights(dy, x, geometry, dweights)
    if dx is not None:
        if gather:
            _gather("backward_data", x, dy, geometry, x.size // x.shape[3], dy, weights, dx)
        else:
            correlate(dy, weights, geometry, dx)


def add_bias(bias, y) -> None:
    """y (N, C, ...) += bias (C,); nothing where bias is None."""
    if bias is not None:
        size = int(np.prod(y.shape[2:]))
        launch("add_bias", y.shape[0] * y.shape[1], size, bias, y, y.shape[0], y.shape[1], size)


def bias_backward(dy, dbias) -> None:
    """dbias (C,) += the sum of dy (N, C, ...) over all but the channels."""
    size = int(np.prod(dy.shape[2:]))
    launch("bias_backward", dy.shape[1], dy.shape[0] * size, dy, dbias, dy.shape[0], dy.shape[1], size)
