import time
from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deconvnet.core.segmentation import examples, synthetic, voc


def write_image(folder, image_id, classes, objects):
    """An image in VOC layout whose grey levels are its column numbers."""
    for name in ("JPEGImages", "SegmentationClass", "SegmentationObject"):
        (folder.root / name).mkdir(parents=True, exist_ok=True)
    grey = np.tile(np.arange(classes.shape[1], dtype=np.uint8), (classes.shape[0], 1))
    cv2.imwrite(str(folder.image(image_id)), cv2.merge([grey] * 3), [cv2.IMWRITE_JPEG_QUALITY, 100])
    voc.write_label(folder.classes(image_id), classes)
    voc.write_label(folder.objects(image_id), objects)


@pytest.fixture
def one_image(tmp_path):
    """40x60 pixels: object 1, class 3, fills rows 10-19, columns 20-29; object 2, class 5, columns 32-41; void between."""
    classes, objects = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
    classes[10:20, 20:30], objects[10:20, 20:30] = 3, 1
    classes[10:20, 32:42], objects[10:20, 32:42] = 5, 2
    classes[10:20, 30:32] = objects[10:20, 30:32] = voc.VOID
    folder = voc.VocFolder(tmp_path)
    write_image(folder, "i", classes, objects)
    voc.write_ids(folder.split("train"), ["i"])
    return folder


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    return synthetic.write_dataset(tmp_path_factory.mktemp("data"), train=12, val=1)


def test_a_stage_1_crop_is_the_tight_box_enlarged_by_its_context(one_image):
    lines = examples.write_stage1(one_image.root, "train", one_image.root / "list.txt", context=1.2)
    assert lines == [
        "/stage1/JPEGImages/i_1.jpg /stage1/SegmentationClass/i_1.png",
        "/stage1/JPEGImages/i_2.jpg /stage1/SegmentationClass/i_2.png",
    ]
    assert (one_image.root / "list.txt").read_text().splitlines() == lines
    image = voc.read_image(one_image.root / "stage1/JPEGImages/i_1.jpg")
    assert image.shape == (12, 12, 3)
    np.testing.assert_allclose(image[5, :, 0], np.arange(19, 31), atol=2)  # columns 19 to 30 of the image


def test_a_stage_1_label_keeps_the_centre_objects_class_and_void_only(one_image):
    examples.write_stage1(one_image.root, "train", one_image.root / "list.txt", context=2)
    label = voc.read_label(one_image.root / "stage1/SegmentationClass/i_1.png")
    expected = np.zeros((20, 20), np.uint8)  # rows 5 to 24, columns 15 to 34
    expected[5:15, 5:15], expected[5:15, 15:17] = 3, voc.VOID
    np.testing.assert_array_equal(label, expected)


def test_a_stage_1_crop_over_the_border_is_black_and_void_outside(tmp_path):
    folder, classes = voc.VocFolder(tmp_path), np.zeros((10, 10), np.uint8)
    classes[:, :5] = 2
    write_image(folder, "i", classes, (classes > 0).astype(np.uint8))
    voc.write_ids(folder.split("val"), ["i"])
    examples.write_stage1(tmp_path, "val", tmp_path / "list.txt", context=1.4)
    label = voc.read_label(tmp_path / "stage1/SegmentationClass/i_1.png")
    assert label.shape == (14, 7)
    assert (label[:2] == voc.VOID).all() and (label[-2:] == voc.VOID).all() and (label[:, 0] == voc.VOID).all()
    assert (label[2:-2, 1:6] == 2).all() and (label[2:-2, 6] == 0).all()
    assert voc.read_image(tmp_path / "stage1/JPEGImages/i_1.jpg")[0].max() <= 2  # JPEG's black


def test_stage_2_lines_name_image_label_and_a_square_window(data_set):
    lines = examples.write_stage2(
        data_set.root, "train", data_set.root / "list.txt", examples.random_windows(per_image=20)
    )
    assert (data_set.root / "list.txt").read_text().splitlines() == lines
    for line in lines:
        image, label, *window = line.split()
        assert image.startswith("/") and label.startswith("/")
        assert voc.read_image(f"{data_set.root}{image}").shape[:2] == voc.read_label(f"{data_set.root}{label}").shape
        x1, y1, x2, y2 = map(int, window)
        assert x2 - x1 == y2 - y1 >= 0


