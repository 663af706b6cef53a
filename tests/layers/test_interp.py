"""Interp against the definition: dense matrices of weights, written down value by value."""

import numpy as np
import pytest
from arrays import numbers
from gradient_check import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from one_layer import OneLayer


def interp(x, fields="", *like, **options):
    return OneLayer(f'type: "Interp" interp_param {{ {fields} }}', x, *like, **options)


def weights(length, wanted):
    """(wanted, length): what each value takes of each."""
    matrix = np.zeros((wanted, length))
    for j in range(wanted):
        place = j * (length - 1) / (wanted - 1) if wanted > 1 else 0
        below = min(int(place), length - 1)
        matrix[j, below] += 1 - (place - below)
        matrix[j, min(below + 1, length - 1)] += place - below
    return matrix


def resized(x, height, width):
    return weights(x.shape[2], height) @ x @ weights(x.shape[3], width).T


SIZES = [
    ((3, 4), (5, 9)),
    ((5, 9), (3, 4)),
    ((1, 1), (4, 3)),
    ((4, 3), (1, 1)),
    ((1, 5), (3, 5)),
    ((2, 7), (7, 2)),
    ((4, 4), (4, 4)),
]


@pytest.mark.parametrize("size, wanted", SIZES)
@pytest.mark.parametrize("images", [1, 2])
def test_values_and_gradients(device, images, size, wanted):
    layer = interp(numbers(images, 2, *size), f"height: {wanted[0]} width: {wanted[1]}")
    np.testing.assert_allclose(layer.forward()[0], resized(layer.inputs[0], *wanted), rtol=0, atol=1e-14)
    check_gradients(layer)


@given(height=st.integers(1, 40), width=st.integers(1, 40), rows=st.integers(1, 90), columns=st.integers(1, 90))
def test_any_size(device, height, width, rows, columns):
    layer = interp(numbers(1, 2, height, width), f"height: {rows} width: {columns}")
    np.testing.assert_allclose(layer.forward()[0], resized(layer.inputs[0], rows, columns), rtol=0, atol=1e-12)
    dy = numbers(1, 2, rows, columns, seed=1)
    expected = weights(height, rows).T @ dy @ weights(width, columns)
    np.testing.assert_allclose(layer.backward(dy)[0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "size, fields, wanted",
    [
        ((5, 4), "zoom_factor: 8", (33, 25)),
        ((41, 33), "shrink_factor: 8", (6, 5)),
        ((42, 40), "shrink_factor: 8", (6, 5)),
        ((9, 9), "shrink_factor: 4 zoom_factor: 2", (5, 5)),
        ((1, 1), "zoom_factor: 8", (1, 1)),
    ],
)
def test_factors_make_the_size(size, fields, wanted):
    assert interp(numbers(1, 1, *size), fields).forward()[0].shape == (1, 1, *wanted)


def test_a_second_bottom_gives_the_size(device):
    layer = interp(numbers(2, 3, 4, 5), "", numbers(1, 1, 7, 9))
    np.testing.assert_allclose(layer.forward()[0], resized(layer.inputs[0], 7, 9), rtol=0, atol=1e-14)


@pytest.mark.parametrize("begin, end", [(-1, 0), (0, -2), (-2, -1)])
def test_what_is_padded_off_takes_no_part(device, begin, end):
    x = numbers(2, 2, 6, 8)
    layer = interp(x, f"height: 5 width: 7 pad_beg: {begin} pad_end: {end}")
    inside = x[:, :, -begin : 6 + end, -begin : 8 + end]
    np.testing.assert_allclose(layer.forward()[0], resized(inside, 5, 7), rtol=0, atol=1e-14)
    check_gradients(layer)


def test_labels_shrink_to_labels(device):
    """As DeepLab shrinks its label maps: each value is that of one place, to the bit, in float32 too."""
    labels = np.random.default_rng(1).choice([0.0, 1, 20, 255], (2, 1, 322, 330))
    layer = interp(labels, "shrink_factor: 8 pad_beg: -1 pad_end: 0", dtype=np.float32)
    np.testing.assert_array_equal(layer.forward()[0][:, :, :, :42], labels[:, :, 1::8, 1::8][:, :, :, :42])


@pytest.mark.parametrize(
    "fields, said",
    [
        ("", "give its size once"),
        ("zoom_factor: 2 height: 3 width: 3", "give its size once"),
        ("height: 3", "give both height and width"),
        ("zoom_factor: 0", "zoom_factor must be at least 1, not 0"),
        ("zoom_factor: 2 pad_beg: 1", "pad_beg and pad_end leave rows and columns out: 0 or less"),
        ("zoom_factor: 2 pad_beg: -1 pad_end: -1", "pad_beg -1 and pad_end -1 leave nothing of a map of 2x3"),
    ],
)
def test_settings_that_cannot_be_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        interp(numbers(1, 1, 2, 3), fields)
