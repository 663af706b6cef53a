"""InfogainLoss: any matrix, axis and shape; where the matrix comes from; ignored labels and every normalization."""

import numpy as np
import pytest
import reference
from arrays import numbers
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from one_layer import OneLayer

from deconvnet.core.proto import caffe_pb2

DIVISORS = {
    "": "counted",
    "normalization: VALID": "counted",
    "normalization: FULL": "places",
    "normalization: BATCH_SIZE": "images",
    "normalization: NONE": "one",
}


def layer_over(x, labels, matrix, fields="", axis=1, **options):
    text = f'type: "InfogainLoss" infogain_loss_param {{ axis: {axis} }} loss_param {{ {fields} }}'
    return OneLayer(text, x, labels, matrix, **options)


def defined(x, labels, matrix, ignored=None):
    """(sum of the losses, counted places, gradient of the sum) for scores (N, C, places), place by place."""
    total, counted, gradient = 0.0, 0, np.zeros_like(x)
    for image, place in np.ndindex(labels.shape):
        label = int(labels[image, place])
        if label == ignored:
            continue
        counted += 1
        p = np.exp(x[image, :, place] - x[image, :, place].max())
        p /= p.sum()
        total -= matrix[label] @ np.log(np.maximum(p, 1e-20))
        gradient[image, :, place] = matrix[label].sum() * p - matrix[label]
    return total, counted, gradient


def labels_of(shape, classes, ignored=None):
    draw = np.random.default_rng(shape)
    labels = draw.integers(0, classes, shape).astype(float)
    if ignored is not None:
        labels[draw.random(shape) < 0.3] = ignored
    return labels


@pytest.mark.parametrize("ignored", [None, 255, 1])
@pytest.mark.parametrize("normalization", DIVISORS)
def test_the_loss_and_its_gradient(device, normalization, ignored):
    x, labels, matrix = numbers(3, 4, 6), labels_of((3, 6), 4, ignored), numbers(4, 4, seed=1)
    fields = normalization + (f" ignore_label: {ignored}" if ignored is not None else "")
    case = layer_over(x, labels[:, None], matrix, fields)
    total, counted, gradient = defined(x, labels, matrix, ignored)
    divisor = {"counted": counted, "places": 18, "images": 3, "one": 1}[DIVISORS[normalization]]
    (loss,) = case.forward()
    assert loss.shape == ()
    assert float(loss) == pytest.approx(total / divisor, rel=1e-13)
    np.testing.assert_allclose(case.backward(np.array(2.5))[0], 2.5 * gradient / divisor, rtol=0, atol=1e-14)
    check_gradients(case)


