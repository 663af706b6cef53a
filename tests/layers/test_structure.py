"""Split, Concat, Crop and Silence: values that move without being computed."""

import numpy as np
import pytest
from arrays import numbers
from gradient_check import check_gradients
from one_layer import OneLayer


@pytest.mark.parametrize("count", [1, 2, 3])
def test_split_shares_its_data_and_sums_its_gradients(device, count):
    layer = OneLayer('type: "Split"', numbers(2, 3), tops=count)
    for y in layer.forward():
        np.testing.assert_array_equal(y, layer.inputs[0])
    assert all(np.shares_memory(top.host_data, layer.bottom[0].host_data) for top in layer.top)
    diffs = [numbers(2, 3, seed=k) for k in range(count)]
    np.testing.assert_allclose(layer.backward(*diffs)[0], sum(diffs), rtol=0, atol=1e-14)


def concat(param, *bottoms):
    return OneLayer(f'type: "Concat" concat_param {{ {param} }}', *bottoms)


CONCATS = [
    ("", [(2, 1, 3, 2), (2, 3, 3, 2), (2, 2, 3, 2)], 1),
    ("axis: 0", [(1, 2), (3, 2)], 0),
    ("axis: -1", [(2, 2, 1), (2, 2, 3)], 2),
    ("concat_dim: 2", [(1, 2, 1, 2), (1, 2, 2, 2)], 2),
    ("", [(2, 3)], 1),
]


@pytest.mark.parametrize("param, shapes, axis", CONCATS)
def test_concat(device, param, shapes, axis):
    bottoms = [numbers(*shape, seed=k) for k, shape in enumerate(shapes)]
    layer = concat(param, *bottoms)
    np.testing.assert_array_equal(layer.forward()[0], np.concatenate(bottoms, axis=axis))
    if len(bottoms) > 1:  # one bottom is shared with the top, its gradient too
        check_gradients(layer)


def test_concat_of_one_bottom_is_that_bottom(device):
    layer = concat("", numbers(2, 3))
    layer.forward()
    layer.top[0].host_diff[...] = 4
    assert np.shares_memory(layer.top[0].host_data, layer.bottom[0].host_data)
    np.testing.assert_array_equal(layer.bottom[0].host_diff, 4)


def test_concat_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="they may differ along axis 1 only"):
        concat("", numbers(2, 3), numbers(1, 3))
    with pytest.raises(ValueError, match="they may differ along axis 1 only"):
        concat("", numbers(2, 3), numbers(2, 3, 1))
    with pytest.raises(ValueError, match="give axis or concat_dim; not both"):
        concat("axis: 1 concat_dim: 1", numbers(2, 3))


def crop(param, x, reference, **options):
    return OneLayer(f'type: "Crop" {param}', x, reference, **options)


CROPS = [
    ("crop_param { }", (1, 2, 5, 6), (1, 1, 3, 2), np.s_[:, :, :3, :2]),
    ("crop_param { offset: 1 }", (1, 2, 5, 6), (9, 9, 3, 2), np.s_[:, :, 1:4, 1:3]),
    ("crop_param { offset: 2 offset: 4 }", (2, 1, 5, 6), (1, 1, 3, 2), np.s_[:, :, 2:, 4:]),
    ("crop_param { axis: 1 offset: 1 offset: 0 offset: 2 }", (1, 3, 2, 4), (1, 2, 1, 1), np.s_[:, 1:, :1, 2:3]),
    ("crop_param { axis: -1 offset: 1 }", (2, 4), (3, 2), np.s_[:, 1:3]),
    ("crop_param { axis: 0 offset: 1 }", (3, 4), (2, 2), np.s_[1:, 1:3]),
]


@pytest.mark.parametrize("param, shape, reference, place", CROPS)
def test_crop(device, param, shape, reference, place):
    layer = crop(param, numbers(*shape), numbers(*reference))
    np.testing.assert_array_equal(layer.forward()[0], layer.inputs[0][place])
    check_gradients(layer)


def test_crop_at_the_offset_that_the_net_computed(device):
    """V1's CROP has no crop_param."""
    layer = crop("", numbers(1, 2, 5, 6), numbers(1, 1, 3, 2), before_setup={"computed_offset": (1, 3)})
    np.testing.assert_array_equal(layer.forward()[0], layer.inputs[0][:, :, 1:4, 3:5])


@pytest.mark.parametrize(
    "param, x, reference, said",
    [
        ("crop_param { offset: 3 }", (1, 1, 4, 4), (1, 1, 2, 2), "cannot take 2 values from offset 3 on"),
        (
            "crop_param { offset: 0 offset: 0 offset: 0 }",
            (1, 1, 4, 4),
            (1, 1, 2, 2),
            "3 offsets: give one, or one for each of the 2 axes",
        ),
        ("crop_param { }", (1, 1, 4, 4), (1, 2, 2), "4 and 3 axes"),
        ("crop_param { axis: 4 }", (1, 1, 4, 4), (1, 1, 2, 2), "axis 4 does not exist"),
    ],
)
def test_a_crop_that_cannot_be_is_refused(param, x, reference, said):
    with pytest.raises(ValueError, match=said):
        crop(param, numbers(*x), numbers(*reference))


def test_a_computed_offset_before_the_map_is_refused():
    with pytest.raises(ValueError, match="cannot take 2 values from offset -1 on"):
        crop("", numbers(1, 1, 4, 4), numbers(1, 1, 2, 2), before_setup={"computed_offset": (0, -1)})


def test_silence_takes_anything_and_gives_zero_gradients(device):
    layer = OneLayer('type: "Silence"', numbers(2, 3), numbers(4), tops=0)
    layer.forward()
    for diff in layer.backward():
        np.testing.assert_array_equal(diff, 0)
    assert np.isnan(layer.backward(propagate_down=[False, True])[0]).all()
