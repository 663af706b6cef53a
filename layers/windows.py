"""Im2col and SPP: the windows of a map, as channels or pooled into a vector."""

import math

from .. import kernels
from ..blob import Blob
from ..kernels import Geometry, Window
from ..proto import caffe_pb2
from .layer import Layer, pair, register, require_images

_HIGHEST = 16  # levels of a pyramid: the last one has 32768 x 32768 windows


@register("Im2col")
class Im2col(Layer):
    """What each tap of a convolution's window sees, as channels (Caffe's Im2col).

    bottom: x (N, C, H, W); top: (N, C * kh * kw, H', W'), sizes as of a Convolution with the same convolution_param
    """

    param_field = "convolution_param"

    def setup(self, bottom, top):
        self.geometry = self._given_geometry()

    def _given_geometry(self) -> Geometry:
        """How the window moves, as the parameters say. Raises ValueError."""
        param = self.param.convolution_param
        sizes = (pair(param, "kernel", None, fewest=1), pair(param, "stride", 1, fewest=1), pair(param, "pad", 0))
        return Geometry(*sizes, pair(param, "dilation", 1, fewest=1))

    def reshape(self, bottom, top):
        require_images(bottom[0])
        size = self.geometry.output_size(*bottom[0].shape[2:])
        if min(size) < 1:
            raise ValueError(f"a window of {self.geometry.kernel} does not fit a map of shape {bottom[0].shape}")
        kernel = self.geometry.kernel
        top[0].reshape(bottom[0].shape[0], bottom[0].shape[1] * kernel[0] * kernel[1], *size)

    def forward(self, bottom, top):
        kernels.im2col(bottom[0].data, self.geometry, top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            kernels.col2im(top[0].diff, self.geometry, bottom[0].diff)

    def coordinate_map(self):
        return tuple((s, d * (k - 1) / 2 - p) for k, s, p, d in zip(*self._given_geometry()[:4], strict=True))


@register("SPP")
class SPP(Layer):
    """Spatial pyramid pooling (Caffe's SPP; He et al. 2014): 1x1, 2x2, 4x4 ... windows that cover the map, MAX or AVE, one after the other.

    bottom: x (N, C, H, W); top: (N, C * (1 + 4 + 16 + ...)), pyramid_height terms; with one term (N, C, 1, 1)
    """

    def setup(self, bottom, top):
        param = self.param.spp_param
        if param.pool == caffe_pb2.SPPParameter.STOCHASTIC:
            raise ValueError("pool: STOCHASTIC is not supported; use MAX or AVE")
        if not 1 <= param.pyramid_height <= _HIGHEST:
            raise ValueError(f"spp_param.pyramid_height must be from 1 to {_HIGHEST}, not {param.pyramid_height}")
        self.takes_maximum = param.pool == caffe_pb2.SPPParameter.MAX
        self._pooled = [Blob(dtype=self.dtype) for _ in range(param.pyramid_height)]
        self._switches = [Blob(dtype=self.dtype) for _ in range(param.pyramid_height)]
        self._gradient = Blob(dtype=self.dtype)

    def buffers(self):
        return [*self._pooled, *self._switches, self._gradient]

    def reshape(self, bottom, top):
        require_images(bottom[0])
        images, channels, *size = bottom[0].shape
        self.windows = [self._window(size, 2**level) for level in range(len(self._pooled))]
        for level, window in enumerate(self.windows):
            bins = window.output_size(*size)
            for blob in (self._pooled[level], self._switches[level]):
                blob.reshape(images, channels, *bins)
        self._gradient.reshape(*bottom[0].shape)
        values = sum(math.prod(blob.shape[1:]) for blob in self._pooled)
        top[0].reshape(images, values, *((1, 1) if len(self._pooled) == 1 else ()))

    @staticmethod
    def _window(size, bins: int) -> Window:
        """The window that cuts a map into bins x bins. Raises ValueError where that many do not fit."""
        kernel = tuple(-(-length // bins) for length in size)
        pad = tuple((k * bins - length + 1) // 2 for k, length in zip(kernel, size, strict=True))
        window = Window(kernel, kernel, pad)
        if any(p >= k for p, k in zip(pad, kernel, strict=True)) or window.output_size(*size) != (bins, bins):
            raise ValueError(
                f"a map of {size[0]}x{size[1]} cannot be cut into {bins}x{bins}: use a smaller pyramid_height"
            )
        return window

    def _parts(self, array):
        """The columns of (N, ...) that each level fills, as views (N, C, bins, bins)."""
        first = 0
        for blob in self._pooled:
            last = first + math.prod(blob.shape[1:])
            yield array[:, first:last].reshape(blob.shape)
            first = last

    def forward(self, bottom, top):
        levels = zip(self.windows, self._pooled, self._switches, self._parts(top[0].data), strict=True)
        for window, pooled, switches, part in levels:
            if self.takes_maximum:
                kernels.max_pool(bottom[0].data, window, pooled.data, switches.data)
            else:
                kernels.average_pool(bottom[0].data, window, pooled.data)
            part[...] = pooled.data

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        levels = zip(self.windows, self._pooled, self._switches, self._parts(top[0].diff), strict=True)
        for level, (window, pooled, switches, part) in enumerate(levels):
            pooled.diff[...] = part
            if self.takes_maximum:
                kernels.max_pool_backward(pooled.diff, switches.data, window, self._gradient.diff)
            else:
                kernels.average_pool_backward(pooled.diff, window, self._gradient.diff)
            kernels.scale_add(self._gradient.diff, 1, bottom[0].diff, 0 if level == 0 else 1)
