import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from deconvnet.core.segmentation.evaluation import confusion, scores, table

LABELS = arrays.arrays(np.uint8, (5, 6), elements=st.sampled_from([0, 1, 2, 3, 255]))
PREDICTIONS = arrays.arrays(np.uint8, (5, 6), elements=st.integers(0, 3))


def test_pixels_are_counted_by_true_and_predicted_class():
    matrix = confusion(np.array([[0, 0, 1], [2, 2, 1]]), np.array([[0, 1, 1], [2, 0, 1]]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]


def test_void_pixels_are_not_counted_whatever_is_predicted_there():
    matrix = confusion(np.array([[0, 255, 255]], np.uint8), np.array([[0, 1, 200]], np.uint8), 2)
    assert matrix.tolist() == [[1, 0], [0, 0]]


@given(LABELS, PREDICTIONS)
def test_the_matrix_agrees_with_counting_pixel_by_pixel(label, prediction):
    expected = np.zeros((4, 4), int)
    for true, predicted in zip(label.ravel(), prediction.ravel(), strict=True):
        if true != 255:
            expected[true, predicted] += 1
    np.testing.assert_array_equal(confusion(label, prediction, 4), expected)


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


def test_label_and_prediction_of_two_sizes_are_an_error():
    with pytest.raises(ValueError, match="the label is 4x5 pixels, but its prediction 5x4"):
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