def test_every_stage_2_window_overlaps_an_object_enough(data_set):
    windows = examples.random_windows(per_image=20, min_overlap=0.6)
    for line in examples.write_stage2(data_set.root, "train", data_set.root / "list.txt", windows):
        _, label, *window = line.split()
        objects = voc.read_label(str(data_set.root) + label.replace("Class", "Object"))
        assert examples.object_overlap(objects, tuple(map(int, window)))[1] >= 0.6


def test_windows_around_an_object_hold_its_centre_and_keep_to_the_zoom(one_image):
    windows = examples.random_windows(per_image=200, around=1, zoom=(1.5, 2), min_overlap=0)
    lines = examples.write_stage2(one_image.root, "train", one_image.root / "list.txt", windows, balance=False)
    for line in lines:
        x1, y1, x2, y2 = map(int, line.split()[2:])
        assert 15 <= x2 - x1 + 1 <= 20
        assert any(x1 <= centre <= x2 for centre in (24, 36)) and y1 <= 14 <= y2
    assert len(lines) == 200


def test_windows_anywhere_keep_to_their_sides_and_stay_inside_where_they_fit(one_image):
    windows = examples.random_windows(per_image=200, around=0, sides=(5, 50), min_overlap=0)
    lines = examples.write_stage2(one_image.root, "train", one_image.root / "list.txt", windows)
    windows = np.array([line.split()[2:] for line in lines], int)
    sides = windows[:, 2] - windows[:, 0] + 1
    assert 5 <= sides.min() <= 8 and 47 <= sides.max() <= 50
    inside = windows[sides <= 40]
    assert inside[:, :2].min() >= 0 and inside[:, 2].max() < 60 and inside[:, 3].max() < 40
    over = windows[sides > 40]
    assert over[:, 1].max() <= 0 and over[:, 3].min() >= 39


def test_the_share_of_windows_around_an_object_is_kept(one_image):
    windows = examples.random_windows(per_image=50, around=0.7, zoom=(1, 1), sides=(30, 30), min_overlap=0)
    lines = examples.write_stage2(one_image.root, "train", one_image.root / "list.txt", windows, balance=False)
    sides = Counter(int(x2) - int(x1) + 1 for x1, _, x2, _ in (line.split()[2:] for line in lines))
    assert sides == {10: 35, 30: 15}


def test_both_lists_are_the_same_at_every_call_and_another_seed_moves_the_windows(data_set):
    def write(seed):
        windows = examples.random_windows(per_image=5, seed=seed)
        return examples.write_stage2(data_set.root, "train", data_set.root / "list.txt", windows)

    assert write(0) == write(0) != write(1)


def test_an_image_without_objects_gives_no_examples(tmp_path):
    folder, empty = voc.VocFolder(tmp_path), np.zeros((8, 8), np.uint8)
    write_image(folder, "i", empty, empty)
    voc.write_ids(folder.split("train"), ["i"])
    assert examples.write_stage1(tmp_path, "train", tmp_path / "a.txt") == []
    whole_image = examples.proposal_windows(lambda image_id, image: [(0, 0, 7, 7)])
    for windows in (examples.random_windows(), whole_image):
        assert examples.write_stage2(tmp_path, "train", tmp_path / "b.txt", windows) == []


def test_class_and_object_labels_of_two_sizes_are_an_error_that_names_the_file(one_image):
    voc.write_label(one_image.objects("i"), np.zeros((40, 59), np.uint8))
    with pytest.raises(
        ValueError, match=r"SegmentationObject/i\.png: the label is 40x59 .*SegmentationClass/i\.png is 40x60"
    ):
        examples.write_stage1(one_image.root, "train", one_image.root / "list.txt")


