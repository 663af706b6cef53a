"""The BN of PSPNet's Caffe: four parameters, two of them running statistics."""

import numpy as np
import pytest
from arrays import numbers
from gradient_check import check_gradients
from one_layer import TEST, TRAIN, OneLayer

from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2, parse

SHAPE = (3, 2, 4, 5)


def layer_of(x, fields="eps: 1e-5", **options):
    """With a scale, a shift, means and variances drawn."""
    shape = (1, x.shape[1], 1, 1)
    parameters = [numbers(*shape, seed=k) for k in range(3)] + [0.5 + abs(numbers(*shape, seed=3))]
    return OneLayer(f'type: "BN" bn_param {{ {fields} }}', x, parameters=parameters, **options)


def normal(x, mean, variance, eps=1e-5):
    mean, variance = (np.reshape(values, (1, -1, 1, 1)) for values in (mean, variance))
    return (x - mean) / np.sqrt(variance + eps)


def batch_moments(x):
    return x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(
    "fields, phase, running, eps",
    [
        ("eps: 1e-3", TRAIN, False, 1e-3),
        ("momentum: 0.95", TEST, True, 1e-5),
        ("engine: CUDNN", TEST, True, 1e-5),
        ("frozen: true", TRAIN, True, 1e-5),
        ("frozen: true momentum: 0.95", TEST, True, 1e-5),
        ("moving_average: true decay: 0.05", TRAIN, False, 1e-10),
        ("moving_average: true decay: 0.05 var_eps: 0.125", TEST, True, 0.125),
        ("decay: 0.05", TEST, False, 1e-10),
    ],
)
def test_values_and_gradients(device, fields, phase, running, eps, in_place):
    x = 2 + 3 * numbers(*SHAPE)
    layer = layer_of(x, fields, phase=phase, in_place=in_place)
    scale, shift, mean, variance = (np.array(values) for values in layer.parameters)
    moments = (mean, variance) if running else batch_moments(x)
    expected = scale * normal(x, *moments, eps) + shift
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=0, atol=1e-11)
    check_gradients(layer)


@pytest.mark.parametrize(
    "fields, keep",
    [("momentum: 0.75", 0.75), ("slope_filler { value: 1 }", np.float64(np.float32(0.9))), ("decay: 0.25", 0.75)],
)
def test_training_moves_the_running_statistics(device, fields, keep):
    x = 2 + 3 * numbers(*SHAPE)
    layer = layer_of(x, fields, phase=TRAIN)
    before = [np.array(values) for values in layer.parameters]
    layer.forward()
    for number, batch in enumerate(batch_moments(x), 2):
        expected = keep * before[number].ravel() + (1 - keep) * batch
        np.testing.assert_allclose(layer.parameters[number].ravel(), expected, rtol=1e-12)
    for number in (0, 1):
        np.testing.assert_array_equal(layer.parameters[number], before[number])


@pytest.mark.parametrize("fields, phase", [("frozen: true", TRAIN), ("eps: 1e-5", TEST), ("decay: 0.5", TEST)])
def test_nothing_else_moves_them(device, fields, phase):
    layer = layer_of(numbers(*SHAPE), fields, phase=phase)
    before = [np.array(values) for values in layer.parameters]
    layer.forward()
    layer.backward(numbers(*SHAPE))
    for values, old in zip(layer.parameters, before, strict=True):
        np.testing.assert_array_equal(values, old)


def test_fillers_of_either_name_fill_scale_and_shift():
    x = numbers(1, 2, 3, 3)
    for fields in (
        "slope_filler { value: 3 } bias_filler { value: 4 }",
        "scale_filler { value: 3 } shift_filler { value: 4 } decay: 0.1",
    ):
        layer = OneLayer(f'type: "BN" bn_param {{ {fields} }}', x)
        assert [values.ravel().tolist() for values in layer.parameters] == [[3, 3], [4, 4], [0, 0], [0, 0]]
    frozen = OneLayer('type: "BN" bn_param { frozen: true }', x)
    assert [values.ravel().tolist() for values in frozen.parameters] == [[1, 1], [0, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize(
    "fields, said",
    [
        (
            "frozen: true bn_mode: LEARN",
            "bn_mode is of the BN that keeps no running statistics, of which frozen speaks",
        ),
        ("frozen: true decay: 0.1", "decay is of the first version of this layer, frozen of the next"),
    ],
)
def test_forms_are_not_mixed(fields, said):
    with pytest.raises(ValueError, match=said):
        OneLayer(f'type: "BN" bn_param {{ {fields} }}', numbers(1, 2, 3, 3))


@pytest.mark.parametrize("fields, learn", [("frozen: true", []), ("momentum: 0.9", ["bn/0", "bn/1"])])
def test_a_solver_never_moves_statistics_nor_anything_frozen(fields, learn):
    """Whatever lr_mult says, as published nets say 1 for a frozen scale."""
    net = Net(
        parse(
            f"""layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: 2 dim: 3 dim: 3 }} }} }}
            layer {{ name: "bn" type: "BN" bottom: "x" top: "x" param {{ lr_mult: 1 }} param {{ lr_mult: 1 }} bn_param {{ {fields} }} }}""",
            caffe_pb2.NetParameter(),
        ),
        caffe_pb2.TRAIN,
    )
    assert [shape for blob in net.params["bn"] for shape in [blob.data.shape]] == [(1, 2, 1, 1)] * 4
    assert [parameter.name for parameter in net.learnable if parameter.lr_mult or parameter.decay_mult] == learn
