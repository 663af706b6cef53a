import numpy as np

from deconvnet.core.segmentation.color_baseline import ColorLookup


def row(*colors):
    """An image of one row."""
    return np.array([colors], np.uint8)


def test_a_colour_gets_the_class_it_had_most_often():
    lookup = ColorLookup(3)
    lookup.fit(row((200, 0, 0), (201, 1, 1), (207, 15, 15), (0, 0, 200)), np.array([[2, 2, 1, 1]], np.uint8))
    assert lookup.predict(row((206, 9, 3), (1, 1, 199))).tolist() == [[2, 1]]


def test_channels_and_sixteenths_are_told_apart():
    lookup = ColorLookup(5)
    colors = row((16, 0, 0), (0, 16, 0), (0, 0, 16), (15, 15, 15))
    lookup.fit(colors, np.array([[1, 2, 3, 4]], np.uint8))
    assert lookup.predict(colors).tolist() == [[1, 2, 3, 4]]


def test_a_colour_never_seen_is_background():
    lookup = ColorLookup(2)
    lookup.fit(row((255, 255, 255)), np.array([[1]], np.uint8))
    assert lookup.predict(row((0, 0, 0), (255, 255, 255))).tolist() == [[0, 1]]


def test_void_pixels_teach_nothing():
    lookup = ColorLookup(2)
    lookup.fit(row((9, 9, 9), (9, 9, 9), (9, 9, 9)), np.array([[255, 255, 1]], np.uint8))
    assert lookup.counts.sum() == 1
