"""Softmax over one axis, its losses over labels, and whether a label is among the best scores."""

import math

import numpy as np

from .device import array_module, launch
from .labels import LabelError, check_label_files, ignoring, strange_label
from .reduction import SUM, reduce_rows

_RUN = 256  # places that one block takes


def _split(shape, axis: int) -> tuple[int, int, int]:
    """(outer, classes, inner): the sizes before, at and after the axis."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def _rows(outer: int, inner: int) -> int:
    return outer * -(-inner // _RUN)


def softmax(x, axis: int, out) -> None:
    """out = softmax of x over the axis; out may be x."""
    outer, classes, inner = _split(x.shape, axis)
    launch("softmax_forward", _rows(outer, inner), _RUN * classes, x, out, outer, classes, inner, _RUN)


def softmax_backward(dy, probabilities, axis: int, out) -> None:
    """out = the gradient of `softmax` from dy and its result."""
    outer, classes, inner = _split(dy.shape, axis)
    launch("softmax_backward", _rows(outer, inner), _RUN * classes, dy, probabilities, out, outer, classes, inner, _RUN)


def softmax_loss(x, labels, axis: int, ignored: int | None, probabilities, weights=None) -> tuple[float, int]:
    """The sum of -log(probability of the label) over the places that are not ignored, and their number.

    x and probabilities share a shape, labels have it without the axis; probabilities are written. weights (classes,): what a place of
    each label counts in the sum. Raises LabelError for a label that is neither a class nor ignored.
    """
    return _summed("softmax_loss_forward", (x, labels, probabilities, weights), axis, ignored)


def _summed(name: str, arrays, axis: int, ignored: int | None) -> tuple[float, int]:
    """What a loss kernel over scores, labels and further arrays sums up: the loss, and the places that count."""
    scores, labels, *_ = arrays
    outer, classes, inner = _split(scores.shape, axis)
    xp, rows = array_module(scores), _rows(outer, inner)
    loss, counted, strange = xp.empty(rows), xp.empty(rows, np.int32), xp.empty(rows, np.int32)
    launch(name, rows, _RUN * classes, *arrays, loss, counted, strange, *ignoring(ignored), outer, classes, inner, _RUN)
    if int(strange.sum()):
        raise _strange_label(scores, labels, classes, ignored, "loss_param")
    return float(loss.sum()), int(counted.sum())


def _strange_label(scores, labels, classes: int, ignored: int | None, settings: str) -> LabelError:
    """settings: the message of a layer that has ignore_label."""

    def remedy(label):
        if ignored is None and label == 255:
            return f"set ignore_label: 255 in {settings}"
        if ignored is None and label == classes:  # SegNet's CamVid, for one, has a last class that does not count
            return f"one class more in num_output, or ignore_label: {classes} where it does not count"
        return check_label_files(label)

    return strange_label(labels, len(scores), classes, [] if ignored is None else [ignored], remedy)


def softmax_loss_backward(
    probabilities, labels, axis: int, ignored: int | None, weight: float, out, weights=None
) -> None:
    """out = weight * (probability - [class is the label]), 0 where the label is ignored; weights: as in `softmax_loss`."""
    outer, classes, inner = _split(probabilities.shape, axis)
    arrays = (probabilities, labels, weights, out)
    launch("softmax_loss_backward", outer * classes, inner, *arrays, weight, *ignoring(ignored), outer, classes, inner)


def infogain_loss(probabilities, labels, gain, axis: int, ignored: int | None) -> tuple[float, int]:
    """The sum of -gain[label] . log(probabilities of the place) over the places that are not ignored, and their number.

    gain (classes, classes); labels have the shape of the probabilities without the axis. Raises LabelError for a label that is neither
    a class nor ignored.
    """
    return _summed("infogain_loss_forward", (probabilities, labels, gain), axis, ignored)


def infogain_loss_backward(probabilities, labels, gain, axis: int, ignored: int | None, weight: float, out) -> None:
    """out = weight * the gradient of `infogain_loss` by the scores that the probabilities are the softmax of."""
    outer, classes, inner = _split(probabilities.shape, axis)
    sums = array_module(gain).empty(classes, gain.dtype)
    reduce_rows(gain, SUM, 1, sums)
    arrays = (probabilities, labels, gain, sums, out)
    launch("infogain_loss_backward", outer * classes, inner, *arrays, weight, *ignoring(ignored), outer, classes, inner)


def rank_labels(x, labels, axis: int, top_k: int, ignored: int | None, ties_are_errors: bool):
    """An int32 array of the labels' shape: 1 where the label is among the top_k scores of x over the axis, 0 where not, -1 where ignored.

    Equal scores: every other class counts as better if ties_are_errors (Caffe's Accuracy), else only larger class indices do (the
    release's EltwiseAccuracy). Raises LabelError for a label that is neither a class nor ignored.
    """
    outer, classes, inner = _split(x.shape, axis)
    right = array_module(x).empty(labels.shape, np.int32)
    sizes = (outer, classes, inner, _RUN)
    launch(
        "rank_labels",
        _rows(outer, inner),
        _RUN * classes,
        x,
        labels,
        right,
        top_k,
        int(ties_are_errors),
        *ignoring(ignored),
        *sizes,
    )
    if int((right == -2).sum()):
        raise _strange_label(x, labels, classes, ignored, "the layer's parameters")
    return right
