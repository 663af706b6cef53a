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

    def forward(self, bottom, top):
        x, y = bottom[0].data.reshape(self.rows, self.inputs), top[0].data.reshape(self.rows, self.outputs)
        bias = self.blobs[1].data if len(self.blobs) > 1 else None
        kernels.linear(x, self.blobs[0].data, bias, y, self.precision, self.param.inner_product_param.transpose)

    def backward(self, top, propagate_down, bottom):
        dy, x = top[0].diff.reshape(self.rows, self.outputs), bottom[0].data.reshape(self.rows, self.inputs)
        dx = bottom[0].diff.reshape(self.rows, self.inputs) if propagate_down[0] else None
        wanted = (dx, self.gradient_of(0), self.gradient_of(1))
        kernels.linear_backward(
            x, self.blobs[0].data, dy, *wanted, self.precision, self.param.inner_product_param.transpose
        )
