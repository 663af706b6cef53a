"""Embed: a learned row for each number."""

from .. import kernels
from .layer import Layer, register


@register("Embed")
class Embed(Layer):
    """Rows of a table by whole numbers: InnerProduct of one-hot vectors (Caffe's Embed).

    bottom: numbers 0 to input_dim - 1, any shape; top: the shape with num_output after it
    blobs:  weights (input_dim, num_output); bias (num_output,) unless bias_term is false
    """

    without_gradient = (0,)

    def setup(self, bottom, top):
        param = self.param.embed_param
        if param.num_output < 1 or param.input_dim < 1:
            raise ValueError("embed_param needs num_output and input_dim of at least 1")
        self.add_parameter((param.input_dim, param.num_output), param.weight_filler)
        if param.bias_term:
            self.add_parameter((param.num_output,), param.bias_filler)

    def reshape(self, bottom, top):
        outputs = self.param.embed_param.num_output
        top[0].reshape(*bottom[0].shape, outputs)
        self._sizes = (bottom[0].count, outputs)

    def forward(self, bottom, top):
        y = top[0].data.reshape(self._sizes)
        kernels.embed(bottom[0].data, self.blobs[0].data, y)
        if len(self.blobs) > 1:
            kernels.add_bias(self.blobs[1].data, y)

    def backward(self, top, propagate_down, bottom):
        dy = top[0].diff.reshape(self._sizes)
        if self.gradient_of(0) is not None:
            kernels.embed_backward(dy, bottom[0].data, self.gradient_of(0))
        if self.gradient_of(1) is not None:
            kernels.bias_backward(dy, self.gradient_of(1))
