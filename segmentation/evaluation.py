"""How good a segmentation is: scores over a confusion matrix, void pixels not counted."""

from dataclasses import dataclass

import numpy as np

from .voc import VOID


def confusion(label, prediction, classes, void=VOID):
    """Count pixels by true and predicted class: (classes, classes) int64, entry [i, j] for true i predicted as j.

    label, prediction: (H, W) whole numbers; pixels labelled `void` are not counted, whatever is predicted there.
    Sum the matrices of many images before scoring. Raises ValueError where the sizes differ or a class is not in
    [0, classes).
    """
    label, prediction = np.asarray(label), np.asarray(prediction)
    if label.shape != prediction.shape:
        raise ValueError(f"the label is {_size(label)} pixels, but its prediction {_size(prediction)}")
    counted = label != void
    true, predicted = label[counted].astype(np.int64), prediction[counted].astype(np.int64)
    for what, values in (("label", true), ("prediction", predicted)):
        outside = values[(values < 0) | (values >= classes)]
        if outside.size:
            raise ValueError(f"the {what} holds class {outside[0]}, but the classes are 0 to {classes - 1}")
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True)
class Scores:
    """The usual segmentation scores, shares from 0 to 1; NaN where nothing was counted.

    iou: (K,) float64, NaN for a class that is neither true nor predicted anywhere; the means leave such classes out.
    """

    iou: np.ndarray
    mean_iou: float
    pixel_accuracy: float
    mean_accuracy: float
    frequency_weighted_iou: float


def scores(matrix):
    """Scores of a confusion matrix (K, K), named and defined as in the FCN paper (Long et al., 2015, section 5)."""
    matrix = np.asarray(matrix, np.float64)
    right, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    iou = _ratio(right, true + predicted - right)
    accuracy = _ratio(right, true)
    return Scores(
        iou=iou,
        mean_iou=_mean(iou),
        pixel_accuracy=float(_ratio(right.sum(), true.sum())),
        mean_accuracy=_mean(accuracy),
        frequency_weighted_iou=float(_ratio((true * np.nan_to_num(iou)).sum(), true.sum())),
    )


def table(matrix, names):
    """A confusion matrix (K, K) as text: a line per class with its IoU and share of true pixels, then the other scores."""
    if len(names) != len(matrix):
        raise ValueError(f"{len(names)} class names for {len(matrix)} classes")
    result, share = scores(matrix), _ratio(matrix.sum(axis=1), matrix.sum())
    width = max(map(len, names))
    lines = [f"{'class':<{width}}   IoU  of pixels"]
    lines += [f"{n:<{width}}  {iou:.3f}  {100 * s:7.2f} %" for n, iou, s in zip(names, result.iou, share, strict=True)]
    lines += [
        "",
        f"pixel accuracy          {result.pixel_accuracy:.3f}",
        f"mean accuracy           {result.mean_accuracy:.3f}",
        f"frequency-weighted IoU  {result.frequency_weighted_iou:.3f}",
    ]
    return "\n".join(lines)


def _ratio(part, whole):
    """part / whole, NaN where the whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


def _mean(values):
    """The mean of what is not NaN; NaN, without a warning, where nothing is left."""
    return float(_ratio(np.nansum(values), np.count_nonzero(~np.isnan(values))))


def _size(array):
    return "x".join(map(str, array.shape))
