"""How good a segmentation is: scores over a confusion matrix, void pixels not counted."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .voc import VOID, DataError, read_label, read_size


def confusion(label, prediction, classes, void=VOID, called=("the label", "the prediction")):
    """Count pixels by true and predicted class: (classes, classes) int64, entry [i, j] for true i predicted as j.

    label, prediction: (H, W) whole numbers; pixels labelled `void` are not counted, whatever is predicted there.
    Sum the matrices of many images before scoring. Raises DataError, with the two arrays named as `called`, where the
    sizes differ or a class is not in [0, classes).
    """
    label, prediction = np.asarray(label), np.asarray(prediction)
    if label.shape != prediction.shape:
        sizes = f"{called[1]} is {_size(prediction)} pixels, but {called[0]} {_size(label)}"
        raise DataError(f"{sizes}: a prediction must have its image's size")
    counted = label != void
    true, predicted = label[counted].astype(np.int64), prediction[counted].astype(np.int64)
    for what, values in zip(called, (true, predicted), strict=True):
        outside = values[(values < 0) | (values >= classes)]
        if outside.size:
            raise DataError(
                f"{what} holds class {outside[0]}, but the classes are 0 to {classes - 1}: are all classes named?"
            )
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True)
class Scores:
    """The usual segmentation scores, shares from 0 to 1; NaN where nothing was counted.

    iou: (K,) float64, NaN for a class that is neither true nor predicted anywhere; accuracy: (K,) float64, NaN for a
    class that is nowhere true; the means leave such classes out.
    """

    iou: np.ndarray
    accuracy: np.ndarray
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
        accuracy=accuracy,
        mean_iou=_mean(iou),
        pixel_accuracy=float(_ratio(right.sum(), true.sum())),
        mean_accuracy=_mean(accuracy),
        frequency_weighted_iou=float(_ratio((true * np.nan_to_num(iou)).sum(), true.sum())),
    )


@dataclass(frozen=True)
class Case:
    """One image of an evaluation: where its label, its prediction and, for sizes and reports, its photograph lie."""

    image_id: str
    label: Path
    prediction: Path
    photo: Path | None = None


@dataclass(frozen=True)
class ImageScore:
    """How one image came out; NaN where all of it is void.

    mean_iou: the mean IoU of the classes that its label holds. absent: its prediction was missing and counted as
    background.
    """

    case: Case
    mean_iou: float
    pixel_accuracy: float
    absent: bool = False


@dataclass(frozen=True)
class Evaluation:
    """What evaluate found: the confusion matrix (K, K) int64 of all scored images, their ImageScores in the order of
    the cases, and for each image left out its id with one line that says why."""

    matrix: np.ndarray
    images: list[ImageScore]
    left_out: list[tuple[str, str]]


def evaluate(cases, classes, workers=1, absent_as_background=False, progress=iter):
    """Score predictions on disk against labels on disk: an Evaluation of `classes` classes.

    Each of `workers` threads holds one image at a time. A prediction, label or photograph that is missing or damaged,
    sizes that differ and classes out of range leave that image out and are told in `left_out`; with
    `absent_as_background` a missing prediction counts as background everywhere. `progress` wraps the list of cases.
    """

    def score(case):
        try:
            return _score(case, classes, absent_as_background)
        except (DataError, OSError) as error:
            return str(error)

    matrix, images, left_out = np.zeros((classes, classes), np.int64), [], []
    with ThreadPoolExecutor(workers) as pool, closing(pool.map(score, cases)) as results:
        for case, result in zip(progress(cases), results, strict=True):
            if isinstance(result, str):
                left_out.append((case.image_id, result))
            else:
                images.append(result[0])
                matrix += result[1]
    return Evaluation(matrix, images, left_out)


def read_case(case, absent_as_background=False):
    """The label and the prediction of a case, both (H, W) uint8, and whether the prediction was absent and is all
    background for it. Raises DataError where a file is missing (unless so allowed) or damaged."""
    label = read_label(case.label)
    if Path(case.prediction).is_file():
        return label, read_label(case.prediction), False
    if absent_as_background:
        return label, np.zeros_like(label), True
    raise DataError(f"{case.prediction}: no such prediction; make it, or have missing ones counted as background")


def _score(case, classes, absent_as_background):
    """The ImageScore and the confusion matrix of one case."""
    label, prediction, absent = read_case(case, absent_as_background)
    if case.photo is not None and Path(case.photo).is_file():
        height, width = read_size(case.photo)
        if label.shape != (height, width):
            sizes = f"{case.label} is {_size(label)} pixels, but {case.photo} {height}x{width}"
            raise DataError(f"{sizes}: a label must have its image's size")
    matrix = confusion(label, prediction, classes, called=(str(case.label), str(case.prediction)))
    result = scores(matrix)
    mean_iou = _mean(result.iou[matrix.sum(axis=1) > 0])
    return ImageScore(case, mean_iou, result.pixel_accuracy, absent), matrix


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
