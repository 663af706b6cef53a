"""Windows and score maps against the definition: dense matrices of weights, written down value by value."""

import numpy as np
import pytest
from arrays import host, numbers, put
from hypothesis import given
from hypothesis import strategies as st

from deconvnet.core import kernels

SIZES = [(9, 17), (17, 9), (9, 9), (9, 1), (1, 9), (1, 1), (64, 5), (5, 64), (7, 70)]
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}


def weights(length, wanted, antialias):
    """(wanted, length): the share of each value of an axis in each value of the resized one."""
    reach = max(length / wanted, 1) if antialias else 1
    matrix = np.zeros((wanted, length))
    for i in range(wanted):
        place = (i + 0.5) * length / wanted - 0.5
        for tap in range(-length, 2 * length):
            mirrored = -1 - tap if tap < 0 else 2 * length - 1 - tap if tap >= length else tap
            matrix[i, mirrored] += max(1 - abs(place - tap) / reach, 0)
    return matrix / matrix.sum(axis=1, keepdims=True)


def resized(maps, height, width, antialias):
    """(..., height, width) of maps (..., h, w), in double."""
    down, across = weights(maps.shape[-2], height, antialias), weights(maps.shape[-1], width, antialias)
    return down @ maps.astype(np.float64) @ across.T


def merged(maps, boxes, size, greatest=False, antialias=True):
    """Each map as a plane of the canvas, zero outside of its box; their sum, or the greatest of them and zero."""
    planes = [np.zeros((maps.shape[1], *size))]
    for scores, (x1, y1, x2, y2) in zip(maps, boxes, strict=True):
        scores = resized(scores, y2 - y1 + 1, x2 - x1 + 1, antialias)
        plane = np.zeros_like(planes[0])
        for y in range(max(y1, 0), min(y2 + 1, size[0])):
            for x in range(max(x1, 0), min(x2 + 1, size[1])):
                plane[:, y, x] = scores[:, y - y1, x - x1]
        planes.append(plane)
    return np.max(planes, axis=0) if greatest else np.sum(planes, axis=0)


def merge(maps, boxes, size, greatest=False, antialias=True, canvas=None):
    """The same by the kernel, on the device of the mode."""
    maps = put(maps)
    canvas = put(np.zeros((maps.shape[1], *size), maps.dtype)) if canvas is None else canvas
    taps = kernels.map_taps(boxes, maps.shape[2:], size, maps, antialias)
    kernels.merge_maps(maps, taps, canvas, greatest)
    return host(canvas)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("columns", [(9, 17), (17, 9), (6, 6), (31, 1)])
def test_a_map_is_resized_to_its_box(device, rows, columns, antialias, dtype):
    maps = numbers(1, 2, rows[0], columns[0], dtype=dtype)
    found = merge(maps, [(0, 0, columns[1] - 1, rows[1] - 1)], (rows[1], columns[1]), antialias=antialias)
    expected = resized(maps[0], rows[1], columns[1], antialias)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype])


BOXES = [(-4, -3, 5, 6), (3, 2, 3, 2), (0, 0, 13, 9), (8, 5, 20, 30), (14, 0, 20, 4), (-9, -9, -1, -1), (2, 2, 9, 9)]


@pytest.mark.parametrize("greatest", [False, True])
@pytest.mark.parametrize("antialias", [True, False])
def test_boxes_are_merged_where_they_lie_on_the_canvas(device, antialias, greatest):
    """Over each border, of one pixel, the whole, beside it, and twice the same."""
    boxes = [*BOXES, BOXES[0]]
    maps = numbers(len(boxes), 3, 7, 8)
    found = merge(maps, boxes, (10, 14), greatest, antialias)
    np.testing.assert_allclose(found, merged(maps, boxes, (10, 14), greatest, antialias), rtol=0, atol=1e-12)


@given(
    places=st.lists(
        st.tuples(st.integers(-12, 20), st.integers(-12, 14), st.integers(0, 30), st.integers(0, 30)), max_size=6
    ),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    canvas=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    greatest=st.booleans(),
    antialias=st.booleans(),
)
def test_any_boxes_on_any_canvas(device, places, size, canvas, greatest, antialias):
    boxes = [(x, y, x + width, y + height) for x, y, width, height in places]
    maps = numbers(len(boxes), 2, *size)
    found = merge(maps, boxes, canvas, greatest, antialias)
    np.testing.assert_allclose(found, merged(maps, boxes, canvas, greatest, antialias), rtol=0, atol=1e-11)