@given(
    images=st.integers(1, 3),
    classes=st.integers(1, 6),
    inner=st.integers(1, 600),
    ignored=st.sampled_from([None, 255, 2]),
)
def test_any_number_of_places(device, images, classes, inner, ignored):
    """Also beyond the run of places that one block takes."""
    x, matrix = numbers(images, classes, inner), numbers(classes, classes, seed=1)
    labels = labels_of((images, inner), classes, ignored)
    case = layer_over(x, labels, matrix, f"ignore_label: {ignored}" if ignored is not None else "")
    total, counted, gradient = defined(x, labels, matrix, ignored)
    assert float(case.forward()[0]) == pytest.approx(total / max(1, counted), rel=1e-11, abs=1e-12)
    np.testing.assert_allclose(case.backward(np.array(1.0))[0], gradient / max(1, counted), rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape, axis", [((2, 3, 4), 2), ((4, 3), 0), ((3, 4), -1), ((2, 3, 2, 2), -3), ((1, 1), 1)])
def test_any_axis(device, shape, axis):
    classes, places = shape[axis], tuple(np.delete(shape, axis))
    x, labels, matrix = numbers(*shape), labels_of(places, shape[axis]), numbers(classes, classes, seed=1)
    case = layer_over(x, labels, matrix, axis=axis)
    rows = np.moveaxis(x, axis, -1).reshape(-1, classes)
    total, counted, _ = defined(rows[:, :, None], labels.reshape(-1, 1), matrix)
    assert float(case.forward()[0]) == pytest.approx(total / counted, rel=1e-13)
    check_gradients(case)


def test_the_unit_matrix_is_softmax_with_loss(device):
    x, labels = numbers(2, 3, 2, 2), labels_of((2, 1, 2, 2), 3, 255)
    ours = layer_over(x, labels, np.eye(3), "ignore_label: 255")
    theirs = OneLayer('type: "SoftmaxWithLoss" loss_param { ignore_label: 255 }', x, labels)
    np.testing.assert_allclose(ours.forward()[0], theirs.forward()[0], rtol=1e-14)
    np.testing.assert_allclose(ours.backward(np.array(1.0))[0], theirs.backward(np.array(1.0))[0], rtol=0, atol=1e-15)


def test_a_matrix_in_a_bottom_may_change_from_pass_to_pass(device):
    x, labels = numbers(2, 3, 4), labels_of((2, 4), 3)
    case = layer_over(x, labels, np.eye(3))
    case.forward()
    case.inputs[2][...] = matrix = numbers(3, 3, seed=5)
    total, counted, gradient = defined(x, labels, matrix)
    assert float(case.forward()[0]) == pytest.approx(total / counted, rel=1e-13)
    np.testing.assert_allclose(case.backward(np.array(1.0))[0], gradient / counted, rtol=0, atol=1e-14)


def test_the_second_top_holds_the_probabilities(device):
    x = numbers(2, 3, 2, 2)
    case = layer_over(x, labels_of((2, 2, 2), 3), numbers(3, 3, seed=1), tops=2)
    np.testing.assert_allclose(case.forward()[1], reference.softmax(x, 1), rtol=0, atol=1e-14)
    check_gradients(case, differentiable_tops=[0])


@pytest.mark.parametrize("normalization", [fields for fields in DIVISORS if fields])
def test_a_batch_of_ignored_places_only_costs_nothing(device, normalization):
    case = layer_over(numbers(2, 3, 2), np.full((2, 2), 255.0), np.eye(3), f"ignore_label: 255 {normalization}")
    assert float(case.forward()[0]) == 0
    np.testing.assert_array_equal(case.backward(np.array(1.0))[0], 0)


def test_a_probability_that_underflows_costs_minus_log_of_1e_20(device):
    case = layer_over(np.array([[0.0, 2000.0]]), np.array([0.0]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert float(case.forward()[0]) == pytest.approx(-np.log(1e-20), rel=1e-14)


def test_a_nan_reaches_the_loss(device):
    assert np.isnan(layer_over(np.array([[0.0, np.nan]]), np.array([0.0]), np.eye(2)).forward()[0])


@pytest.mark.parametrize(
    "label, fields, said",
    [
        (4, "", "label 4 is not one of the 3 classes .0 to 2.; check num_output or the label files"),
        (-1, "ignore_label: 255", "label -1 is not one of the 3 classes"),
        (255, "", "label 255 is not one of .*; set ignore_label: 255 in loss_param"),
        (np.nan, "", "label nan is not one of the 3 classes"),
    ],
)
def test_a_label_that_is_no_class_is_named(device, label, fields, said):
    with pytest.raises(ValueError, match=said):
        layer_over(numbers(2, 3), np.array([0, label]), np.eye(3), fields).forward()


def write(path, values, legacy=False, double=False):
    """A BlobProto file, of four sizes without `shape` as Caffe wrote them before 2015 where `legacy`."""
    blob = caffe_pb2.BlobProto()
    (blob.double_data if double else blob.data).extend(np.ravel(values))
    if legacy:
        blob.num, blob.channels, (blob.height, blob.width) = 1, 1, np.shape(values)
    else:
        blob.shape.dim.extend(np.shape(values))
    path.write_bytes(blob.SerializeToString())
    return f'type: "InfogainLoss" infogain_loss_param {{ source: "{path}" }}'


@pytest.mark.parametrize("form", [{}, {"legacy": True}, {"double": True}])
def test_the_matrix_from_a_file(device, tmp_path, form):
    x, labels, matrix = numbers(2, 3, 4), labels_of((2, 4), 3), numbers(3, 3, seed=1).astype(np.float32)
    case = OneLayer(write(tmp_path / "matrix.binaryproto", matrix, **form), x, labels)
    total, counted, _ = defined(x, labels, matrix.astype(float))
    assert float(case.forward()[0]) == pytest.approx(total / counted, rel=1e-12)
    check_gradients(case)


def test_where_the_matrix_does_not_fit_file_and_sizes_are_named(tmp_path):
    text = write(tmp_path / "matrix.binaryproto", np.eye(2))
    with pytest.raises(
        ValueError, match=r"file .*matrix.binaryproto has the shape \(2, 2\): a matrix of 3 x 3 is expected"
    ):
        OneLayer(text, numbers(2, 3), np.zeros(2))
    with pytest.raises(ValueError, match=r"third bottom has the shape \(3, 2\): a matrix of 3 x 3 is expected"):
        layer_over(numbers(2, 3), np.zeros(2), np.zeros((3, 2)))


@pytest.mark.parametrize("content", [b"", b"not a BlobProto", b"\x2a\x04\x00\x00\x80\x3f"])
def test_another_file_is_no_matrix(tmp_path, content):
    path = tmp_path / "x.binaryproto"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="x.binaryproto: a matrix with a row for each class is expected"):
        OneLayer(f'type: "InfogainLoss" infogain_loss_param {{ source: "{path}" }}', numbers(2, 3), np.zeros(2))


def test_a_missing_file_or_no_source_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file: .*none.binaryproto"):
        OneLayer(
            f'type: "InfogainLoss" infogain_loss_param {{ source: "{tmp_path}/none.binaryproto" }}',
            numbers(2, 3),
            np.zeros(2),
        )
    with pytest.raises(ValueError, match="name a file in infogain_loss_param.source, or give a third bottom"):
        OneLayer('type: "InfogainLoss"', numbers(2, 3), np.zeros(2))


def test_normalize_of_old_is_refused_as_in_caffe():
    with pytest.raises(ValueError, match="write normalization: VALID for true, BATCH_SIZE for false"):
        layer_over(numbers(2, 3), np.zeros(2), np.eye(3), "normalize: true")


def test_there_must_be_a_label_for_each_place():
    with pytest.raises(ValueError, match="there must be one label a place"):
        layer_over(numbers(2, 3, 4), np.zeros((2, 3)), np.eye(3))
