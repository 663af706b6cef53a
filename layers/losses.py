"""Losses beside the softmax: Euclidean, L1, smooth L1, sigmoid cross entropy, hinge, multinomial logistic, contrastive. A batch of no items costs 0."""

import numpy as np

from .. import kernels
from ..blob import Blob
from ..proto import caffe_pb2
from .layer import Layer, register
from .loss_divisor import LossDivisor


class _DifferenceLoss(Layer):
    """A loss of the differences of its first two bottoms, a - b; further ones weigh them. forward writes `_slope`, the gradient by a of N losses."""

    is_loss = True

    def setup(self, bottom, top):
        self._slope = Blob(dtype=self.dtype)

    def buffers(self):
        return [self._slope]

    def reshape(self, bottom, top):
        shapes = [blob.shape for blob in bottom]
        if not shapes[0] or len({(blob.count, blob.shape[:1]) for blob in bottom}) > 1:
            raise ValueError(
                f"its bottoms have the shapes {shapes}: they must hold the same number of items and values"
            )
        self._slope.reshape(*shapes[0])
        top[0].reshape()

    def backward(self, top, propagate_down, bottom):
        weight = float(top[0].host_diff) / max(1, bottom[0].shape[0])
        for blob, sign, wanted in zip(bottom[:2], (1, -1), propagate_down, strict=False):
            if wanted:
                kernels.scale_add(self._slope.data, sign * weight, blob.diff, 0)


@register("EuclideanLoss")
class EuclideanLoss(_DifferenceLoss):
    """The sum of (a - b)^2 over 2 N (Caffe's EuclideanLoss). bottoms: a and b of N items and equal counts, both with gradients; top: ()."""

    bottoms = (2, 2)

    def forward(self, bottom, top):
        difference = self._slope.data
        kernels.scale_add(bottom[0].data, 1, difference, 0)
        kernels.scale_add(bottom[1].data, -1, difference, 1)
        top[0].host_data[...] = kernels.sum_of_squares(difference) / (2 * max(1, bottom[0].shape[0]))


@register("L1Loss")
class L1Loss(_DifferenceLoss):
    """The sum of |a - b| over N (L1Loss of NVIDIA's Caffe, for DIGITS). bottoms: a and b of N items and equal counts, both with gradients; top: ()."""

    bottoms = (2, 2)

    def setup(self, bottom, top):
        super().setup(bottom, top)
        self._sums = Blob(dtype=self.dtype)

    def buffers(self):
        return [self._slope, self._sums]

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self._sums.reshape(bottom[0].shape[0])

    def forward(self, bottom, top):
        difference, items = self._slope.data, max(1, bottom[0].shape[0])
        kernels.scale_add(bottom[0].data, 1, difference, 0)
        kernels.scale_add(bottom[1].data, -1, difference, 1)
        if difference.size:
            kernels.reduce_rows(difference.reshape(items, -1), kernels.ASUM, 1, self._sums.data)
        else:
            self._sums.host_data[...] = 0
        top[0].host_data[...] = self._sums.host_data.sum(dtype=np.float64) / items

    def backward(self, top, propagate_down, bottom):
        self._sums.host_data[...] = float(top[0].host_diff) / max(1, bottom[0].shape[0])
        for blob, sign, wanted in zip(bottom, (1, -1), propagate_down, strict=True):
            if wanted and blob.count:
                rows = (blob.shape[0], -1)
                kernels.reduce_rows_backward(
                    self._sums.data, self._slope.data.reshape(rows), kernels.ASUM, sign, blob.diff.reshape(rows)
                )


@register("SmoothL1Loss")
class SmoothL1Loss(_DifferenceLoss):
    """The sum of w_out f(w_in (a - b)) over N, f smooth L1 (Girshick, Fast R-CNN, ICCV 2015, section 2.3; layer of its Caffe).

    bottoms: a and b (N, ...), both with gradients; optionally the weights w_in, and w_out, as many each; top: the loss, ()
    f(d) = (sigma d)^2 / 2 where |d| < 1 / sigma^2, |d| - 1 / (2 sigma^2) beyond
    """

    bottoms = (2, 4)
    without_gradient = (2, 3)

    def setup(self, bottom, top):
        super().setup(bottom, top)
        if not self.param.smooth_l1_loss_param.sigma > 0:
            raise ValueError(f"sigma must be above 0, not {self.param.smooth_l1_loss_param.sigma:g}")

    def forward(self, bottom, top):
        arrays, sigma = [blob.data for blob in bottom], self.param.smooth_l1_loss_param.sigma
        loss = kernels.smooth_l1(*arrays[:2], sigma, self._slope.data, *arrays[2:])
        top[0].host_data[...] = loss / max(1, bottom[0].shape[0])


