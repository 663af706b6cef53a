"""Upsample: SegNet's words for unpooling by switches, which test_unpooling.py tests."""

import numpy as np
import pytest
import reference
from arrays import numbers, spaced
from gradient_check import check_gradients
from one_layer import OneLayer


def upsample(x, switches, fields, **options):
    return OneLayer(f'type: "Upsample" upsample_param {{ {fields} }}', x, switches, **options)


@pytest.mark.parametrize(
    "size, fields",
    [
        ((4, 6), ""),
        ((4, 6), "scale: 2"),
        ((6, 9), "scale: 3"),
        ((4, 9), "scale_h: 2 scale_w: 3"),
        ((3, 6), "scale: 2 pad_out_h: true"),
        ((4, 5), "scale: 2 pad_out_w: true"),
        ((3, 5), "upsample_h: 3 upsample_w: 5"),
    ],
)
def test_it_unpools_to_the_size_that_its_fields_say(device, size, fields):
    x = numbers(2, 3, 2, 3)
    switches = np.stack([np.random.default_rng(k).permutation(size[0] * size[1])[:6] for k in range(6)])
    switches = switches.reshape(2, 3, 2, 3).astype(float)
    layer = upsample(x, switches, fields)
    np.testing.assert_array_equal(layer.forward()[0], reference.unpool(x, switches, *size))
    check_gradients(layer)


@pytest.mark.parametrize("height, width", [(4, 6), (5, 6), (4, 7), (1, 2)])
def test_it_inverts_pooling_at_the_maxima(device, height, width):
    x = spaced(2, 2, height, width)
    pooling = OneLayer('type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }', x, tops=2)
    y, switches = pooling.forward()
    fields = f"scale: 2 pad_out_h: {str(height % 2 == 1).lower()} pad_out_w: {str(width % 2 == 1).lower()}"
    layer = upsample(y, switches, fields, before_setup={"pooling": pooling.layer, "pooled": pooling.bottom[0]})
    np.testing.assert_array_equal(layer.forward()[0], np.where(np.isin(x, y), x, 0))


def test_a_size_that_is_not_the_pooled_maps_is_refused_with_the_one_that_is():
    """SegNet's Caffe writes to wrong places: a switch counts along rows of the pooled map's width."""
    pooling = OneLayer('type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }', numbers(1, 1, 5, 7), tops=2)
    with pytest.raises(ValueError, match="cannot unpool to 6x8 .* a map of 5x7: give upsample_h: 5 upsample_w: 7$"):
        upsample(*pooling.forward(), "scale: 2", before_setup={"pooling": pooling.layer, "pooled": pooling.bottom[0]})


@pytest.mark.parametrize(
    "fields, said",
    [
        ("upsample_h: 3", "give both upsample_h and upsample_w"),
        ("scale: 2 scale_h: 2 scale_w: 2", "give scale, or scale_h and scale_w"),
        ("scale_h: 2", "give scale, or scale_h and scale_w"),
        ("scale: 1", "a scale must be at least 2"),
        ("scale: 3 pad_out_h: true", "and 2 where pad_out_h or pad_out_w"),
    ],
)
def test_settings_that_cannot_be_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        upsample(numbers(1, 1, 2, 2), np.zeros((1, 1, 2, 2)), fields)
