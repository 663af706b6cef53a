"""Embed: a learned row for each number."""

import numpy as np
import pytest
from gradient_check import check_gradients
from one_layer import OneLayer

TEXT = 'type: "Embed" embed_param { num_output: 3 input_dim: 5 weight_filler { type: "gaussian" } %s }'
BIAS = 'bias_filler { type: "gaussian" }'


@pytest.mark.parametrize("fields", [BIAS, "bias_term: false"])
@pytest.mark.parametrize("shape", [(4,), (2, 3), (1, 2, 1)])
def test_embed(device, fields, shape):
    x = np.random.default_rng(0).integers(0, 5, shape)
    case = OneLayer(TEXT % fields, x)
    table, bias = [*case.parameters, np.zeros(3)][:2]
    np.testing.assert_array_equal(case.forward()[0], table[x] + bias)
    check_gradients(case)


@pytest.mark.parametrize("number", [-1, 5, np.nan])
def test_a_number_that_is_no_row_is_named(device, number):
    with pytest.raises(ValueError, match=f"{number:g} is not one of the 5 numbers 0 to 4: check input_dim"):
        OneLayer(TEXT % "", np.array([0, number, 1])).forward()


def test_sizes_are_needed():
    with pytest.raises(ValueError, match="needs num_output and input_dim of at least 1"):
        OneLayer('type: "Embed" embed_param { num_output: 3 }', np.zeros(2))
