"""Layers that take some items of a batch: BatchReindex, Filter."""

import math

from .. import kernels
from ..blob import Blob
from .layer import Layer, register


def _rows(blob: Blob) -> tuple[int, int]:
    """(items, values of an item)."""
    return blob.shape[0], math.prod(blob.shape[1:])


def _take(bottom: Blob, numbers, top: Blob, remedy: str) -> None:
    kernels.embed(numbers, bottom.data.reshape(_rows(bottom)), top.data.reshape(_rows(top)), remedy)


def _give_back(top: Blob, numbers, bottom: Blob) -> None:
    gradient = bottom.diff.reshape(_rows(bottom))
    gradient[...] = 0
    kernels.embed_backward(top.diff.reshape(_rows(top)), numbers, gradient)


@register("BatchReindex")
class BatchReindex(Layer):
    """Items of a batch in another order, some of them never or more than once (Caffe's BatchReindex).

    bottoms: x (N, ...); numbers 0 to N - 1 of items, (M,), without a gradient; top: (M, ...)
    The gradients of an item that is named more than once are summed in one order. forward raises ValueError for a number that is no item.
    """

    bottoms = (2, 2)
    without_gradient = (1,)

    def reshape(self, bottom, top):
        x, numbers = (blob.shape for blob in bottom)
        if not x or len(numbers) != 1:
            raise ValueError(
                f"its bottoms have the shapes {x} and {numbers}: items (N, ...) and their numbers (M,) are expected"
            )
        top[0].reshape(*numbers, *x[1:])

    def forward(self, bottom, top):
        _take(bottom[0], bottom[1].data, top[0], "the second bottom is to name items of the first")

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            _give_back(top[0], bottom[1].data, bottom[0])


@register("Filter")
class Filter(Layer):
    """The items whose selector is not 0, in their order (Caffe's Filter).

    bottoms: any number of (N, ...), and last the selector (N, 1, ...), without a gradient; tops: one for each bottom but the last, (M, ...)
    for M selected items, and M may be 0. Only forward knows M: until then tops have the shapes for all N. Items left out get a gradient of 0.
    """

    bottoms = (2, float("inf"))
    tops = (1, float("inf"))

    def setup(self, bottom, top):
        if len(top) != len(bottom) - 1:
            raise ValueError(
                f"makes a top for each bottom but the last, the selector: {len(bottom) - 1} for {len(bottom)} bottoms, not {len(top)}"
            )
        self.without_gradient = (len(top),)
        self._numbers = Blob(dtype=self.dtype)

    def reshape(self, bottom, top):
        *items, selector = (blob.shape for blob in bottom)
        if not selector or math.prod(selector[1:]) != 1:
            raise ValueError(
                f"its last bottom, the selector, has the shape {selector}: one value for each item is expected, (N, 1, ...)"
            )
        for shape, blob in zip(items, top, strict=True):
            if shape[:1] != selector[:1]:
                raise ValueError(
                    f"a bottom of shape {shape} and a selector of {selector}: they must have the same number of items"
                )
            blob.reshape(*shape)

    def forward(self, bottom, top):
        chosen = kernels.places_not_zero(bottom[-1].fetched_data)
        self._numbers.reshape(chosen.size)
        self._numbers.host_data_to_fill[...] = chosen
        for below, above in zip(bottom, top, strict=False):
            above.reshape(chosen.size, *below.shape[1:])
            _take(below, self._numbers.data, above, "")

    def backward(self, top, propagate_down, bottom):
        for below, above, wanted in zip(bottom, top, propagate_down, strict=False):
            if wanted:
                _give_back(above, self._numbers.data, below)

    def buffers(self):
        return [self._numbers]
