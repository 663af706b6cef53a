import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays
from scored_folder import NAMES, write_scored

from deconvnet.core.segmentation.evaluation import evaluate, scores
from deconvnet.core.segmentation.score_files import write_csv, write_json

MATRICES = arrays.arrays(np.int64, (3, 3), elements={"min_value": 0, "max_value": 9})


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return rows[:-2], rows[-2], rows[-1]


def numbers(rows, column):
    """A column, NaN for an empty cell."""
    return [float(row[column] or "nan") for row in rows]


@given(MATRICES)
def test_a_table_holds_the_very_scores(tmp_path, matrix):
    write_csv(tmp_path / "x.csv", matrix, ["a", "b", "c"])
    classes, plain, weighted = read(tmp_path / "x.csv")
    expected = scores(matrix)
    assert [row["class"] for row in classes] == ["a", "b", "c"]
    np.testing.assert_array_equal(numbers(classes, "iou"), expected.iou)
    np.testing.assert_array_equal(numbers(classes, "accuracy"), expected.accuracy)
    np.testing.assert_array_equal(numbers([plain], "iou"), [expected.mean_iou])
    np.testing.assert_array_equal(numbers([plain], "accuracy"), [expected.mean_accuracy])
    np.testing.assert_array_equal(numbers([weighted], "iou"), [expected.frequency_weighted_iou])
    np.testing.assert_array_equal(numbers([weighted], "accuracy"), [expected.pixel_accuracy])


def test_a_table_counts_the_pixels_of_each_class_and_of_all(tmp_path):
    write_csv(tmp_path / "x.csv", [[3, 1], [0, 4]], ["a", "b"])
    classes, *means = read(tmp_path / "x.csv")
    columns = ("true_pixels", "predicted_pixels", "right_pixels", "share_of_pixels")
    assert [[float(row[c]) for c in columns] for row in classes] == [[4, 3, 3, 0.5], [4, 5, 4, 0.5]]
    assert [[float(row[c]) for c in columns] for row in means] == [[8, 8, 7, 1]] * 2


def test_a_class_name_may_hold_commas_quotes_and_umlauts(tmp_path):
    write_csv(tmp_path / "x.csv", np.eye(2), ['a, "b"', "Tür"])
    assert [row["class"] for row in read(tmp_path / "x.csv")[0]] == ['a, "b"', "Tür"]


def test_json_holds_the_very_scores_of_all_classes_and_images(tmp_path):
    cases = write_scored(tmp_path)
    cases[2].prediction.unlink()
    evaluation = evaluate(cases, len(NAMES))
    write_json(tmp_path / "deep" / "x.json", evaluation, NAMES, {"command": "evaluate"})
    content, expected = json.loads((tmp_path / "deep" / "x.json").read_text()), scores(evaluation.matrix)
    assert content["scores"] == {name: getattr(expected, name) for name in content["scores"]}
    assert len(content["scores"]) == 4
    np.testing.assert_array_equal(content["confusion"], evaluation.matrix)
    assert [row["class"] for row in content["classes"]] == list(NAMES)
    seen = ~np.isnan(expected.iou)
    np.testing.assert_array_equal([row["iou"] for row in content["classes"]], np.where(seen, expected.iou, None))
    told = [(image["id"], image["mean_iou"], image["pixel_accuracy"]) for image in content["images"]]
    assert told == [(i.case.image_id, i.mean_iou, i.pixel_accuracy) for i in evaluation.images]
    assert content["left_out"] == [{"id": "val_0002", "reason": evaluation.left_out[0][1]}]
    assert content["provenance"] == {"command": "evaluate"}


@pytest.mark.parametrize("matrix, iou", [([[2, 0], [0, 0]], [1, None]), (np.zeros((2, 2), int), [None, None])])
def test_json_says_null_where_nothing_was_counted(tmp_path, matrix, iou):
    evaluation = evaluate([], 2)
    evaluation.matrix[:] = matrix
    write_json(tmp_path / "x.json", evaluation, ["a", "b"], {})
    content = json.loads((tmp_path / "x.json").read_text(), parse_constant=pytest.fail)
    assert [row["iou"] for row in content["classes"]] == iou
