"""Eltwise: the sum, product or maximum of blobs of one shape."""

from .. import kernels
from ..proto import caffe_pb2
from .layer import SAME_PLACES, Layer, register


@register("Eltwise")
class Eltwise(Layer):
    """Caffe's Eltwise. bottoms: one or more of one shape; top: the same shape.

    SUM takes a `coeff` per bottom; PROD's gradient multiplies the others (stable_prod_grad) or divides y by the bottom;
    MAX: where bottoms are equal the second has the gradient before the first, and both before later ones, as in Caffe on a CPU.
    """

    only_launches = True
    bottoms = (1, float("inf"))  # Caffe's from two; FlowNet scales one

    def setup(self, bottom, top):
        param = self.param.eltwise_param
        self.operation = param.operation
        self.coefficients = list(param.coeff) or [1.0] * len(bottom)
        operations = caffe_pb2.EltwiseParameter
        if len(self.coefficients) != len(bottom):
            raise ValueError(f"has {len(bottom)} bottoms and {len(self.coefficients)} coeff: give one for each or none")
        if param.coeff and self.operation != operations.SUM:
            raise ValueError("coeff goes with operation: SUM only")
        steps = {
            operations.SUM: (self._sum, self._sum_backward),
            operations.PROD: (self._product, self._product_backward),
            operations.MAX: (self._maximum, self._maximum_backward),
        }
        self._forward, self._backward = steps[self.operation]
        self.sums = self.operation == operations.SUM and len(bottom) > 1
        self.needs_bottoms_backward = self.operation == operations.PROD
        self._which = None

    def reshape(self, bottom, top):
        for blob in bottom[1:]:
            if blob.shape != bottom[0].shape:
                raise ValueError(f"its bottoms have the shapes {[b.shape for b in bottom]}: they must be the same")
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top, after=None):
        """after (kernels.After): the work of a ReLU behind a SUM, where the net lets it be done here."""
        values, y = [blob.data for blob in bottom], top[0].data
        if after is None:
            self._forward(values, y)
        else:
            self._sum(values, y, after.rectified)

    def backward(self, top, propagate_down, bottom):
        for number, wanted in enumerate(propagate_down):
            if wanted:
                self._backward(number, bottom, top[0])

    def _sum(self, values, y, rectified=False):
        total, factor, last = values[0], self.coefficients[0], len(values) - 1
        if not last:
            kernels.scale_add(total, factor, y, 0)
        for number in range(1, len(values)):
            kernels.weighted_sum(
                total, values[number], factor, self.coefficients[number], y, rectified and number == last
            )
            total, factor = y, 1

    def _sum_backward(self, number, bottom, top):
        kernels.scale_add(top.diff, self.coefficients[number], bottom[number].diff, 0)

    def _product(self, values, y):
        if len(values) == 1:
            kernels.scale_add(values[0], 1, y, 0)
        else:
            kernels.multiply(values[0], values[1], y)
        for x in values[2:]:
            kernels.multiply(x, y, y)

    def _product_backward(self, number, bottom, top):
        if not self.param.eltwise_param.stable_prod_grad:
            kernels.divide_multiply(top.data, bottom[number].data, top.diff, bottom[number].diff)
            return
        gradient = bottom[number].diff
        kernels.scale_add(top.diff, 1, gradient, 0)
        for other, blob in enumerate(bottom):
            if other != number:
                kernels.multiply(blob.data, gradient, gradient)

    def _maximum(self, values, y):
        self._which = kernels.array_module(y).empty(y.shape, "int32")
        for number, x in enumerate(values):
            kernels.maximum(x, number, y, self._which)

    def _maximum_backward(self, number, bottom, top):
        kernels.maximum_backward(top.diff, self._which, number, bottom[number].diff)

    def coordinate_map(self):
        return SAME_PLACES
