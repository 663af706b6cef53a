"""The way of a window into the blob: how WindowData resizes, pads and mirrors it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deconvnet.core import proto
from deconvnet.core.layers.window_data import Warp
from deconvnet.core.proto import caffe_pb2


def rounded(value):
    return math.floor(value + 0.5) if value >= 0 else -math.floor(-value + 0.5)


def bilinear(part, height, width):
    """(H, W) in another size: each new pixel's middle between the middles of the old ones, the outer ones continued."""
    for axis, new in enumerate((height, width)):
        old = part.shape[axis]
        places = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.floor(places).astype(int)
        share = (places - low).reshape((-1, 1) if axis == 0 else (1, -1))
        part = part.take(low, axis) * (1 - share) + part.take(np.minimum(low + 1, old - 1), axis) * share
    return part


def definition(plane, window, crop, context=0, square=False, mirrored=False):
    """One plane of the warped window by R-CNN's rules; NaN where the image does not reach."""
    x1, y1, x2, y2 = window
    if context or square:
        half = {"x": np.float32(x2 - x1 + 1) / 2, "y": np.float32(y2 - y1 + 1) / 2}
        middle = {"x": x1 + half["x"], "y": y1 + half["y"]}
        if square:
            half = dict.fromkeys("xy", max(half.values()))
        stretch = np.float32(crop) / np.float32(crop - 2 * context)
        x1, x2 = (rounded(float(middle["x"] + sign * half["x"] * stretch)) for sign in (-1, 1))
        y1, y2 = (rounded(float(middle["y"] + sign * half["y"] * stretch)) for sign in (-1, 1))
    left, above = max(0, -x1), max(0, -y1)
    right, below = max(0, x2 - plane.shape[1] + 1), max(0, y2 - plane.shape[0] + 1)
    part = plane[y1 + above : y2 - below + 1, x1 + left : x2 - right + 1]
    to_x, to_y = crop / (x2 - x1 + 1), crop / (y2 - y1 + 1)
    down, aside = rounded(above * to_y), rounded((right if mirrored else left) * to_x)
    height = min(rounded(part.shape[0] * to_y), crop - down)
    width = min(rounded(part.shape[1] * to_x), crop - aside)
    result = np.full((crop, crop), np.nan)
    if height and width:
        small = bilinear(part.astype(float), height, width)
        result[down : down + height, aside : aside + width] = small[:, ::-1] if mirrored else small
    return result


def make_warp(crop, context=0, mode="warp", mean=0.0, scale=1.0):
    text = f"window_data_param {{ context_pad: {context} crop_mode: '{mode}' }} transform_param {{ crop_size: {crop} }}"
    mean = np.asarray(mean, float)
    return Warp(
        proto.parse(text, caffe_pb2.LayerParameter()),
        mean if mean.ndim == 3 else np.resize(mean, (3, 1, 1)),
        scale,
        np.float64,
    )


TEXTURE = np.random.default_rng(5).integers(0, 256, (13, 17, 3), np.uint8)


def assert_warped(window, crop, context, mode, mirrored, image=TEXTURE):
    """OpenCV rounds to whole levels, by weights of 11 bits."""
    data = make_warp(crop, context, mode)(image, np.array(window, np.int32), mirrored)
    for ours, plane in zip(data, image.transpose(2, 0, 1), strict=True):
        expected = definition(plane, window, crop, context, mode == "square", mirrored)
        np.testing.assert_array_equal(ours[np.isnan(expected)], 0)
        np.testing.assert_allclose(ours[~np.isnan(expected)], expected[~np.isnan(expected)], atol=1, rtol=0)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("mode", ["warp", "square"])
@pytest.mark.parametrize("context", [0, 1, 3])
@pytest.mark.parametrize("window", [(3, 4, 9, 7), (0, 0, 16, 12), (0, 5, 3, 12), (12, 0, 16, 3), (8, 6, 8, 6), (0, 0, 0, 12)])  # fmt: skip
def test_a_window_is_resized_with_its_context_as_the_definition_says(window, context, mode, mirrored):
    assert_warped(window, 9, context, mode, mirrored)


@given(
    corners=st.tuples(*[st.tuples(st.integers(0, side), st.integers(0, side)) for side in (16, 12)]),
    crop=st.integers(1, 20),
    context=st.integers(0, 9),
    mode=st.sampled_from(["warp", "square"]),
    mirrored=st.booleans(),
)
def test_any_window_of_the_image_is_resized_as_the_definition_says(corners, crop, context, mode, mirrored):
    (x1, x2), (y1, y2) = map(sorted, corners)
    assert_warped((x1, y1, x2, y2), crop, min(context, (crop - 1) // 2), mode, mirrored)


@pytest.mark.parametrize("window", [(-4, 2, 5, 9), (10, -3, 20, 30), (-9, -9, 40, 40)])
def test_with_context_a_window_may_reach_beyond_the_image(window):
    for mirrored in (False, True):
        assert_warped(window, 10, 2, "warp", mirrored)
        assert_warped(window, 10, 0, "square", mirrored)


def test_what_context_of_a_window_lies_outside_of_the_image_is_the_mean():
    """Of 8 pixels with a context of 2, the window takes the middle four; at the corner two rows and columns lie outside."""
    image = np.full((40, 40, 3), 50, np.uint8)
    data = make_warp(8, context=2, mean=[10, 20, 30], scale=2)(image, np.array([0, 0, 3, 3], np.int32), False)
    assert (data[:, :2] == 0).all() and (data[:, :, :2] == 0).all()
    np.testing.assert_array_equal(data[:, 2:7, 2:7], np.broadcast_to(np.reshape([80, 60, 40], (3, 1, 1)), (3, 5, 5)))


def test_a_mean_keeps_its_place_under_a_window_that_is_padded():
    image = np.full((40, 40, 3), 50, np.uint8)
    mean = np.arange(3 * 8 * 8).reshape(3, 8, 8)
    data = make_warp(8, context=2, mean=mean)(image, np.array([0, 0, 3, 3], np.int32), False)
    np.testing.assert_array_equal(data[:, 2:7, 2:7], 50 - mean[:, 2:7, 2:7])


def test_mirroring_takes_the_padding_along():
    image = np.full((40, 40, 3), 50, np.uint8)
    data = make_warp(8, context=2)(image, np.array([0, 10, 3, 13], np.int32), True)
    assert (data[:, :, :6] == 50).all() and (data[:, :, 7:] == 0).all()


def test_a_square_is_as_wide_as_the_window_is_high():
    """Around the window's middle, and a pixel longer to the right and below, as Caffe has it."""
    image = np.stack([np.tile(np.arange(30, dtype=np.uint8), (30, 1))] * 3, axis=2)
    data = make_warp(9, mode="square")(image, np.array([14, 8, 15, 15], np.int32), False)
    np.testing.assert_array_equal(data[0], np.tile(np.arange(11, 20), (9, 1)))


def test_an_image_of_which_less_than_half_a_pixel_would_be_left_is_left_out():
    """A line in a square: Caffe aborts."""
    line = np.full((100, 1, 3), 50, np.uint8)
    assert (make_warp(9, mode="square")(line, np.array([0, 0, 0, 99], np.int32), False) == 0).all()
