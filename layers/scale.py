"""Scale and Bias: a factor or a summand for each place of some axes, learned or from a second bottom."""

import math

from .. import kernels
from ..blob import Blob
from ..proto import caffe_pb2
from .layer import SAME_PLACES, Layer, register


class _Along(Layer):
    """What Scale and Bias share: where the axes of the second operand lie in the first.

    The operand has the shape of `num_axes` axes of x from `axis` on (-1: all that follow, 0: one value); a second bottom brings its own.
    """

    bottoms = (1, 2)
    in_place = True

    def settings(self):
        """The layer's own parameters."""
        raise NotImplementedError

    def _make_operand(self, bottom, default: float) -> None:
        """The learned operand, unless the second bottom is it. Raises ValueError."""
        param, x = self.settings(), bottom[0]
        if len(bottom) > 1:
            return
        if param.num_axes < -1:
            raise ValueError(f"num_axes must be -1, 0 or more, not {param.num_axes}")
        axis = self.canonical_axis(param.axis, x) if param.num_axes else 0
        end = len(x.shape) if param.num_axes == -1 else axis + param.num_axes
        if end > len(x.shape):
            raise ValueError(
                f"num_axes {param.num_axes} from axis {axis} on reaches beyond the bottom's shape {x.shape}"
            )
        self.add_parameter(
            x.shape[axis:end], param.filler if param.HasField("filler") else caffe_pb2.FillerParameter(value=default)
        )

    def _operand(self, bottom) -> Blob:
        return bottom[1] if len(bottom) > 1 else self.blobs[0]

    def reshape(self, bottom, top):
        x, shape = bottom[0], self._operand(bottom).shape
        axis = self.canonical_axis(self.settings().axis, x) if shape else 0
        if x.shape[axis : axis + len(shape)] != shape:
            raise ValueError(
                f"{self._operand_name(bottom)} {shape} does not fit the bottom's shape {x.shape} from axis {axis} on"
            )
        # one value for all: the first axis only cuts the work into rows
        axis = axis if shape else min(1, len(x.shape))
        self._sizes = (math.prod(x.shape[:axis]), math.prod(shape), math.prod(x.shape[axis + len(shape) :]))
        self.maps_channels = len(bottom) == 1 and len(shape) == 1 and axis == 1
        if top[0] is not x:
            top[0].reshape(*x.shape)

    @staticmethod
    def _operand_name(bottom) -> str:
        return "the second bottom" if len(bottom) > 1 else "its parameter"

    def _operand_gradient(self, propagate_down, bottom):
        """Where the operand's gradient is added to, or None."""
        if len(bottom) == 1:
            return self.gradient_of(0)
        if not propagate_down[1]:
            return None
        bottom[1].diff[...] = 0
        return bottom[1].diff

    def coordinate_map(self):
        return SAME_PLACES


