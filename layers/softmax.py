"""Softmax, and its losses over labels."""

import math

from .. import kernels
from ..blob import Blob, read_blob
from ..proto import caffe_pb2
from .layer import Layer, register
from .loss_divisor import LossDivisor


@register("Softmax")
class Softmax(Layer):
    """Probabilities over one axis (Caffe's Softmax). bottom and top: any shape, may be one blob; softmax_param.axis, 1 by default."""

    only_launches = True
    in_place = True

    def reshape(self, bottom, top):
        self.axis = self.canonical_axis(self.param.softmax_param.axis, bottom[0])
        if top[0] is not bottom[0]:
            top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        kernels.softmax(bottom[0].data, self.axis, top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            kernels.softmax_backward(top[0].diff, top[0].data, self.axis, bottom[0].diff)


def require_labels(bottom, axis: int) -> None:
    """Raise ValueError unless the first bottom has classes along `axis`, and the second one label for each place of it."""
    scores, labels = bottom[0].shape, bottom[1]
    if len(scores) <= axis or scores[axis] < 1:
        raise ValueError(f"scores {scores} have no classes along axis {axis}")
    places = bottom[0].count // scores[axis]
    if labels.count != places:
        raise ValueError(
            f"scores {scores} have {places} places, labels {labels.shape} are {labels.count}: there must be one label a place"
        )


@register("SoftmaxWithLoss")
class SoftmaxWithLoss(Layer):
    """The mean of -log(probability of the label), multinomial over one axis (Caffe's SoftmaxWithLoss).

    bottoms: scores (N, C, ...), labels (N, 1, ...) or any shape with one label for each place
    tops:    the loss, (); optionally the probabilities, shaped as the scores, without a gradient
    loss_param: ignore_label leaves places out; normalization divides by VALID (counted places, at least 1), FULL, BATCH_SIZE or NONE.
    weight_by_label_freqs (SegNet): what a place adds is times the class_weighting of its label; it is not divided by the weights.
    """

    bottoms = (2, 2)
    tops = (1, 2)
    is_loss = True
    without_gradient = (1,)

    def setup(self, bottom, top):
        param = self.param.loss_param
        self.ignored = param.ignore_label if param.HasField("ignore_label") else None
        self._divides_by = LossDivisor(param, caffe_pb2.LossParameter.VALID)
        self._weights = None
        if param.weight_by_label_freqs:
            self._weights = Blob((len(param.class_weighting),), self.dtype)
            self._weights.host_data[...] = param.class_weighting
        self._probabilities = Blob(dtype=self.dtype)

    def reshape(self, bottom, top):
        self.axis = self.canonical_axis(self._axis(), bottom[0])
        require_labels(bottom, self.axis)
        classes = bottom[0].shape[self.axis]
        if self._weights and self._weights.count != classes:
            raise ValueError(
                f"has {self._weights.count} class_weighting for {classes} classes: weight_by_label_freqs needs one for each"
            )
        top[0].reshape()
        self._probabilities.reshape(*bottom[0].shape)
        for blob in top[1:]:
            blob.reshape(*bottom[0].shape)
            blob.share_data(self._probabilities)

    def _axis(self) -> int:
        return self.param.softmax_param.axis

    def forward(self, bottom, top):
        scores, labels = bottom[0].data, bottom[1].data
        probabilities, weights = self._probabilities.data, self._weights.data if self._weights else None
        loss, counted = kernels.softmax_loss(scores, labels, self.axis, self.ignored, probabilities, weights)
        self._divisor = self._divisor_of(bottom, counted)
        top[0].host_data[...] = loss / self._divisor

    def _divisor_of(self, bottom, counted: int) -> int:
        return self._divides_by.of(counted, bottom[1].count, math.prod(bottom[0].shape[: self.axis]))

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            weight = float(top[0].host_diff) / self._divisor
            probabilities, labels = self._probabilities.data, bottom[1].data
            ignored, weights = self.ignored, self._weights.data if self._weights else None
            kernels.softmax_loss_backward(probabilities, labels, self.axis, ignored, weight, bottom[0].diff, weights)

    def buffers(self):
        return [self._probabilities]


@register("InfogainLoss")
class InfogainLoss(SoftmaxWithLoss):
    """The mean of -H[label] . log(probabilities), the softmax over one axis of scores of C classes (Caffe's InfogainLoss).

    With the unit matrix it is SoftmaxWithLoss; other rows weigh classes, or say which mistakes cost less. 1e-20 is the least probability.
    bottoms: scores (N, C, ...), labels as SoftmaxWithLoss takes them; optionally H, any shape of C * C values, without a gradient
    tops:    the loss, (); optionally the probabilities, shaped as the scores, without a gradient
    infogain_loss_param: axis (1 by default); source, the file of H where there is no third bottom. loss_param: as SoftmaxWithLoss's.
    """

    bottoms = (2, 3)
    without_gradient = (1, 2)

    def setup(self, bottom, top):
        if self.param.loss_param.HasField("normalize"):
            raise ValueError("knows no loss_param.normalize: write normalization: VALID for true, BATCH_SIZE for false")
        if self.param.loss_param.weight_by_label_freqs:
            raise ValueError("its matrix weighs the classes: loss_param.weight_by_label_freqs is SoftmaxWithLoss's")
        super().setup(bottom, top)
        self._read = None if len(bottom) > 2 else self._read_gain()

    def _read_gain(self) -> Blob:
        source = self.param.infogain_loss_param.source
        if not source:
            raise ValueError("needs its matrix: name a file in infogain_loss_param.source, or give a third bottom")
        values = read_blob(self.find(source), "a matrix with a row for each class")
        gain = Blob(values.shape, self.dtype)
        gain.host_data[...] = values
        return gain

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        classes = bottom[0].shape[self.axis]
        gain = bottom[2] if self._read is None else self._read
        if gain.count != classes * classes:
            given = "third bottom" if self._read is None else f"file {self.param.infogain_loss_param.source}"
            raise ValueError(
                f"its {given} has the shape {gain.shape}: a matrix of {classes} x {classes} is expected, a row for each class"
            )

    def _axis(self):
        return self.param.infogain_loss_param.axis

    def _gain(self, bottom):
        gain, classes = bottom[2] if self._read is None else self._read, bottom[0].shape[self.axis]
        return gain.data.reshape(classes, classes)

    def forward(self, bottom, top):
        probabilities, gain = self._probabilities.data, self._gain(bottom)
        kernels.softmax(bottom[0].data, self.axis, probabilities)
        loss, counted = kernels.infogain_loss(probabilities, bottom[1].data, gain, self.axis, self.ignored)
        self._divisor = self._divisor_of(bottom, counted)
        top[0].host_data[...] = loss / self._divisor

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            weight = float(top[0].host_diff) / self._divisor
            arrays = (self._probabilities.data, bottom[1].data, self._gain(bottom))
            kernels.infogain_loss_backward(*arrays, self.axis, self.ignored, weight, bottom[0].diff)
