"""DenseImageData: SegNet's images and label images. What it shares with ImageSegData is tested there."""

import cv2
import numpy as np
import pytest
from one_layer import TRAIN, OneLayer


@pytest.fixture
def layer_of(tmp_path):
    """A maker of layers over images a, b (6x8) and c (4x8), each with a label image; their threads end with the test."""
    made = []
    for number, (name, height) in enumerate([("a", 6), ("b", 6), ("c", 4)], 1):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((height, 8, 3), 10 * number, np.uint8))
        cv2.imwrite(
            str(tmp_path / f"{name}_label.png"), np.arange(height * 8, dtype=np.uint8).reshape(height, 8) + number
        )

    def make(names, fields, transform="", tops=2):
        (tmp_path / "list.txt").write_text("".join(f"{name}.png {name}_label.png\n" for name in names))
        text = f'''type: "DenseImageData" transform_param {{ {transform} }}
            dense_image_data_param {{ source: "{tmp_path}/list.txt" root_folder: "{tmp_path}/" {fields} }}'''
        made.append(OneLayer(text, tops=tops, phase=TRAIN, dtype=np.float32))
        return made[-1]

    yield make
    for case in made:
        case.layer.close()


LABELS = np.arange(48.0).reshape(6, 8)


def test_batches_hold_images_and_label_images(device, layer_of):
    data, labels = layer_of("ab", "batch_size: 2").forward()
    assert (data.shape, labels.shape) == ((2, 3, 6, 8), (2, 1, 6, 8))
    assert data[:, 1, 2, 3].tolist() == [10, 20]
    np.testing.assert_array_equal(labels[:, 0], [LABELS + 1, LABELS + 2])


@pytest.mark.parametrize("fields, rows", [("", np.arange(6)), ("new_height: 12 new_width: 16", np.arange(12) // 2)])
def test_labels_may_be_smaller_than_images(device, layer_of, fields, rows):
    """label_divide_factor takes the first of as many rows and columns."""
    data, labels = layer_of("ab", f"batch_size: 1 label_divide_factor: 2 {fields}").forward()
    assert labels.shape[2:] == (data.shape[2] // 2, data.shape[3] // 2)
    columns = np.arange(data.shape[3]) * 8 // data.shape[3]
    np.testing.assert_array_equal(labels[0, 0], (LABELS + 1)[rows][:, columns][::2, ::2])


def test_a_crop_takes_image_and_label_alike(device, layer_of):
    data, labels = layer_of("abc", "batch_size: 3", "crop_size: 4 mirror: true scale: 0.1").forward()
    assert (data.shape, labels.shape) == ((3, 3, 4, 4), (3, 1, 4, 4))
    assert data[:, 0, 0, 0].tolist() == [1, 2, 3]


def test_images_of_a_batch_have_one_size(device, layer_of):
    with pytest.raises(
        ValueError, match=r"list.txt:2: an image of 4x8 in a batch of 6x8 .*give new_height and new_width"
    ):
        layer_of("ac", "batch_size: 2").forward()
    case = layer_of("ac", "batch_size: 1")
    assert [case.forward()[1].shape for _ in range(2)] == [(1, 1, 6, 8), (1, 1, 4, 8)]


@pytest.mark.parametrize(
    "fields, said",
    [
        ("batch_size: 0", "dense_image_data_param.batch_size must be"),
        ("label_divide_factor: 0", "label_divide_factor must be"),
    ],
)
def test_settings_that_cannot_be_are_refused(layer_of, fields, said):
    with pytest.raises(ValueError, match=said):
        layer_of("a", fields)