@register("Scale")
class Scale(_Along):
    """y = scale * x, with bias_term plus a bias of the scale's shape (Caffe's Scale).

    bottoms: x; optionally the scale. top: as x, may be x. blobs: the scale, unless it is a bottom, and the bias, unless bias_term is false
    """

    only_launches = True

    def settings(self):
        """The layer's own parameters."""
        return self.param.scale_param

    def setup(self, bottom, top):
        param = self.param.scale_param
        self._make_operand(bottom, 1)
        self._bias = len(self.blobs) if param.bias_term else None
        if param.bias_term:
            self.add_parameter(self._operand(bottom).shape, param.bias_filler)
        self._kept = Blob(dtype=self.dtype)
        self._has_copied = False

    def buffers(self):
        return [self._kept]

    def channel_map(self, then=None):
        self._has_copied = False
        own = self.blobs[0].data, None if self._bias is None else self.blobs[self._bias].data
        return own if then is None else kernels.compose_affine(own, then, own[0])

    def map_gradients(self):
        return self.gradient_of(0), None if self._bias is None else self.gradient_of(self._bias)

    def forward(self, bottom, top):
        x = bottom[0].data.reshape(self._sizes)
        self._has_copied = top[0] is bottom[0] and self.may_need_backward
        if self._has_copied:
            self._kept.reshape(*bottom[0].shape)
            self._kept.data[...] = bottom[0].data
        bias = None if self._bias is None else self.blobs[self._bias].data
        kernels.channel_affine_forward(x, self._operand(bottom).data, bias, top[0].data.reshape(self._sizes))

    def backward(self, top, propagate_down, bottom):
        if top[0] is bottom[0]:
            self.require_kept()
            if not self._has_copied:
                raise ValueError(
                    "the layer before it did its work in the forward pass: run backward through both, or forward again first"
                )
        x = (self._kept if top[0] is bottom[0] else bottom[0]).data.reshape(self._sizes)
        dx = bottom[0].diff.reshape(self._sizes) if propagate_down[0] else None
        dscale = self._operand_gradient(propagate_down, bottom)
        dbias = None if self._bias is None else self.gradient_of(self._bias)
        kernels.channel_affine_backward(
            top[0].diff.reshape(self._sizes), x, self._operand(bottom).data, dx, dscale, dbias
        )


@register("Bias")
class Bias(_Along):
    """y = x + bias (Caffe's Bias). bottoms: x; optionally the bias. top: as x, may be x. blob: the bias, unless it is a bottom."""

    only_launches = True

    def settings(self):
        """The layer's own parameters."""
        return self.param.bias_param

    def setup(self, bottom, top):
        self._make_operand(bottom, 0)

    def channel_map(self, then=None):
        own = None, self.blobs[0].data
        return own if then is None else kernels.compose_affine(own, then, own[1])

    def forward(self, bottom, top):
        y = top[0].data
        if top[0] is not bottom[0]:
            y[...] = bottom[0].data
        kernels.add_bias(self._operand(bottom).data, y.reshape(self._sizes))

    def backward(self, top, propagate_down, bottom):
        dbias = self._operand_gradient(propagate_down, bottom)
        if dbias is not None:
            kernels.bias_backward(top[0].diff.reshape(self._sizes), dbias)
        if propagate_down[0] and top[0] is not bottom[0]:
            bottom[0].diff[...] = top[0].diff


@register("Axpy")
class Axpy(Layer):
    """y = a * x + z with a factor for each channel of each image (Hu et al., Squeeze-and-Excitation Networks, CVPR 2018).

    bottoms: a (N, C) or (N, C, 1, 1); x and z (N, C, H, W); top: as x
    """

    only_launches = True
    bottoms = (3, 3)

    def reshape(self, bottom, top):
        a, x, z = (blob.shape for blob in bottom)
        if len(x) < 2 or z != x or math.prod(a) != math.prod(x[:2]) or a[:2] != x[:2]:
            raise ValueError(
                f"its bottoms have the shapes {a}, {x} and {z}: (N, C) and twice (N, C, H, W) are expected"
            )
        self._sizes = (1, math.prod(x[:2]), math.prod(x[2:]))
        top[0].reshape(*x)

    def forward(self, bottom, top):
        a, x, z = (blob.data for blob in bottom)
        y = top[0].data
        kernels.channel_affine_forward(x.reshape(self._sizes), a, None, y.reshape(self._sizes))
        kernels.scale_add(z, 1, y, 1)

    def backward(self, top, propagate_down, bottom):
        (a, x, _), dy = (blob.data for blob in bottom), top[0].diff
        da, dx, dz = (blob.diff if wanted else None for blob, wanted in zip(bottom, propagate_down, strict=True))
        if da is not None:
            da[...] = 0
        if da is not None or dx is not None:
            rows = [array if array is None else array.reshape(self._sizes) for array in (dy, x, dx)]
            kernels.channel_affine_backward(rows[0], rows[1], a, rows[2], da)
        if dz is not None:
            dz[...] = dy
