"""The scores of an evaluation as files for other programs: a table (CSV) and everything (JSON)."""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np

from ..blob import replacing
from .evaluation import scores

COLUMNS = ("class", "iou", "accuracy", "share_of_pixels", "true_pixels", "predicted_pixels", "right_pixels")


def score_rows(matrix, names):
    """A confusion matrix (K, K) as a dict a class, in the keys of COLUMNS; a score is None where nothing was counted.

    `share_of_pixels` is the class's share of the true pixels, from 0 to 1.
    """
    matrix = np.asarray(matrix)
    result = scores(matrix)
    right, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    columns = (names, result.iou, result.accuracy, true / max(true.sum(), 1), true, predicted, right)
    return [{key: _plain(value) for key, value in zip(COLUMNS, row, strict=True)} for row in zip(*columns, strict=True)]


def write_csv(path, matrix, names):
    """Write a row a class, then two over all classes: their plain mean (mean IoU, mean accuracy) and their mean
    weighted by true pixels (frequency-weighted IoU, pixel accuracy). A cell is empty where nothing was counted.
    Raises OSError that names `path`."""
    result, rows = scores(matrix), score_rows(matrix, names)
    sums = {"share_of_pixels": 1.0} | {key: sum(row[key] for row in rows) for key in COLUMNS[-3:]}
    means = (
        ("mean over classes", result.mean_iou, result.mean_accuracy),
        ("mean over pixels", result.frequency_weighted_iou, result.pixel_accuracy),
    )
    rows += [{"class": name, "iou": _plain(iou), "accuracy": _plain(accuracy)} | sums for name, iou, accuracy in means]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    _write(path, text.getvalue())


def write_json(path, evaluation, names, provenance):
    """Write all of an Evaluation: the scores, a record a class, the confusion matrix (rows are true classes), a record
    an image, the images left out with the reason, and `provenance`, a dict of what made it. Raises OSError that names
    `path`."""
    result = scores(evaluation.matrix)
    means = ("mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")
    content = {
        "scores": {name: _plain(getattr(result, name)) for name in means},
        "classes": score_rows(evaluation.matrix, names),
        "confusion": evaluation.matrix.tolist(),
        "images": [
            {
                "id": image.case.image_id,
                "mean_iou": _plain(image.mean_iou),
                "pixel_accuracy": _plain(image.pixel_accuracy),
                "absent": image.absent,
            }
            for image in evaluation.images
        ],
        "left_out": [{"id": image_id, "reason": reason} for image_id, reason in evaluation.left_out],
        "provenance": provenance,
    }
    _write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _plain(value):
    """A NumPy value as Python's own; None for NaN, which JSON does not know."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and math.isnan(value) else value


def _write(path, text):
    """Write a whole file of text, with the folders it needs."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(text.encode())
