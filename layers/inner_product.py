"""InnerProduct, the fully connected layer."""

import math

from .. import kernels
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

    def forward(self, bottom, top):
        x, y = bottom[0].data.reshape(self.rows, self.inputs), top[0].data.reshape(self.rows, self.outputs)
        kernels.matrix_product(x, self._weights(self.blobs[0].data).T, y)
        kernels.add_bias(self.blobs[1].data if len(self.blobs) > 1 else None, y)

    def backward(self, top, propagate_down, bottom):
        dy, x = top[0].diff.reshape(self.rows, self.outputs), bottom[0].data.reshape(self.rows, self.inputs)
        if self.gradient_of(0) is not None:
            gradient = self.gradient_of(0)
            a, b = (x, dy) if self.param.inner_product_param.transpose else (dy, x)
            kernels.add_product(a.T, b, gradient)
        if self.gradient_of(1) is not None:
            kernels.bias_backward(dy, self.gradient_of(1))
        if propagate_down[0]:
            dx = bottom[0].diff.reshape(self.rows, self.inputs)
            kernels.matrix_product(dy, self._weights(self.blobs[0].data), dx)
