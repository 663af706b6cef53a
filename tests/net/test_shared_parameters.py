"""How a parameter learns that several layers share: as the first says that says something (Caffe's rule), and all of one mind."""

import numpy as np
import pytest

from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2, parse


def net(*specs):
    """A layer for each text inside of param { name: "w" ... }."""
    layers = [
        f'layer {{ name: "ip{n}" type: "InnerProduct" bottom: "data" top: "ip{n}" param {{ name: "w" {spec} }} '
        "inner_product_param { num_output: 2 bias_term: false } }"
        for n, spec in enumerate(specs)
    ]
    data = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }'
    return Net(parse("\n".join([data, *layers]), caffe_pb2.NetParameter()), caffe_pb2.TRAIN)


@pytest.mark.parametrize(
    "specs, rate, decay",
    [
        (["", ""], 1, 1),
        (["lr_mult: 2", ""], 2, 1),
        (["", "lr_mult: 0 decay_mult: 3"], 0, 3),
        (["", "lr_mult: 0.5", "lr_mult: 0.5 decay_mult: 0"], 0.5, 0),
        (["lr_mult: 2 decay_mult: 0", "decay_mult: 0"], 2, 0),
    ],
)
def test_the_first_word_counts(specs, rate, decay):
    (learned,) = net(*specs).learnable
    assert (learned.name, learned.lr_mult, learned.decay_mult) == ("ip0/0", rate, decay)


@pytest.mark.parametrize(
    "specs, said",
    [
        (["lr_mult: 1", "lr_mult: 0"], "gives it lr_mult: 0, there it is 1"),
        (["", "decay_mult: 1", "decay_mult: 2"], "gives it decay_mult: 2, there it is 1"),
    ],
)
def test_two_rates_for_one_parameter_are_refused(specs, said):
    with pytest.raises(NetError, match=f"layer 'ip{len(specs) - 1}' .*shares parameter 'w' with ip0/0 and {said}"):
        net(*specs)


def test_they_are_one_array():
    shared = net("", "")
    shared.params["ip0"][0].data[...] = 7
    np.testing.assert_array_equal(shared.params["ip1"][0].data, 7)
