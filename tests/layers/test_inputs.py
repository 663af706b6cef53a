"""Input and DummyData."""

import numpy as np
import pytest
from one_layer import OneLayer


def test_input_takes_a_shape_for_all_tops_or_one_for_each(device):
    def shapes(param, tops):
        return [top.shape for top in OneLayer(f'type: "Input" input_param {{ {param} }}', tops=tops).top]

    assert shapes("shape { dim: 2 dim: 3 }", 2) == [(2, 3), (2, 3)]
    assert shapes("shape { dim: 2 } shape { dim: 1 dim: 4 }", 2) == [(2,), (1, 4)]
    assert shapes("shape { }", 1) == [()]
    with pytest.raises(ValueError, match="2 shapes for 3 tops: give one, or one for each"):
        shapes("shape { dim: 2 } shape { dim: 1 }", 3)


def test_what_is_put_into_an_input_stays(device):
    layer = OneLayer('type: "Input" input_param { shape { dim: 2 } }')
    layer.top[0].host_data[...] = [3, 4]
    layer.layer.reshape([], layer.top)
    np.testing.assert_array_equal(layer.forward()[0], [3, 4])


def dummy(param, tops=1, **options):
    return OneLayer(f'type: "DummyData" dummy_data_param {{ {param} }}', tops=tops, **options)


UNIFORM = 'data_filler { type: "uniform" min: 2 max: 3 }'


def test_dummy_data_is_zero_without_a_filler_and_constants_stay(device):
    layer = dummy("shape { dim: 2 dim: 2 }")
    np.testing.assert_array_equal(layer.forward()[0], 0)
    layer = dummy('shape { dim: 3 } data_filler { type: "constant" value: 4 }')
    np.testing.assert_array_equal(layer.forward()[0], 4)
    layer.top[0].host_data[...] = 7
    np.testing.assert_array_equal(layer.forward()[0], 7)


def test_dummy_data_draws_anew_at_each_forward_and_repeats_from_its_position(device):
    layer = dummy(f"shape {{ dim: 50 }} {UNIFORM}", seed=3)
    draws = [layer.forward()[0] for _ in range(3)]
    assert all(((draw >= 2) & (draw < 3)).all() for draw in draws)
    assert not np.array_equal(draws[0], draws[1])
    again = dummy(f"shape {{ dim: 50 }} {UNIFORM}", seed=3)
    again.layer.position = 2
    np.testing.assert_array_equal(again.forward()[0], draws[2])
    assert not np.array_equal(dummy(f"shape {{ dim: 50 }} {UNIFORM}", seed=4).forward()[0], draws[0])


def test_the_tops_of_dummy_data_draw_independently(device):
    a, b = dummy(f"shape {{ dim: 50 }} {UNIFORM}", tops=2).forward()
    assert not np.array_equal(a, b)


def test_shapes_of_dummy_data_old_and_new(device):
    assert dummy("num: 2 channels: 3 height: 4 width: 5").top[0].shape == (2, 3, 4, 5)
    tops = dummy(
        f'shape {{ dim: 1 }} shape {{ dim: 2 }} {UNIFORM} data_filler {{ type: "constant" value: 1 }}', tops=2
    ).top
    assert [top.shape for top in tops] == [(1,), (2,)]


@pytest.mark.parametrize(
    "param, said",
    [
        (
            "num: 1 channels: 1 height: 1 width: 1 shape { dim: 1 }",
            "give shape, or num, channels, height and width; not both",
        ),
        ("", "gives shape 0 times for 3 tops"),
        ("shape { dim: 1 } shape { dim: 1 }", "gives shape 2 times for 3 tops"),
        ("num: 4 num: 5 channels: 3 height: 2 width: 2", "gives num 2 times for 3 tops"),
        ("num: 4 height: 2 width: 2", "gives channels 0 times for 3 tops"),
        (f"shape {{ dim: 1 }} {UNIFORM} {UNIFORM}", "2 fillers for 3 tops"),
        ('shape { dim: 1 } data_filler { type: "gausian" }', "unknown filler 'gausian'"),
    ],
)
def test_dummy_data_that_cannot_be_is_refused(param, said):
    with pytest.raises(ValueError, match=said):
        dummy(param, tops=3)
