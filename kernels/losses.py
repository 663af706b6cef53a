"""Losses beside the softmax: sigmoid cross entropy, hinge, multinomial logistic, contrastive and smooth L1."""

import numpy as np

from .device import array_module, launch, launch_elementwise
from .labels import ignoring, strange_label

_RUN = 1 << 12


def sigmoid_loss(x, targets, ignored: int | None) -> tuple[float, int]:
    """The sum of -t ln p - (1 - t) ln(1 - p), p = sigmoid(x), over the targets t that are not ignored, and their number."""
    xp, runs = array_module(x), -(-x.size // _RUN)
    loss, counted = xp.empty(runs), xp.empty(runs, np.int32)
    launch("sigmoid_loss_forward", runs, _RUN, x, targets, loss, counted, *ignoring(ignored), x.size, _RUN)
    return float(loss.sum()), int(counted.sum())


def sigmoid_loss_backward(x, targets, ignored: int | None, weight: float, out) -> None:
    """out = weight * (sigmoid(x) - t), 0 where the target is ignored."""
    launch_elementwise("sigmoid_loss_backward", x.size, x, targets, out, weight, *ignoring(ignored), x.size)


def hinge(x, labels, squared: bool, signed_margins) -> float:
    """The sum of the margins (or their squares) of one-against-all classifiers; x and signed_margins (N, C), labels N values.

    Raises LabelError for a label that is no class.
    """
    xp = array_module(x)
    loss, strange = xp.empty(x.shape[0]), xp.empty(x.shape[0], np.int32)
    launch("hinge_forward", x.shape[0], x.shape[1], x, labels, signed_margins, loss, strange, int(squared), *x.shape)
    _require_classes(labels, strange, x.shape[1])
    return float(loss.sum())


def _require_classes(labels, strange, classes: int) -> None:
    if int(strange.sum()):
        raise strange_label(labels, labels.size, classes)


def hinge_backward(signed_margins, squared: bool, weight: float, out) -> None:
    """out = weight * the gradient of `hinge`."""
    launch_elementwise("hinge_backward", out.size, signed_margins, out, weight, int(squared), out.size)


def multinomial_loss(p, labels) -> float:
    """The sum of -ln of each label's probability, p (N, C), labels N values. Raises LabelError for a label that is no class."""
    xp = array_module(p)
    loss, strange = xp.empty(p.shape[0]), xp.empty(p.shape[0], np.int32)
    launch("multinomial_forward", p.shape[0], 1, p, labels, loss, strange, *p.shape)
    _require_classes(labels, strange, p.shape[1])
    return float(loss.sum())


def multinomial_loss_backward(p, labels, weight: float, out) -> None:
    """out = weight * the gradient of `multinomial_loss`."""
    launch("multinomial_backward", p.shape[0], p.shape[1], p, labels, out, weight, *p.shape)


def contrastive(a, b, similar, margin: float, legacy: bool, difference, squared) -> float:
    """The sum over pairs of |a - b|^2 where similar, else of max(0, margin - |a - b|)^2 (legacy: max(0, margin - |a - b|^2)).

    a, b, difference (N, size), similar and squared N values; difference = a - b and squared = |a - b|^2 are for backward.
    """
    loss = array_module(a).empty(a.shape[0])
    sizes = (margin, int(legacy), *a.shape)
    launch("contrastive_forward", a.shape[0], a.shape[1], a, b, similar, difference, squared, loss, *sizes)
    return float(loss.sum())


def contrastive_backward(difference, squared, similar, margin: float, legacy: bool, weight: float, out) -> None:
    """out = weight * the gradient of half of `contrastive` by a; that by b is its negative."""
    sizes = (weight, margin, int(legacy), *difference.shape)
    launch("contrastive_backward", *difference.shape, difference, squared, similar, out, *sizes)


def smooth_l1(a, b, sigma: float, slope, inner=None, outer=None) -> float:
    """The sum of outer * f(inner * (a - b)), all of equal counts; slope = its gradient by a.

    f(d) = (sigma d)^2 / 2 where |d| < 1 / sigma^2, |d| - 1 / (2 sigma^2) beyond; without weights they are 1.
    """
    runs = -(-a.size // _RUN)
    loss = array_module(a).empty(runs)
    arrays = (a, b, inner, outer, slope, loss)
    launch("smooth_l1_forward", runs, _RUN, *arrays, sigma * sigma, a.size, _RUN)
    return float(loss.sum())
