import numpy as np
import pytest

from deconvnet.core.segmentation import evaluation, synthetic, voc
from deconvnet.core.segmentation.color_baseline import ColorLookup


@pytest.fixture(scope="module")
def drawn():
    """Sixty training images: (image, classes, objects) each."""
    return [synthetic.draw_image(0, 0, index) for index in range(60)]


def test_the_data_set_lies_on_disk_in_voc_layout(tmp_path):
    folder = synthetic.write_dataset(tmp_path, train=3, val=2)
    assert voc.read_ids(folder.split("train")) == ["train_0000", "train_0001", "train_0002"]
    assert voc.read_ids(folder.split("val")) == ["val_0000", "val_0001"]
    for image_id in ("train_0000", "val_0001"):
        assert voc.read_image(folder.image(image_id)).shape == (120, 160, 3)
        assert voc.read_label(folder.classes(image_id)).shape == (120, 160)
        assert voc.read_label(folder.objects(image_id)).shape == (120, 160)


def test_every_call_writes_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        synthetic.write_dataset(tmp_path / name, train=3, val=2, seed=5)
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*"))
    assert len(files) == 5 * 3 + 2
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes(), file


def test_a_longer_split_begins_with_the_shorter_one(tmp_path):
    short = synthetic.write_dataset(tmp_path / "short", train=1, val=1)
    long = synthetic.write_dataset(tmp_path / "long", train=3, val=2)
    for image_id in ("train_0000", "val_0000"):
        assert short.image(image_id).read_bytes() == long.image(image_id).read_bytes()


def test_seeds_splits_and_images_differ():
    images = [synthetic.draw_image(*which)[0] for which in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert all((a != b).any() for i, a in enumerate(images) for b in images[:i])


def test_images_hold_one_to_four_objects_and_all_six_classes(drawn):
    counts = [len(np.setdiff1d(objects, [0, voc.VOID])) for _, _, objects in drawn]
    assert set(counts) == {1, 2, 3, 4}
    assert set(np.concatenate([np.unique(classes) for _, classes, _ in drawn])) == {*range(7), voc.VOID}


def test_an_object_has_one_class_and_background_is_none(drawn):
    for _, classes, objects in drawn:
        for number in np.setdiff1d(objects, [voc.VOID]):
            (kind,) = np.unique(classes[objects == number])
            assert (kind == 0) == (number == 0)


def test_objects_go_from_a_twelfth_to_most_of_the_image(drawn):
    sides = []
    for _, _, objects in drawn:
        for number in np.setdiff1d(objects, [0, voc.VOID]):
            rows, cols = np.nonzero(objects == number)
            sides.append(max(np.ptp(rows), np.ptp(cols)) + 1)
    assert min(sides) <= synthetic.WIDTH / 12 and max(sides) >= 0.7 * synthetic.HEIGHT


def test_a_void_border_parts_whatever_touches(drawn):
    for _, classes, objects in drawn:
        np.testing.assert_array_equal(classes == voc.VOID, objects == voc.VOID)
        for one, other in ((objects[:, :-1], objects[:, 1:]), (objects[:-1], objects[1:])):
            assert not ((one != other) & (one != voc.VOID) & (other != voc.VOID)).any()


def test_the_void_border_is_two_pixels_wide(drawn):
    void = np.stack([np.pad(classes == voc.VOID, 1, mode="edge") for _, classes, _ in drawn])
    inner = void[:, 1:-1, 1:-1]
    beside = void[:, 1:-1, :-2] | void[:, 1:-1, 2:] | void[:, :-2, 1:-1] | void[:, 2:, 1:-1]
    assert not (inner & ~beside).any()
    deep = np.logical_and.reduce([void[:, y : y + 120, x : x + 160] for y in range(3) for x in range(3)])
    assert deep.sum() < 0.05 * inner.sum()  # only where several edges meet


def test_colour_does_not_tell_the_class(drawn):
    lookup, matrix = ColorLookup(len(synthetic.CLASSES)), 0
    for image, classes, _ in drawn[:45]:
        lookup.fit(image, classes)
    for image, classes, _ in drawn[45:]:
        matrix = matrix + evaluation.confusion(classes, lookup.predict(image), len(synthetic.CLASSES))
    assert evaluation.scores(matrix).mean_iou < 0.30
