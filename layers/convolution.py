"""Convolution and Deconvolution (paper, section 3.2.2)."""

import math
import warnings

from .. import kernels
from ..kernels import Geometry
from .layer import Layer, per_axis, register, require_images


class _Windowed(Layer):
    """What both directions share: the window, weights and bias, and the sizes.

    axis: that of the channels, those before it are the batch; axes: how many spatial ones follow it
    forward's `after` (kernels.After): what the net lets it do to the results on behalf of the layers that follow.
    """

    only_launches = True
    bottoms = (1, float("inf"))
    tops = (1, float("inf"))
    transposed = False
    param_field = "convolution_param"
    axis, axes = 1, 2

    def setup(self, bottom, top):
        param = self.param.convolution_param
        self.axis = self.canonical_axis(param.axis, bottom[0])
        self.axes = len(bottom[0].shape) - self.axis - 1
        self.geometry = self._given_geometry()
        self.outputs = param.num_output
        if self.outputs < 1:
            raise ValueError("convolution_param.num_output must be at least 1")
        if not self.axes and set(param.kernel_size) - {1}:
            raise ValueError(
                f"a bottom of shape {bottom[0].shape} has no spatial axis behind axis {self.axis}: only kernel_size: 1 fits it"
            )
        channels = bottom[0].shape[self.axis]
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

    def check_counts(self, bottoms, tops):
        super().check_counts(bottoms, tops)
        if bottoms != tops:
            raise ValueError(f"makes one top of each bottom: it has {bottoms} bottoms and {tops} tops")

    def _given_geometry(self) -> Geometry:
        """How the window moves, as the parameters say. Raises ValueError."""
        param = self.param.convolution_param
        given = (("kernel", None if self.axes else 1, 1), ("stride", 1, 1), ("pad", 0, 0), ("dilation", 1, 1))
        sizes = (per_axis(param, name, default, self.axes, fewest) for name, default, fewest in given)
        # whatever param.engine says: `engine: CAFFE` means that cuDNN is not to be taken, in many nets
        return Geometry(*sizes, param.group, self.precision)

    def algorithm(self, bottom, top) -> str:
        """How the layer is computed for the shapes at hand: one of kernels.algorithm's words."""
        shapes, gpu = (self._maps_shape(bottom[0].shape), self._maps_shape(top[0].shape)), kernels.mode() == "gpu"
        return kernels.algorithm(self.geometry, *shapes, self.transposed, gpu)

    def filter_channels(self) -> tuple[int, int]:
        """The first two sizes of the weights."""
        return self.outputs, self.channels // self.geometry.group

    def output_size(self, *size: int) -> tuple[int, ...]:
        """Of one image."""
        return self.geometry.output_size(*size)

    def multiply_adds(self, bottom, top):
        # a filter's every weight meets every place: of the top, or where the layer scatters, of the bottom
        places = sum(blob.count // blob.shape[self.axis] for blob in self.filtered(bottom, top))
        return self.blobs[0].count * places

    def filtered(self, bottom, top):
        """The blobs whose places each weight meets once."""
        return top

    def reshape(self, bottom, top):
        for below, above in zip(bottom, top, strict=True):
            axes = self.axis + 1 + self.axes
            if len(below.shape) != axes:
                raise ValueError(f"was made for bottoms of {axes} axes; its bottom now has the shape {below.shape}")
            if below.shape[self.axis] != self.channels:
                raise ValueError(
                    f"was made for {self.channels} input channels; its bottom now has the shape {below.shape}"
                )
            size = below.shape[self.axis + 1 :]
            result = self.output_size(*size)
            if min(result, default=1) < 1:
                raise ValueError(self._too_small(size, result))
            above.reshape(*below.shape[: self.axis], self.outputs, *result)

    def _too_small(self, size, result) -> str:
        kernel, _, pad, _ = window = self.geometry[:4]
        least = [self.least_input(*sizes) for sizes in zip(*window, strict=True)]
        kernel, pad, size, result, least = ("x".join(map(str, sizes)) for sizes in (kernel, pad, size, result, least))
        return (
            f"a window of {kernel} with pad {pad} does not fit a map of {size} (the result would be {result}): "
            f"maps from {least} on would, or {self.other_pad}"
        )

    def forward(self, bottom, top, after=None):
        for below, above in zip(bottom, top, strict=True):
            x, y = self._maps(below.data), self._maps(above.data)
            self.forward_pass(x, *self._parameters(), self.geometry, y, after)

    def backward(self, top, propagate_down, bottom):
        for above, wanted, below in zip(top, propagate_down, bottom, strict=True):
            x, dy, dx = map(self._maps, (below.data, above.diff, below.diff if wanted else None))
            gradients = (self.gradient_of(0), self.gradient_of(1))
            self.backward_pass(x, self.blobs[0].data, dy, self.geometry, dx, *gradients)

    def recompute(self, bottom, top):
        self.forward(bottom, top)

    def _parameters(self):
        return self.blobs[0].data, self.blobs[1].data if len(self.blobs) > 1 else None

    def _maps_shape(self, shape) -> tuple[int, ...]:
        """(N, C, ...) of a blob: all that comes before the channels counts as images."""
        return (math.prod(shape[: self.axis]), *shape[self.axis :])

    def _maps(self, array):
        """An array of a bottom or a top (or None) as the kernels take it, (N, C, ...)."""
        return array if array is None or self.axis == 1 else array.reshape(self._maps_shape(array.shape))


@register("Convolution")
class Convolution(_Windowed):
    """Convolution with stride, padding, dilation and groups (Caffe's Convolution).

    bottom: x (N, C, H, W) or of any other number of spatial axes; more bottoms give more tops
    top:    y (N, num_output, H', W'), H' = (H + 2 pad - dilation (kernel - 1) - 1) // stride + 1
    blobs:  weights (num_output, C / group, kh, kw); bias (num_output,) unless bias_term is false
    """

    forward_pass, backward_pass = staticmethod(kernels.conv_forward), staticmethod(kernels.conv_backward)
    other_pad = "more padding"

    @staticmethod
    def least_input(kernel, stride, pad, dilation) -> int:
        """The shortest side of an input with a result."""
        return max(1, dilation * (kernel - 1) + 1 - 2 * pad)

    def coordinate_map(self):
        if self.axes != 2:
            return None
        return tuple((s, d * (k - 1) / 2 - p) for k, s, p, d in zip(*self._given_geometry()[:4], strict=True))


@register("DepthwiseConvolution", "ConvolutionDepthwise")
class DepthwiseConvolution(Convolution):
    """A Convolution with a group for each channel, as two forks call it; one leaves `group` out, the other gives it (MobileNet).

    bottom, top, blobs: those of Convolution with group: C
    """

    def setup(self, bottom, top):
        require_images(bottom[0])
        channels, given = max(1, bottom[0].shape[1]), self.param.convolution_param.group
        if given not in (1, channels):
            raise ValueError(
                f"has a group for each of its {channels} channels: leave group {given} out, or take Convolution"
            )
        self.param.convolution_param.group = channels
        super().setup(bottom, top)


@register("Deconvolution")
class Deconvolution(_Windowed):
    """Transposed convolution (paper, section 3.2.2; Caffe's Deconvolution).

    bottom: x (N, C, H, W) or of any other number of spatial axes; more bottoms give more tops
    top:    y (N, num_output, H', W'), H' = stride (H - 1) + dilation (kernel - 1) + 1 - 2 pad
    blobs:  weights (C, num_output / group, kh, kw); bias (num_output,) unless bias_term is false
    """

    transposed = True
    forward_pass, backward_pass = staticmethod(kernels.deconv_forward), staticmethod(kernels.deconv_backward)
    other_pad = "less padding"

    @staticmethod
    def least_input(kernel, stride, pad, dilation) -> int:
        """The shortest side of an input with a result."""
        return max(1, 1 + -(-(2 * pad - dilation * (kernel - 1)) // stride))

    def filter_channels(self):
        return self.channels, self.outputs // self.geometry.group

    def _fill_parameter(self, number):
        filler, shape = self._fillers.get(number), self.blobs[number].shape
        if filler is not None and filler.type == "bilinear" and len(shape) == 4 and shape[1] > 1:
            each = f"group: {self.outputs}" if self.outputs == self.channels else "a group for each channel"
            warnings.warn(
                f"layer '{self.name}' (Deconvolution): its bilinear weights make {shape[1]} outputs the same sum of inputs; "
                f"{each} upsamples every channel by itself",
                stacklevel=2,
            )
        super()._fill_parameter(number)

    def output_size(self, *size):
        return self.geometry.transposed_size(*size)

    def filtered(self, bottom, top):
        return bottom

    def coordinate_map(self):
        if self.axes != 2:
            return None
        return tuple(
            (1 / s, -(d * (k - 1) / 2 - p) / s) for k, s, p, d in zip(*self._given_geometry()[:4], strict=True)
        )
