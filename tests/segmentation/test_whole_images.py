import numpy as np
import pytest

from deconvnet.core.segmentation import synthetic
from deconvnet.core.segmentation.whole_images import write_whole_images


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    return synthetic.write_dataset(tmp_path_factory.mktemp("data"), train=5, val=1).root


def windows(lines):
    """(width, height, x1, y1, x2, y2) of each line."""
    corners = np.array([line.split()[-4:] for line in lines], int)
    return np.column_stack([corners[:, 2:] - corners[:, :2] + 1, corners])


def test_without_scales_a_line_is_the_image_and_its_label(data_set):
    lines = write_whole_images(data_set, "val", data_set / "val.txt")
    assert lines == ["/JPEGImages/val_0000.jpg /SegmentationClass/val_0000.png"]
    assert (data_set / "val.txt").read_text().splitlines() == lines


def test_at_scale_1_a_window_is_the_image_itself(data_set):
    lines = write_whole_images(data_set, "val", data_set / "val.txt", scales=(1, 1))
    assert lines == ["/JPEGImages/val_0000.jpg /SegmentationClass/val_0000.png 0 0 159 119"]


def test_windows_have_the_images_aspect_and_sides_within_the_scales(data_set):
    lines = write_whole_images(data_set, "train", data_set / "train.txt", per_image=40, scales=(0.5, 2))
    width, height, *_ = windows(lines).T
    assert len(lines) == 200
    assert 80 <= width.min() < 90 and 280 < width.max() <= 320
    assert abs(width / height - 4 / 3).max() < 0.02


def test_small_windows_lie_inside_the_image_and_large_ones_around_it(data_set):
    lines = write_whole_images(data_set, "train", data_set / "train.txt", per_image=40, scales=(0.5, 2))
    for width, _, x1, y1, x2, y2 in windows(lines):
        if width <= 160:
            assert 0 <= x1 and 0 <= y1 and x2 < 160 and y2 < 120
        else:
            assert x1 <= 0 and y1 <= 0 and x2 >= 159 and y2 >= 119


def test_the_windows_of_an_image_depend_on_the_seed_and_its_place_alone(data_set):
    def lines(**kind):
        return write_whole_images(data_set, "train", data_set / "train.txt", scales=(0.5, 2), **kind)

    assert lines(per_image=3, seed=4)[::3] == lines(per_image=1, seed=4)
    assert lines(per_image=3, seed=4) != lines(per_image=3, seed=5)


@pytest.mark.parametrize("scales", [(0, 1), (2, 1), (-1, 1)])
def test_scales_that_are_no_range_are_refused(data_set, scales):
    with pytest.raises(ValueError, match="must be a lowest and a highest factor above 0"):
        write_whole_images(data_set, "train", data_set / "train.txt", scales=scales)
