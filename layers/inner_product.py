"""InnerProduct, the fully connected layer."""

import math

from .. import kernels
from ..kernels import Geometry
from .layer import Layer, register


@register("InnerProduct")
class InnerProduct(Layer):
    """y = x W^T + b over all axes from `axis` (1 by default) on (Caffe's InnerProduct).

    bottom: x (N, ...), flattened to (M, K); top: y (N, num_output)
    blobs:  weights (num_output, K), or (K, num_output) with transpose; bias (num_output,) unless bias_term is false
    """

    only_launches = True

    def setup(self, bottom, top):
        param = self.param.inner_product_param
        if param.num_output < 1:
            raise ValueError("inner_product_param.num_output must be at least 1")
        self.outputs = param.num_output
        axis = self.canonical_axis(param.axis, bottom[0])
        self.inputs = math.prod(bottom[0].shape[axis:])
        shape = (self.inputs, self.outputs) if param.transpose else (self.outputs, self.inputs)
        self.add_parameter(shape, param.weight_filler)
        if param.bias_term:
            self.add_parameter((self.outputs,), param.bias_filler)

    def reshape(self, bottom, top):
        axis = self.canonical_axis(self.param.inner_product_param.axis, bottom[0])
        if math.prod(bottom[0].shape[axis:]) != self.inputs:
            raise ValueError(
                f"was made for {self.inputs} values from axis {axis} on; its bottom now has the shape {bottom[0].shape}"
            )
        self.rows = math.prod(bottom[0].shape[:axis])
        top[0].reshape(*bottom[0].shape[:axis], self.outputs)

    def multiply_adds(self, bottom, top):
        return self.rows * self.blobs[0].count

    def _weights(self, array):
        """As (num_output, K)."""
        return array.T if self.param.inner_product_param.transpose else array

    def _as_windows(self, *arrays):
        """How the tensor cores take the layer: a 1x1 convolution (with transpose a deconvolution) over maps of one place."""
        maps = (None if array is None else array.reshape(*array.shape, 1, 1) for array in arrays)
        return *maps, Geometry((1, 1), precision=self.precision)

    def forward(self, bottom, top):
        x, y = bottom[0].data.reshape(self.rows, self.inputs), top[0].data.reshape(self.rows, self.outputs)
        weights, bias = self.blobs[0].data, self.blobs[1].data if len(self.blobs) > 1 else None
        if self.precision != "FLOAT32":
            forward = kernels.deconv_forward if self.param.inner_product_param.transpose else kernels.conv_forward
            x, y, weights, geometry = self._as_windows(x, y, weights)
            forward(x, weights, bias, geometry, y)
            return
        kernels.matrix_product(x, self._weights(weights).T, y)
        kernels.add_bias(bias, y)

    def backward(self, top, propagate_down, bottom):
        dy, x = top[0].diff.reshape(self.rows, self.outputs), bottom[0].data.reshape(self.rows, self.inputs)
        dx = bottom[0].diff.reshape(self.rows, self.inputs) if propagate_down[0] else None
        gradient, bias_gradient = self.gradient_of(0), self.gradient_of(1)
        transpose = self.param.inner_product_param.transpose
        if self.precision != "FLOAT32":
            backward = kernels.deconv_backward if transpose else kernels.conv_backward
            x, weights, dy, dx, gradient, geometry = self._as_windows(x, self.blobs[0].data, dy, dx, gradient)
            backward(x, weights, dy, geometry, dx, gradient, bias_gradient)
            return
        if gradient is not None:
            a, b = (x, dy) if transpose else (dy, x)
            kernels.add_product(a.T, b, gradient)
        if bias_gradient is not None:
            kernels.bias_backward(dy, bias_gradient)
        if dx is not None:
            kernels.matrix_product(dy, self._weights(self.blobs[0].data), dx)
