"""Convolution and Deconvolution (paper, section 3.2.2)."""

import math

from .. import kernels
from ..kernels import Geometry
from ..proto import caffe_pb2
from .layer import Layer, pair, register, require_images


class _Windowed(Layer):
    """What both directions share: the window, weights and bias, and the sizes.

    forward's `after` (kernels.After): what the net lets it do to the results on behalf of the layers that follow.
    """

    only_launches = True
    bottoms = (1, float("inf"))
    tops = (1, float("inf"))
    transposed = False
    param_field = "convolution_param"

    def setup(self, bottom, top):
        param = self.param.convolution_param
        if param.axis != 1:
            raise ValueError(f"convolution_param.axis must be 1 (channels), not {param.axis}")
        self.geometry = self._given_geometry()
        self.outputs = param.num_output
        if self.outputs < 1:
            raise ValueError("convolution_param.num_output must be at least 1")
        require_images(bottom[0])
        channels = bottom[0].shape[1]
        if channels < 1:
            raise ValueError(f"needs a bottom of at least one channel, not {bottom[0].shape}")
        if param.group < 1 or channels % param.group or self.outputs % param.group:
            raise ValueError(
                f"group {param.group} must divide the {channels} input and the {self.outputs} output channels"
            )
        self.channels = channels
        self.add_parameter((*self.filter_channels(), *self.geometry.kernel), param.weight_filler)
        if param.bias_term:
            self.add_parameter((self.outputs,), param.bias_filler)

    def _given_geometry(self) -> Geometry:
        """How the window moves, as the parameters say. Raises ValueError."""
        param = self.param.convolution_param
        dilation = pair(param, "dilation", 1, fewest=1)
        sizes = (pair(param, "kernel", None, fewest=1), pair(param, "stride", 1, fewest=1), pair(param, "pad", 0))
        # Caffe's own engine is im2col; any other word leaves the choice to us
        engine = "product" if param.engine == caffe_pb2.ConvolutionParameter.CAFFE else None
        return Geometry(*sizes, dilation, param.group, engine, self.precision)

    def algorithm(self, bottom, top) -> str:
        """How the layer is computed for the shapes at hand: one of kernels.algorithm's words."""
        gpu = kernels.mode() == "gpu"
        return kernels.algorithm(self.geometry, bottom[0].shape, top[0].shape, self.transposed, gpu)

    def filter_channels(self) -> tuple[int, int]:
        """The first two sizes of the weights."""
        return self.outputs, self.channels // self.geometry.group

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Of one image."""
        return self.geometry.output_size(height, width)

    def multiply_adds(self, bottom, top):
        # a filter's every weight meets every place: of the top, or where the layer scatters, of the bottom
        places = sum(math.prod(blob.shape[2:]) * blob.shape[0] for blob in self.filtered(bottom, top))
        return self.blobs[0].count * places

    def filtered(self, bottom, top):
        """The blobs whose places each weight meets once."""
        return top

    def reshape(self, bottom, top):
        for below, above in zip(bottom, top, strict=True):
            require_images(below)
            if below.shape[1] != self.channels:
                raise ValueError(
                    f"was made for {self.channels} input channels; its bottom now has the shape {below.shape}"
                )
            size = self.output_size(*below.shape[2:])
            if min(size) < 1:
                raise ValueError(self._too_small(*below.shape[2:], size))
            above.reshape(below.shape[0], self.outputs, *size)

    def _too_small(self, height, width, size) -> str:
        geometry = self.geometry
        least = [
            self.least_input(k, s, p, d)
            for k, s, p, d in zip(geometry.kernel, geometry.stride, geometry.pad, geometry.dilation, strict=True)
        ]
        return (
            f"a window of {geometry.kernel[0]}x{geometry.kernel[1]} with pad {geometry.pad[0]}x{geometry.pad[1]} does not fit a map "
            f"of {height}x{width} (the result would be {size[0]}x{size[1]}): maps from {least[0]}x{least[1]} on would, or {self.other_pad}"
        )

    def _parameters(self):
        return self.blobs[0].data, self.blobs[1].data if len(self.blobs) > 1 else None


@register("Convolution")
class Convolution(_Windowed):
    """Convolution with stride, padding, dilation and groups (Caffe's Convolution).

    bottom: x (N, C, H, W); more bottoms give more tops
    top:    y (N, num_output, H', W'), H' = (H + 2 pad - dilation (kernel - 1) - 1) // stride + 1
    blobs:  weights (num_output, C / group, kh, kw); bias (num_output,) unless bias_term is false
    """

    other_pad = "more padding"

    @staticmethod
    def least_input(kernel, stride, pad, dilation) -> int:
        """The shortest side of an input with a result."""
        return max(1, dilation * (kernel - 1) + 1 - 2 * pad)

    def forward(self, bottom, top, after=None):
        for below, above in zip(bottom, top, strict=True):
            kernels.conv_forward(below.data, *self._parameters(), self.geometry, above.data, after)

    def backward(self, top, propagate_down, bottom):
        for above, wanted, below in zip(top, propagate_down, bottom, strict=True):
            dx = below.diff if wanted else None
            gradients = (self.gradient_of(0), self.gradient_of(1))
            kernels.conv_backward(below.data, self.blobs[0].data, above.diff, self.geometry, dx, *gradients)

    def coordinate_map(self):
        return tuple((s, d * (k - 1) / 2 - p) for k, s, p, d in zip(*self._given_geometry()[:4], strict=True))


@register("Deconvolution")
class Deconvolution(_Windowed):
    """Transposed convolution (paper, section 3.2.2; Caffe's Deconvolution).

    bottom: x (N, C, H, W); more bottoms give more tops
    top:    y (N, num_output, H', W'), H' = stride (H - 1) + dilation (kernel - 1) + 1 - 2 pad
    blobs:  weights (C, num_output / group, kh, kw); bias (num_output,) unless bias_term is false
    """

    transposed = True
    other_pad = "less padding"

    @staticmethod
    def least_input(kernel, stride, pad, dilation) -> int:
        """The shortest side of an input with a result."""
        return max(1, 1 + -(-(2 * pad - dilation * (kernel - 1)) // stride))

    def filter_channels(self):
        return self.channels, self.outputs // self.geometry.group

    def output_size(self, height, width):
        return self.geometry.transposed_size(height, width)

    def filtered(self, bottom, top):
        return bottom

    def forward(self, bottom, top, after=None):
        for below, above in zip(bottom, top, strict=True):
            kernels.deconv_forward(below.data, *self._parameters(), self.geometry, above.data, after)

    def backward(self, top, propagate_down, bottom):
        for above, wanted, below in zip(top, propagate_down, bottom, strict=True):
            dx = below.diff if wanted else None
            gradients = (self.gradient_of(0), self.gradient_of(1))
            kernels.deconv_backward(below.data, self.blobs[0].data, above.diff, self.geometry, dx, *gradients)

    def coordinate_map(self):
        return tuple(
            (1 / s, -(d * (k - 1) / 2 - p) / s) for k, s, p, d in zip(*self._given_geometry()[:4], strict=True)
        )
