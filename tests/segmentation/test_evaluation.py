import re
from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from scored_folder import NAMES, cases_of, write_scored

from deconvnet.core.segmentation import voc
from deconvnet.core.segmentation.evaluation import confusion, evaluate, read_case, scores, table

LABELS = arrays.arrays(np.uint8, (5, 6), elements=st.sampled_from([0, 1, 2, 3, 255]))
PREDICTIONS = arrays.arrays(np.uint8, (5, 6), elements=st.integers(0, 3))


def test_pixels_are_counted_by_true_and_predicted_class():
    matrix = confusion(np.array([[0, 0, 1], [2, 2, 1]]), np.array([[0, 1, 1], [2, 0, 1]]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]


def test_void_pixels_are_not_counted_whatever_is_predicted_there():
    matrix = confusion(np.array([[0, 255, 255]], np.uint8), np.array([[0, 1, 200]], np.uint8), 2)
    assert matrix.tolist() == [[1, 0], [0, 0]]


@given(LABELS.filter(lambda label: (label != 255).any()), PREDICTIONS)
def test_the_matrix_is_scikit_learns(label, prediction):
    counted = label != 255
    expected = sklearn.metrics.confusion_matrix(label[counted], prediction[counted], labels=range(4))
    np.testing.assert_array_equal(confusion(label, prediction, 4), expected)


@given(LABELS.filter(lambda label: (label != 255).any()), PREDICTIONS)
def test_the_scores_are_scikit_learns(label, prediction):
    counted = label != 255
    pair = label[counted], prediction[counted]
    result, held, seen = scores(confusion(label, prediction, 4)), np.unique(pair[0]), np.unique(pair)
    iou = sklearn.metrics.jaccard_score(*pair, labels=range(4), average=None, zero_division=0)
    expected = [iou[i] if i in seen else np.nan for i in range(4)]
    np.testing.assert_allclose(result.iou, expected)
    assert result.mean_iou == pytest.approx(np.nanmean(expected))
    assert result.pixel_accuracy == pytest.approx(sklearn.metrics.accuracy_score(*pair))
    recall = sklearn.metrics.recall_score(*pair, labels=held, average=None, zero_division=0)
    np.testing.assert_allclose(result.accuracy[held], recall)
    assert result.mean_accuracy == pytest.approx(recall.mean())
    weighted = sklearn.metrics.jaccard_score(*pair, average="weighted", zero_division=0)
    assert result.frequency_weighted_iou == pytest.approx(weighted)


def test_scores_of_a_small_matrix_are_those_worked_out_by_hand():
    result = scores([[6, 2, 0], [1, 3, 0], [0, 0, 4]])
    np.testing.assert_allclose(result.iou, [6 / 9, 3 / 6, 4 / 4])
    assert result.mean_iou == pytest.approx((6 / 9 + 3 / 6 + 1) / 3)
    assert result.pixel_accuracy == pytest.approx(13 / 16)
    assert result.mean_accuracy == pytest.approx((6 / 8 + 3 / 4 + 1) / 3)
    assert result.frequency_weighted_iou == pytest.approx((8 * 6 / 9 + 4 * 3 / 6 + 4) / 16)


@given(LABELS.filter(lambda label: (label != 255).any()))
def test_a_perfect_prediction_scores_one_throughout(label):
    result = scores(confusion(label, np.where(label == 255, 0, label), 4))
    assert result.mean_iou == result.pixel_accuracy == result.mean_accuracy == 1
    assert result.frequency_weighted_iou == pytest.approx(1)


def test_a_class_that_is_nowhere_is_left_out_of_the_means():
    result = scores([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    np.testing.assert_allclose(result.iou, [3 / 4, 4 / 5, np.nan])
    assert result.mean_iou == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert result.mean_accuracy == pytest.approx((3 / 4 + 1) / 2)


def test_a_class_predicted_but_never_true_counts_as_zero():
    result = scores([[3, 1], [0, 0]])
    assert result.iou.tolist() == [0.75, 0.0] and result.mean_accuracy == 0.75


def test_nothing_counted_gives_nan_without_a_warning():
    result = scores(np.zeros((2, 2)))
    assert np.isnan([result.mean_iou, result.pixel_accuracy, result.mean_accuracy, result.frequency_weighted_iou]).all()


@pytest.mark.parametrize("what, label, prediction", [("label", 3, 0), ("prediction", 0, 3), ("label", -1, 0)])
def test_a_class_out_of_range_is_an_error(what, label, prediction):
    with pytest.raises(ValueError, match=f"the {what} holds class {label or prediction}, but the classes are 0 to 2"):
        confusion(np.array([[label]]), np.array([[prediction]]), 3)


def test_void_is_no_class_to_predict():
    with pytest.raises(voc.DataError, match="the prediction holds class 255"):
        confusion(np.zeros((1, 1), np.uint8), np.full((1, 1), 255, np.uint8), 3)


def test_label_and_prediction_of_two_sizes_are_an_error():
    with pytest.raises(ValueError, match="the prediction is 5x4 pixels, but the label 4x5: a prediction must have"):
        confusion(np.zeros((4, 5), int), np.zeros((5, 4), int), 2)


def test_the_table_has_a_line_a_class_and_the_other_scores():
    lines = table(np.array([[6, 2], [1, 3]]), ["background", "disc"]).splitlines()
    assert lines[0].split() == ["class", "IoU", "of", "pixels"]
    assert lines[1].split() == ["background", "0.667", "66.67", "%"]
    assert lines[2].split() == ["disc", "0.500", "33.33", "%"]
    assert lines[4].split() == ["pixel", "accuracy", "0.750"]


def test_a_table_needs_a_name_for_every_class():
    with pytest.raises(ValueError, match="1 class names for 2 classes"):
        table(np.eye(2), ["background"])


@pytest.fixture
def cases(tmp_path):
    return write_scored(tmp_path)


def test_a_folder_is_scored_as_its_images_are_one_by_one(cases):
    result = evaluate(cases, len(NAMES))
    pairs = [(voc.read_label(case.label), voc.read_label(case.prediction)) for case in cases]
    matrices = [confusion(label, prediction, len(NAMES)) for label, prediction in pairs]
    np.testing.assert_array_equal(result.matrix, sum(matrices))
    assert [image.case for image in result.images] == cases and result.left_out == []
    assert [image.pixel_accuracy for image in result.images] == [scores(matrix).pixel_accuracy for matrix in matrices]


def test_an_images_score_is_the_mean_over_the_classes_that_its_label_holds(cases):
    voc.write_label(cases[0].label, np.array([[0, 0, 1, 255]], np.uint8))
    voc.write_label(cases[0].prediction, np.array([[0, 2, 1, 3]], np.uint8))
    image = evaluate([replace(cases[0], photo=None)], len(NAMES)).images[0]
    assert image.mean_iou == pytest.approx((1 / 2 + 1) / 2)


def test_an_image_of_void_alone_has_no_score_and_is_not_left_out(cases):
    voc.write_label(cases[0].label, np.full((120, 160), 255, np.uint8))
    result = evaluate(cases, len(NAMES))
    assert np.isnan(result.images[0].mean_iou) and not result.left_out


def test_many_threads_give_what_one_gives(tmp_path):
    cases = write_scored(tmp_path, count=12)
    cases[5].prediction.unlink()
    one, many = evaluate(cases, len(NAMES)), evaluate(cases, len(NAMES), workers=5)
    np.testing.assert_array_equal(one.matrix, many.matrix)
    assert one.images == many.images and one.left_out == many.left_out


def without(case):
    case.prediction.unlink()
    return r"val_0001\.png: no such prediction"


def of_colours(case):
    Image.new("RGB", (160, 120)).save(case.prediction)
    return r"results/val_0001\.png: .* this one holds colours"


def turned(case):
    voc.write_label(case.prediction, np.zeros((160, 120), np.uint8))
    return r"results/val_0001\.png is 160x120 pixels, but .*SegmentationClass/val_0001\.png 120x160"


def beyond_the_classes(case):
    voc.write_label(case.prediction, np.full((120, 160), 7, np.uint8))
    return r"results/val_0001\.png holds class 7, but the classes are 0 to 6"


def label_beyond_the_classes(case):
    voc.write_label(case.label, np.full((120, 160), 20, np.uint8))
    return r"SegmentationClass/val_0001\.png holds class 20, but the classes are 0 to 6"


def without_label(case):
    case.label.unlink()
    return r"SegmentationClass/val_0001\.png: no such file"


def label_and_prediction_unlike_the_image(case):
    for path in (case.label, case.prediction):
        voc.write_label(path, np.zeros((60, 80), np.uint8))
    return r"SegmentationClass/val_0001\.png is 60x80 pixels, but .*JPEGImages/val_0001\.jpg 120x160"


def damaged_image(case):
    case.photo.write_bytes(case.photo.read_bytes()[:10])
    return r"JPEGImages/val_0001\.jpg: not an image"


@pytest.mark.parametrize(
    "spoil",
    [without, of_colours, turned, beyond_the_classes, label_beyond_the_classes, without_label,
     label_and_prediction_unlike_the_image, damaged_image],
)  # fmt: skip
def test_a_bad_image_is_named_and_the_others_are_scored(tmp_path, cases, spoil):
    message = spoil(cases[1])
    result = evaluate(cases_of(tmp_path), len(NAMES), workers=2)
    (left_out,) = result.left_out
    assert left_out[0] == "val_0001"
    assert re.search(message, left_out[1]) and "\n" not in left_out[1]
    others = evaluate([case for case in cases if case is not cases[1]], len(NAMES))
    np.testing.assert_array_equal(result.matrix, others.matrix)
    assert result.images == others.images


def test_a_photograph_that_is_not_there_does_not_matter(cases):
    expected = evaluate(cases, len(NAMES)).matrix
    cases[0].photo.unlink()
    result = evaluate([*cases[:-1], replace(cases[-1], photo=None)], len(NAMES))
    np.testing.assert_array_equal(result.matrix, expected)


def test_a_missing_prediction_counts_as_background_where_that_is_asked_for(cases):
    voc.write_label(cases[0].prediction, np.zeros((120, 160), np.uint8))
    expected = evaluate(cases, len(NAMES)).matrix
    cases[0].prediction.unlink()
    result = evaluate(cases, len(NAMES), absent_as_background=True)
    np.testing.assert_array_equal(result.matrix, expected)
    assert [image.absent for image in result.images] == [True, False, False, False] and not result.left_out
    assert read_case(cases[0], absent_as_background=True)[1].max() == 0