def test_maps_are_added_in_the_order_of_their_boxes(device):
    """So that batches of boxes give the very same sum as all at once, on any grid."""
    boxes, maps = BOXES * 3, numbers(3 * len(BOXES), 2, 7, 8, dtype=np.float32) * 1000
    at_once, canvas = merge(maps, boxes, (10, 14)), put(np.zeros((2, 10, 14), np.float32))
    taps = kernels.map_taps(boxes, (7, 8), (10, 14), canvas)
    for first in range(0, len(boxes), 4):
        batch = put(maps[first : first + 4])
        kernels.merge_maps(batch, taps.of(first, first + 4), canvas)
    np.testing.assert_array_equal(host(canvas), at_once)


def test_no_boxes_leave_the_canvas_as_it_is(device):
    canvas = put(numbers(2, 3, 4))
    np.testing.assert_array_equal(merge(np.zeros((0, 2, 5, 5)), [], (3, 4), canvas=canvas), numbers(2, 3, 4))


def test_what_is_not_a_number_is_not_hidden_by_a_maximum(device):
    maps = np.array([1, np.nan, 2]).reshape(3, 1, 1, 1)
    assert np.isnan(merge(maps, [(0, 0, 1, 1)] * 3, (2, 2), greatest=True)).all()


def windows(image, boxes, size, mean, scale, antialias):
    """Each box cut out, zero beyond the border, resized, shifted and scaled."""
    height, width, channels = image.shape
    out = []
    for x1, y1, x2, y2 in boxes:
        crop = np.zeros((channels, y2 - y1 + 1, x2 - x1 + 1))
        for y in range(max(y1, 0), min(y2 + 1, height)):
            for x in range(max(x1, 0), min(x2 + 1, width)):
                crop[:, y - y1, x - x1] = image[y, x]
        out.append((resized(crop, *size, antialias) - np.reshape(mean, (-1, 1, 1))) * scale)
    return np.array(out)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(10, 10), (4, 3), (25, 33), (1, 1), (3, 70)])
def test_windows_of_an_image_become_a_nets_input(device, size, antialias, dtype):
    image = np.random.default_rng(0).integers(0, 256, (10, 14, 3), dtype=np.uint8)
    mean, scale = (100.0, 110.0, 120.0), 0.5
    out = put(np.full((len(BOXES), 3, *size), np.nan, dtype))
    taps = kernels.window_taps(BOXES, size, out, antialias)
    kernels.resize_windows(put(image), taps, put(np.array(mean, dtype)), scale, out)
    expected = windows(image, BOXES, size, mean, scale, antialias)
    np.testing.assert_allclose(host(out), expected, rtol=0, atol=255 * TOLERANCE[dtype])


def test_taps_of_some_boxes_make_those_windows(device):
    image, mean = put(np.arange(60, dtype=np.uint8).reshape(5, 4, 3)), put(np.zeros(3))
    boxes = [(0, 0, 3, 4), (1, 1, 2, 2), (-1, 2, 5, 3), (2, 0, 2, 4)]
    all_of_them, two = put(np.zeros((4, 3, 6, 7))), put(np.zeros((2, 3, 6, 7)))
    taps = kernels.window_taps(boxes, (6, 7), two)
    kernels.resize_windows(image, taps, mean, 1.0, all_of_them)
    kernels.resize_windows(image, taps.of(1, 3), mean, 1.0, two)
    np.testing.assert_array_equal(host(two), host(all_of_them)[1:3])


@pytest.mark.parametrize(
    "boxes, said",
    [
        ([(0, 0, 1 << 30, 5)], "a box reaches 1073741824 pixels from the image's corner, and 1073741823 are the most"),
        (
            [(0, 0, 1 << 29, 5)] * 2,
            "2 boxes take 2147483676 weights, and 32 bits count 2147483647: merge fewer at once",
        ),
    ],
)
def test_boxes_beyond_what_kernels_count_are_refused(boxes, said):
    with pytest.raises(ValueError, match=said):
        kernels.window_taps(boxes, (2, 2), np.zeros(1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 3, 4), (5, 1, 1), (7, 30, 40), (256, 2, 3)])
def test_a_place_takes_its_greatest_class_the_first_of_equal_ones(device, shape, dtype):
    x = np.round(numbers(*shape, dtype=dtype))
    x[shape[0] // 2, 0] = x[-1, -1] = np.nan  # as NumPy's argmax: the first that is not a number
    out = put(np.full(shape[1:], 99, np.uint8))
    kernels.class_map(put(x), out)
    np.testing.assert_array_equal(host(out), x.argmax(axis=0))


def test_more_classes_than_a_byte_tells_are_refused():
    with pytest.raises(ValueError, match="257 classes, and a map of classes holds 256 at most"):
        kernels.class_map(np.zeros((257, 2)), np.zeros(2, np.uint8))
