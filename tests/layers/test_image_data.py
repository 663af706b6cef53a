"""ImageData: images with one class each. How images are transformed is tested with ImageSegData."""

import cv2
import numpy as np
import pytest
from one_layer import TEST, TRAIN, OneLayer

SIZES = {"a": (6, 7), "b": (6, 7), "c": (6, 7), "tall": (9, 7)}


@pytest.fixture
def folder(tmp_path):
    """Images of one colour each: `a` is all 10, `b` all 20 ..."""
    for number, (name, size) in enumerate(SIZES.items(), 1):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((*size, 3), 10 * number, np.uint8))
    return tmp_path


@pytest.fixture
def layer_of(folder):
    """A maker of ImageData layers over a list text; their threads end with the test."""
    made = []

    def make(lines, fields="batch_size: 2", transform="", tops=2, phase=TRAIN, seed=1, dtype=np.float32):
        (folder / "list.txt").write_text(lines)
        text = (
            f'type: "ImageData" image_data_param {{ source: "{folder}/list.txt" root_folder: "{folder}/" {fields} }} '
            f"transform_param {{ {transform} }}"
        )
        made.append(OneLayer(text, tops=tops, phase=phase, seed=seed, dtype=dtype))
        return made[-1]

    yield make
    for case in made:
        case.layer.close()


LIST = "a.png 3\nb.png 1000\nc.png -1\n"


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_hold_images_and_their_classes(device, layer_of, workers):
    """A class is any whole number; batches run on into the next epoch."""
    case = layer_of(LIST, f"batch_size: 2 workers: {workers}")
    batches = [case.forward() for _ in range(3)]
    assert [y.shape for y in batches[0]] == [(2, 3, 6, 7), (2,)]
    assert [labels.tolist() for _, labels in batches] == [[3, 1000], [-1, 3], [1000, -1]]
    assert [data[:, 1, 2, 3].tolist() for data, _ in batches] == [[10, 20], [30, 10], [20, 30]]


def test_a_single_top_holds_the_images_alone(device, layer_of):
    (data,) = layer_of(LIST, tops=1).forward()
    assert data[:, 0, 0, 0].tolist() == [10, 20]


def test_images_are_resized_cropped_scaled_and_freed_of_the_mean(device, layer_of):
    case = layer_of(
        "tall.png 1\na.png 2\n",
        "batch_size: 2 new_height: 5 new_width: 8",
        "crop_size: 4 scale: 0.5 mean_value: 2 mean_value: 4 mean_value: 6 mirror: true",
    )
    data, labels = case.forward()
    assert data.shape == (2, 3, 4, 4)
    np.testing.assert_array_equal(data[:, :, 1, 2], [[19, 18, 17], [4, 3, 2]])
    assert labels.tolist() == [1, 2]


def test_grey_images_have_one_channel(device, layer_of):
    data, _ = layer_of(LIST, "batch_size: 1 is_color: false").forward()
    assert data.shape == (1, 1, 6, 7) and (data == 10).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_shuffling_follows_from_the_seed_and_continues_from_a_position(device, layer_of, workers):
    fields = f"batch_size: 1 shuffle: true workers: {workers}"
    case = layer_of(LIST, fields)
    labels = [int(case.forward()[1][0]) for _ in range(12)]
    assert all(sorted(labels[first : first + 3]) == [-1, 3, 1000] for first in range(0, 12, 3))
    assert labels[:3] != labels[3:6] or labels[3:6] != labels[6:9]
    again = layer_of(LIST, fields)
    again.layer.position = 5
    assert [int(again.forward()[1][0]) for _ in range(7)] == labels[5:]
    assert again.layer.position == 12


def test_random_crops_are_drawn_in_train_and_central_in_test(device, layer_of, folder):
    cv2.imwrite(str(folder / "ramp.png"), np.tile(np.arange(7, dtype=np.uint8), (6, 1)))
    crops = {phase: layer_of("ramp.png 0\n", "batch_size: 1", "crop_size: 3", phase=phase) for phase in (TRAIN, TEST)}
    lefts = {phase: {float(case.forward()[0][0, 0, 0, 0]) for _ in range(40)} for phase, case in crops.items()}
    assert lefts == {TRAIN: {0, 1, 2, 3, 4}, TEST: {2}}


def test_images_of_their_own_sizes_come_one_by_one(device, layer_of):
    case = layer_of("a.png 1\ntall.png 2\n", "batch_size: 1")
    assert [case.forward()[0].shape for _ in range(3)] == [(1, 3, 6, 7), (1, 3, 9, 7), (1, 3, 6, 7)]


def test_images_of_several_sizes_make_no_batch(device, layer_of, folder):
    case = layer_of("a.png 1\n\ntall.png 2\n")
    with pytest.raises(
        ValueError, match=r"list\.txt:3: an image of 9x7 in a batch of 6x7 .*give new_height and new_width"
    ):
        case.forward()


@pytest.mark.parametrize(
    "lines, said",
    [
        ("a.png\n", r"list\.txt:1: `image label` is expected, not `a\.png`"),
        ("a.png 1\nb.png x\n", r"list\.txt:2: the label must be a whole number, the image's class, not `x`"),
        ("a.png 1.5\n", r"list\.txt:1: the label must be a whole number, the image's class, not `1\.5`"),
        ("\n", "the list is empty"),
    ],
)
@pytest.mark.parametrize("label_type", ["IMAGE", "NONE"])
def test_a_line_of_another_form_is_named(layer_of, lines, said, label_type):
    with pytest.raises(ValueError, match=said):
        layer_of(lines, f"batch_size: 2 label_type: {label_type}")


def test_missing_and_broken_images_are_named_with_their_line(device, layer_of, folder):
    with pytest.warns(UserWarning, match=r"list\.txt:2: no such file: .*none\.png .1 of the 2 files"):
        case = layer_of("a.png 1\nnone.png 2\n", "batch_size: 2 new_height: 4 new_width: 4")
    with pytest.raises(FileNotFoundError, match=r"list\.txt:2: no such file: .*none\.png"):
        case.forward()
    (folder / "broken.png").write_text("not a PNG")
    case = layer_of("broken.png 1\n", "batch_size: 1 new_height: 4 new_width: 4")
    with pytest.raises(ValueError, match=r"list\.txt:1: .*broken\.png: not an image"):
        case.forward()


@pytest.mark.parametrize(
    "fields, transform, said",
    [
        ("batch_size: 0", "", "batch_size must be at least 1"),
        ("batch_size: 1 new_height: 5", "", "give new_height and new_width, or neither"),
        ("batch_size: 1", "mean_value: 1 mean_value: 2", "has 2 mean_value for 3 channels"),
    ],
)
def test_fields_that_cannot_be_are_refused(layer_of, fields, transform, said):
    with pytest.raises(ValueError, match=said):
        layer_of(LIST, fields, transform)