def test_a_label_of_another_size_than_its_image_is_an_error_that_names_both(one_image):
    voc.write_image(one_image.image("i"), np.zeros((41, 60, 3), np.uint8))
    match = r"Segmentation(Class|Object)/i\.png: the label is 40x60 .*JPEGImages/i\.jpg is 41x60"
    path = one_image.root / "list.txt"
    with pytest.raises(voc.DataError, match=match):
        examples.write_stage1(one_image.root, "train", path)
    with pytest.raises(voc.DataError, match=match):
        examples.write_stage2(one_image.root, "train", path, examples.proposal_windows(lambda image_id, image: []))
    assert not path.exists()


def test_an_object_without_a_pixel_of_a_class_gives_no_example(one_image):
    classes = voc.read_label(one_image.classes("i"))
    classes[classes == 3] = 0
    voc.write_label(one_image.classes("i"), classes)
    path, windows = one_image.root / "list.txt", examples.random_windows(around=1, zoom=(1, 1.1))
    assert [line.split()[0] for line in examples.write_stage1(one_image.root, "train", path)] == [
        "/stage1/JPEGImages/i_2.jpg"
    ]
    shown = examples.write_stage2(one_image.root, "train", path, windows)
    assert shown and all(int(line.split()[4]) >= 32 for line in shown)


def test_crops_that_are_kept_are_not_made_again(one_image):
    def write(**how):
        examples.write_stage1(one_image.root, "train", one_image.root / "list.txt", **how)
        return {path: path.stat().st_mtime_ns for path in (one_image.root / "stage1").rglob("*.*")}

    first = write()
    (one_image.root / "stage1/SegmentationClass/i_2.png").unlink()
    kept = write(keep=True)
    assert {path.stem for path in first if kept[path] != first[path]} == {"i_2"}
    assert kept.keys() == first.keys()
    assert write(keep=True) == kept
    assert all(write()[path] != kept[path] for path in kept)


def test_any_number_of_workers_writes_the_same_lists(data_set):
    def write(workers):
        windows = examples.random_windows(per_image=5)
        return [
            examples.write_stage1(data_set.root, "train", data_set.root / "a.txt", workers=workers),
            examples.write_stage2(data_set.root, "train", data_set.root / "b.txt", windows, workers=workers),
        ]

    assert write(1) == write(4)


def test_a_proposal_is_taken_at_an_iou_of_one_half_and_enlarged(one_image):
    # object 1 fills columns 20-29, rows 10-19; object 2 columns 32-41
    half, less = (20, 10, 29, 29), (20, 10, 29, 30)  # IoU 100/200, 100/210
    boxes = [(0, 0, 59, 39), half, less, (32, 10, 41, 19)]
    asked = []

    def proposals(image_id, image):
        asked.append((image_id, image.shape))
        return np.array(boxes, np.int32)

    def write(**how):
        windows, path = examples.proposal_windows(proposals, **how), one_image.root / "list.txt"
        lines = examples.write_stage2(one_image.root, "train", path, windows, balance=False)
        assert path.read_text().splitlines() == lines
        return [line.removeprefix("/JPEGImages/i.jpg /SegmentationClass/i.png ") for line in lines]

    assert write() == ["19 8 30 31", "31 9 42 20"]
    assert write(context=1, min_iou=0.47) == ["20 10 29 29", "20 10 29 30", "32 10 41 19"]
    assert asked == [("i", (40, 60, 3))] * 2


def test_a_proposals_class_is_that_of_the_object_it_fits_best(one_image):
    def kinds(box):
        windows = examples.proposal_windows(lambda image_id, image: np.array([box]), min_iou=0.01)
        return windows(0, "i", one_image, voc.read_label(one_image.objects("i")))[0][1]

    assert kinds((20, 10, 34, 19)) == 1 and kinds((28, 10, 41, 19)) == 2


def test_an_image_without_proposals_gives_no_windows(one_image):
    windows = examples.proposal_windows(lambda image_id, image: np.zeros((0, 4), np.int32))
    assert examples.write_stage2(one_image.root, "train", one_image.root / "list.txt", windows) == []


