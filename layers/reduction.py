"""Reduction and ArgMax: many values into few."""

import math

from .. import kernels
from ..proto import caffe_pb2
from .layer import Layer, register

_Operation = caffe_pb2.ReductionParameter
_SUMS = {
    _Operation.SUM: kernels.SUM,
    _Operation.MEAN: kernels.SUM,
    _Operation.ASUM: kernels.ASUM,
    _Operation.SUMSQ: kernels.SUMSQ,
}


@register("Reduction")
class Reduction(Layer):
    """coeff * the SUM, ASUM (of magnitudes), SUMSQ (of squares) or MEAN over the axes from `axis` on (Caffe's Reduction).

    bottom: any shape; top: the axes before `axis` (0 by default: a single value)
    """

    def reshape(self, bottom, top):
        param, shape = self.param.reduction_param, bottom[0].shape
        axis = self.canonical_axis(param.axis, bottom[0])
        self._sizes = (math.prod(shape[:axis]), math.prod(shape[axis:]))
        self._gain = param.coeff / (max(1, self._sizes[1]) if param.operation == _Operation.MEAN else 1)
        top[0].reshape(*shape[:axis])

    def forward(self, bottom, top):
        x, sums = bottom[0].data.reshape(self._sizes), _SUMS[self.param.reduction_param.operation]
        kernels.reduce_rows(x, sums, self._gain, top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            x, dx = bottom[0].data.reshape(self._sizes), bottom[0].diff.reshape(self._sizes)
            sums = _SUMS[self.param.reduction_param.operation]
            kernels.reduce_rows_backward(top[0].diff, x, sums, self._gain, dx)


@register("ArgMax")
class ArgMax(Layer):
    """Where the top_k largest values are, largest first (Caffe's ArgMax); of equal values the larger index comes first. No gradient.

    With `axis`: along it; top: the bottom's shape with top_k there; out_max_val gives the values instead of the indices.
    Without: over each image as a whole; top: (N, 1, top_k), with out_max_val (N, 2, top_k), indices then values; 4-D bottoms (..., 1).
    """

    without_gradient = (0,)

    def reshape(self, bottom, top):
        param, shape = self.param.argmax_param, bottom[0].shape
        whole = not param.HasField("axis")
        axis = 1 if whole else self.canonical_axis(param.axis, bottom[0])
        self._shape = (shape[0], math.prod(shape[1:])) if whole else shape
        self._axis = axis
        if not 1 <= param.top_k <= self._shape[axis]:
            raise ValueError(
                f"top_k must lie between 1 and the {self._shape[axis]} values to choose from, not be {param.top_k}"
            )
        if whole:
            ones = (1,) * (max(3, len(shape)) - 3)
            top[0].reshape(shape[0], 2 if param.out_max_val else 1, param.top_k, *ones)
        else:
            top[0].reshape(*shape[:axis], param.top_k, *shape[axis + 1 :])
        self._classes, self._scores = whole or not param.out_max_val, param.out_max_val

    def forward(self, bottom, top):
        top_k, x = self.param.argmax_param.top_k, bottom[0].data.reshape(self._shape)
        kernels.best_classes(x, self._axis, top_k, top[0].data, self._classes, self._scores)

    def backward(self, top, propagate_down, bottom):
        """Nothing flows through a choice."""
