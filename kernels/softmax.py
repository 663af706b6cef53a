"""Softmax over one axis, its losses over labels, and whether a label is among the best scores."""

import math

import numpy as np

from .device import array_module, launch, to_host
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
    each label counts in the sum. Raises ValueError for a label that is neither a class nor ignored.
    """
    return _summed("softmax_loss_forward", (x, labels, probabilities, weights), axis, ignored)


def _summed(name: str, arrays, axis: int, ignored: int | None) -> tuple[float, int]:
    """What a loss kernel over scores, labels and further arrays sums up: the loss, and the places that count."""
    scores, labels, *_ = arrays
    outer, classes, inner = _split(scores.shape, axis)
    xp, rows = array_module(scores), _rows(outer, inner)
    loss, counted, strange = xp.empty(rows), xp.empty(rows, np.int32), xp.empty(rows, np.int32)
    ignore = (0, -1) if ignored is None else (1, ignored)
    launch(name, rows, _RUN * classes, *arrays, loss, counted, strange, *ignore, outer, classes, inner, _RUN)
    if int(strange.sum()):
        raise ValueError(_strange_label(labels, classes, ignored))
    return float(loss.sum()), int(counted.sum())


def _strange_label(labels, classes: int, ignored: int | None) -> str:
    values = to_host(labels).ravel()
    wrong = values[~((values >= 0) & (values < classes)) & (values != ignored)]
    hint = "check num_output or the label files"
    if ignored is None and wrong[0] == 255:
        hint = "set ignore_label: 255 in loss_param"
    elif ignored is None and wrong[0] == classes:  # SegNet's CamVid, for one, has a last class that does not count
        hint = f"one class more in num_output, or ignore_label: {classes} where it does not count"
    return f"label {wrong[0]:g} is not one of the {classes} classes (0 to {classes - 1}); {hint}"


def softmax_loss_backward(
    probabilities, labels, axis: int, ignored: int | None, weight: float, out, weights=None
) -> None:
    """out = weight * (probability - [class is the label]), 0 where the label is ignored; weights: as in `softmax_loss`."""
    outer, classes, inner = _split(probabilities.shape, axis)
    ignore = (0, -1) if ignored is None else (1, ignored)
    arrays = (probabilities, labels, weights, out)
    launch("softmax_loss_backward", outer * classes, inner, *arrays, weight, *ignore, outer, classes, inner)


def infogain_loss(probabilities, labels, gain, axis: int, ignored: int | None) -> tuple[float, int]:
    """The sum of -gain[label] . log(probabilities of the place) over the places that are not ignored, and their number.

    gain (classes, classes); labels have the shape of the probabilities without the axis. Raises ValueError for a label that is neither
    a class nor ignored.
    """
    return _summed("infogain_loss_forward", (probabilities, labels, gain), axis, ignored)


def infogain_loss_backward(probabilities, labels, gain, axis: int, ignored: int | None, weight: float, out) -> None:
    """out = weight * the gradient of `infogain_loss` by the scores that the probabilities are the softmax of."""
    outer, classes, inner = _split(probabilities.shape, axis)
    sums = array_module(gain).empty(classes, gain.dtype)
    reduce_rows(gain, SUM, 1, sums)
    ignore = (0, -1) if ignored is None else (1, ignored)
    arrays = (probabilities, labels, gain, sums, out)
    launch("infogain_loss_backward", outer * classes, inner, *arrays, weight, *ignore, outer, classes, inner)


def rank_labels(x, labels, axis: int, top_k: int, ignored: int | None, ties_are_errors: bool):
    """An int32 array of the labels' shape: 1 where the label is among the top_k scores of x over the axis, 0 where not, -1 where ignored.

    Equal scores: every other class counts as better if ties_are_errors (Caffe's Accuracy), else only larger class indices do (the
    release's EltwiseAccuracy). Raises ValueError for a label that is neither a class nor ignored.
    """
    outer, classes, inner = _split(x.shape, axis)
    right = array_module(x).empty(labels.shape, np.int32)
    ignore = (0, -1) if ignored is None else (1, ignored)
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
        *ignore,
        *sizes,
    )
    if int((right == -2).sum()):
        raise ValueError(_strange_label(labels, classes, ignored).replace("loss_param", "the layer's parameters"))
    return right
