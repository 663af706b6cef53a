import numpy as np
import pytest

from deconvnet.core.segmentation.overlay import overlay
from deconvnet.core.segmentation.voc import CLASSES, palette


def label_with(*classes, size=(60, 90)):
    label = np.zeros(size, np.uint8)
    for i, k in enumerate(classes):
        label[10:50, 5 + 12 * i : 15 + 12 * i] = k
    return label


def test_the_background_keeps_the_photograph_in_rgb():
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    drawn = overlay(image, label_with(), CLASSES)
    np.testing.assert_array_equal(drawn, image[..., ::-1])


def test_a_class_is_tinted_in_vocs_colour_and_outlined():
    drawn = overlay(np.zeros((60, 90, 3), np.uint8), label_with(15), CLASSES)
    np.testing.assert_allclose(drawn[30, 8], 0.55 * palette()[15], atol=1)
    assert (drawn[9, 5:15] == 255).all()


def test_the_legend_shows_a_swatch_for_each_class_that_is_there():
    image = np.zeros((60, 90, 3), np.uint8)
    drawn = overlay(image, label_with(1, 7, 20), CLASSES)
    legend = drawn[60:].reshape(-1, 3)
    for k in range(1, 21):
        assert (legend == palette()[k]).all(axis=1).any() == (k in (1, 7, 20))


def test_a_narrow_image_wraps_its_legend_and_void_has_no_entry():
    wide = overlay(np.zeros((60, 400, 3), np.uint8), label_with(1, 2, 255, size=(60, 400)), CLASSES)
    narrow = overlay(np.zeros((60, 90, 3), np.uint8), label_with(1, 2, 255), CLASSES)
    assert narrow.shape[1] == 90 and narrow.shape[0] > wide.shape[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
def test_the_smallest_images_can_be_drawn(size):
    drawn = overlay(np.zeros((*size, 3), np.uint8), np.ones(size, np.uint8), CLASSES)
    assert drawn.shape[1] == size[1] and drawn.dtype == np.uint8


def test_a_photograph_of_many_rows_is_tinted_to_its_end():
    draw = np.random.default_rng(0)
    image, label = draw.integers(0, 256, (150, 9, 3), dtype=np.uint8), np.full((150, 9), 3, np.uint8)
    drawn = overlay(image, label, CLASSES)
    np.testing.assert_array_equal(drawn[:150], np.uint8((1 - 0.55) * image[..., ::-1] + 0.55 * palette()[3]))
