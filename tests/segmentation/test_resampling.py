import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deconvnet.core.segmentation.resampling import resize, shrunk

sizes = st.integers(1, 40)


def test_antialiasing_averages_what_a_plain_resize_skips():
    fine = np.zeros((1, 16, 8), np.float32)
    fine[:, ::4] = 100  # rows 100 0 0 0 100 0 0 0 ...
    np.testing.assert_allclose(resize(fine, 4, 8)[:, 1:-1], 25)
    np.testing.assert_allclose(resize(fine, 4, 16)[:, 1:-1], 25)  # one side shrinks, the other grows
    np.testing.assert_allclose(resize(fine, 4, 8, antialias=False), 0)  # between the second and third of four rows


@given(h=sizes, w=sizes, height=sizes, width=sizes, antialias=st.booleans())
def test_an_even_map_stays_even(h, w, height, width, antialias):
    out = resize(np.full((2, h, w), 3.0), height, width, antialias)
    assert out.shape == (2, height, width) and out.dtype == np.float32
    np.testing.assert_allclose(out, 3, rtol=1e-5)


@given(h=sizes, w=sizes)
def test_the_same_size_is_the_same_map(h, w):
    maps = np.random.default_rng(h).random((3, h, w), dtype=np.float32)
    np.testing.assert_array_equal(resize(maps, h, w), maps)


@given(h=sizes, w=sizes, height=sizes, width=sizes)
def test_a_plain_resize_is_opencvs(h, w, height, width):
    maps = np.random.default_rng(h * 41 + w).random((2, h, w), dtype=np.float32)
    theirs = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in maps]
    np.testing.assert_allclose(resize(maps, height, width, antialias=False), theirs, atol=2e-5)


@pytest.mark.parametrize("height, width", [(17, 23), (60, 80), (97, 11), (5, 200)])
def test_inside_of_the_border_an_antialiased_resize_is_pillows(height, width):
    plane = np.random.default_rng(0).random((97, 80), dtype=np.float32)
    theirs = np.array(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
    ours = resize(plane[None], height, width)[0]
    np.testing.assert_allclose(ours[1:-1, 1:-1], theirs[1:-1, 1:-1], atol=1e-5)


def test_beyond_the_border_the_map_is_mirrored():
    ramp = np.arange(6, dtype=np.float32).reshape(1, 1, 6)
    # two pixels of 3: triangles of reach 3 about 1 and 4, the first over -1, 0, 1, 2, 3 where -1 holds what 0 holds
    weights = np.array([1, 2, 3, 2, 1]) / 9
    np.testing.assert_allclose(
        resize(ramp, 1, 2)[0, 0], [weights @ [0, 0, 1, 2, 3], weights @ [2, 3, 4, 5, 5]], rtol=1e-6
    )


@given(h=sizes, height=st.integers(1, 300), rows=st.tuples(st.integers(0, 300), st.integers(0, 300)))
def test_some_rows_of_a_result_are_those_rows_of_the_whole(h, height, rows):
    maps = np.random.default_rng(h).random((2, h, 3), dtype=np.float32)
    start, stop = min(rows), max(rows)
    some = resize(maps, height, 5, rows=(start, stop))
    np.testing.assert_allclose(some, resize(maps, height, 5)[:, start:stop], atol=1e-6)


def test_an_image_is_shrunk_to_its_longest_side_and_never_enlarged():
    image = np.full((30, 60, 3), 9, np.uint8)
    assert shrunk(image, 20).shape == (10, 20, 3) and (shrunk(image, 20) == 9).all()
    assert shrunk(image, 60) is image and shrunk(image, None) is image
    assert shrunk(np.zeros((1, 5000, 3), np.uint8), 10).shape == (1, 10, 3)