def test_an_error_in_one_image_ends_the_rest_soon(tmp_path):
    classes = np.ones((8, 8), np.uint8)
    write_image(voc.VocFolder(tmp_path), "i", classes, classes)
    voc.write_ids(voc.VocFolder(tmp_path).split("train"), ["i"] * 1000)
    asked = []

    def proposals(image_id, image):
        asked.append(image_id)
        if len(asked) == 1:
            raise voc.DataError("no boxes")
        time.sleep(0.01)
        return []

    with pytest.raises(voc.DataError, match="no boxes"):
        examples.write_stage2(tmp_path, "train", tmp_path / "list.txt", examples.proposal_windows(proposals), workers=2)
    assert len(asked) < 500
    assert not (tmp_path / "list.txt").exists()


box = st.tuples(st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 9), st.integers(1, 9)).map(
    lambda b: (b[0], b[1], b[0] + b[2] - 1, b[1] + b[3] - 1)
)


@given(st.lists(box, max_size=4), st.lists(box, min_size=1, max_size=4))
def test_iou_agrees_with_counting_pixels(boxes, others):
    def pixels(x1, y1, x2, y2):
        return {(x, y) for x in range(x1, x2 + 1) for y in range(y1, y2 + 1)}

    expected = [[len(pixels(*a) & pixels(*b)) / len(pixels(*a) | pixels(*b)) for b in others] for a in boxes]
    np.testing.assert_array_equal(
        examples.iou(np.reshape(boxes, (-1, 4)), others), np.reshape(expected, (len(boxes), len(others)))
    )


def test_rare_classes_are_repeated_until_all_are_equally_frequent():
    lines = examples.balanced(list("abcdefg"), [1, 1, 1, 1, 2, 2, 3])
    assert Counter(lines) == Counter("abcd" + "efef" + "gggg")


@pytest.mark.parametrize("count", [1, 6, 7, 30, 300])
def test_a_number_of_examples_is_shared_out_among_the_classes(count):
    lines = Counter(examples.balanced(list("abcdefg"), [1, 1, 1, 1, 2, 2, 3], count))
    by_class = [sorted(lines[line] for line in members) for members in ("abcd", "ef", "g")]
    assert {sum(times) for times in by_class} == {-(-count // 3)}
    assert all(times[-1] - times[0] <= 1 for times in by_class)


def test_a_class_with_too_many_examples_is_thinned_evenly():
    assert examples.balanced(list(range(10)), [1] * 10, 5) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("count", [None, 5])
def test_balancing_nothing_gives_nothing(count):
    assert examples.balanced([], [], count) == []


@pytest.mark.parametrize(
    "window, best",
    [
        ((20, 10, 29, 19), (1, 1.0)),  # the object's own box
        ((0, 0, 59, 39), (1, 1.0)),  # the whole image: the first of two that are seen whole
        ((22, 12, 25, 15), (1, 1.0)),  # inside the object: it fills the window
        ((20, 5, 29, 14), (1, 0.5)),  # its upper half
        ((25, 10, 36, 19), (1, 0.5)),  # half of either: the first
        ((37, 10, 60, 19), (2, 0.5)),
        ((0, 0, 9, 9), (0, 0.0)),  # background only
        ((-9, -9, -1, -1), (0, 0.0)),  # outside of the image
    ],
)
def test_overlap_is_the_share_seen_of_an_object_or_filled_by_it(one_image, window, best):
    assert examples.object_overlap(voc.read_label(one_image.objects("i")), window) == best


def test_boxes_are_tight_and_leave_void_out(one_image):
    assert examples.object_boxes(voc.read_label(one_image.objects("i"))) == {1: (20, 10, 29, 19), 2: (32, 10, 41, 19)}


@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(1, 30), st.integers(1, 30), st.floats(1, 3))
def test_a_scaled_box_keeps_its_centre_and_grows_by_the_factor(x, y, width, height, factor):
    x1, y1, x2, y2 = examples.scaled((x, y, x + width - 1, y + height - 1), factor)
    assert x2 - x1 + 1 == round(width * factor) and y2 - y1 + 1 == round(height * factor)
    assert abs((x1 + x2) - (2 * x + width - 1)) <= 1 and abs((y1 + y2) - (2 * y + height - 1)) <= 1