@register("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(Layer):
    """The sum of -t ln p - (1 - t) ln(1 - p), p = sigmoid(x), over a divisor (Caffe's SigmoidCrossEntropyLoss).

    bottoms: scores x (N, ...); targets t of the same count, 0 to 1; top: the loss, ()
    loss_param: ignore_label leaves targets out; normalization divides by BATCH_SIZE (N, the default), VALID (counted targets, at least 1),
    FULL (all of them) or NONE.
    """

    bottoms = (2, 2)
    is_loss = True
    without_gradient = (1,)

    def setup(self, bottom, top):
        param = self.param.loss_param
        self.ignored = param.ignore_label if param.HasField("ignore_label") else None
        self._divides_by = LossDivisor(param, caffe_pb2.LossParameter.BATCH_SIZE)

    def reshape(self, bottom, top):
        if not bottom[0].shape or bottom[0].count != bottom[1].count:
            raise ValueError(
                f"scores {bottom[0].shape} and targets {bottom[1].shape}: there must be one target for each score"
            )
        top[0].reshape()

    def forward(self, bottom, top):
        loss, counted = kernels.sigmoid_loss(bottom[0].data, bottom[1].data, self.ignored)
        self._divisor = self._divides_by.of(counted, bottom[0].count, bottom[0].shape[0])
        top[0].host_data[...] = loss / self._divisor

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            weight = float(top[0].host_diff) / self._divisor
            kernels.sigmoid_loss_backward(bottom[0].data, bottom[1].data, self.ignored, weight, bottom[0].diff)


@register("HingeLoss")
class HingeLoss(Layer):
    """One-against-all margins max(0, 1 - x) for the label's class and max(0, 1 + x) for the others, summed (norm L1, the default) or
    squared and summed (L2), over N (Caffe's HingeLoss). bottoms: scores (N, C, ...), labels of N values; top: the loss, ()."""

    bottoms = (2, 2)
    is_loss = True
    without_gradient = (1,)

    def setup(self, bottom, top):
        self._squared = self.param.hinge_loss_param.norm == caffe_pb2.HingeLossParameter.L2
        self._margins = Blob(dtype=self.dtype)

    def buffers(self):
        return [self._margins]

    def reshape(self, bottom, top):
        scores, labels = bottom
        if len(scores.shape) < 2 or labels.count != scores.shape[0]:
            raise ValueError(
                f"scores {scores.shape} and labels {labels.shape}: there must be one label an item, scores (N, C, ...)"
            )
        self._margins.reshape(scores.shape[0], scores.count // max(1, scores.shape[0]))
        top[0].reshape()

    def forward(self, bottom, top):
        x = bottom[0].data.reshape(self._margins.shape)
        loss = kernels.hinge(x, bottom[1].data, self._squared, self._margins.data)
        top[0].host_data[...] = loss / max(1, bottom[0].shape[0])

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            weight = float(top[0].host_diff) / max(1, bottom[0].shape[0])
            kernels.hinge_backward(self._margins.data, self._squared, weight, bottom[0].diff)


@register("MultinomialLogisticLoss")
class MultinomialLogisticLoss(Layer):
    """The mean of -ln(probability of the label), the probabilities given (Caffe's MultinomialLogisticLoss; 1e-20 is the least).

    bottoms: probabilities (N, C, ...), labels of N values; top: the loss, (). SoftmaxWithLoss computes better from scores.
    """

    bottoms = (2, 2)
    is_loss = True
    without_gradient = (1,)

    def reshape(self, bottom, top):
        p, labels = bottom
        if len(p.shape) < 2 or labels.count != p.shape[0]:
            raise ValueError(
                f"probabilities {p.shape} and labels {labels.shape}: there must be one label an item, probabilities (N, C, ...)"
            )
        self._sizes = (p.shape[0], p.count // max(1, p.shape[0]))
        top[0].reshape()

    def forward(self, bottom, top):
        loss = kernels.multinomial_loss(bottom[0].data.reshape(self._sizes), bottom[1].data)
        top[0].host_data[...] = loss / max(1, self._sizes[0])

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            weight = float(top[0].host_diff) / max(1, self._sizes[0])
            p, dp = bottom[0].data.reshape(self._sizes), bottom[0].diff.reshape(self._sizes)
            kernels.multinomial_loss_backward(p, bottom[1].data, weight, dp)


@register("ContrastiveLoss")
class ContrastiveLoss(Layer):
    """Over 2 N pairs of features: |a - b|^2 where they are similar, else max(0, margin - |a - b|)^2 (Caffe's ContrastiveLoss;
    Hadsell et al. 2006); legacy_version: max(0, margin - |a - b|^2).

    bottoms: a and b (N, ...), N labels, not 0 where a pair is similar; top: the loss, ()
    """

    bottoms = (3, 3)
    is_loss = True
    without_gradient = (2,)

    def setup(self, bottom, top):
        self._difference, self._squared = Blob(dtype=self.dtype), Blob(dtype=self.dtype)

    def buffers(self):
        return [self._difference, self._squared]

    def reshape(self, bottom, top):
        shapes = [blob.shape for blob in bottom]
        if not shapes[0] or shapes[0] != shapes[1] or bottom[2].count != shapes[0][0]:
            raise ValueError(f"its bottoms have the shapes {shapes}: two alike (N, ...) and N labels are expected")
        self._difference.reshape(shapes[0][0], bottom[0].count // max(1, shapes[0][0]))
        self._squared.reshape(shapes[0][0])
        top[0].reshape()

    def forward(self, bottom, top):
        param, size = self.param.contrastive_loss_param, self._difference.shape
        a, b = bottom[0].data.reshape(size), bottom[1].data.reshape(size)
        kept = (self._difference.data, self._squared.data)
        loss = kernels.contrastive(a, b, bottom[2].data, param.margin, param.legacy_version, *kept)
        top[0].host_data[...] = loss / (2 * max(1, size[0]))

    def backward(self, top, propagate_down, bottom):
        param, kept = self.param.contrastive_loss_param, (self._difference.data, self._squared.data)
        for blob, sign, wanted in zip(bottom[:2], (1, -1), propagate_down, strict=False):
            if wanted:
                weight = sign * float(top[0].host_diff) / max(1, blob.shape[0])
                kernels.contrastive_backward(
                    *kept,
                    bottom[2].data,
                    param.margin,
                    param.legacy_version,
                    weight,
                    blob.diff.reshape(self._difference.shape),
                )
