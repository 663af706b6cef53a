"""Messages from Python values."""

import numpy as np
import pytest

from deconvnet.core.proto import caffe_pb2, parse, set_field


def layer(**values):
    message = caffe_pb2.LayerParameter()
    for name, value in values.items():
        set_field(message, name, value)
    return message


def text(written):
    return parse(written, caffe_pb2.LayerParameter())


@pytest.mark.parametrize(
    "many", [[1, 2], (1, 2), range(1, 3), np.array([1, 2]), iter([1, 2]), text("loss_weight: [1, 2]").loss_weight]
)
def test_a_repeated_field_takes_anything_that_can_be_gone_through(many):
    assert layer(loss_weight=many) == text("loss_weight: 1 loss_weight: 2")


@pytest.mark.parametrize("one", [2, np.float32(2), np.array(2), [2]])
def test_a_repeated_field_takes_one_value_for_a_list_of_one(one):
    assert layer(loss_weight=one) == text("loss_weight: 2")


@pytest.mark.parametrize("none", [[], ()])
def test_an_empty_list_leaves_a_repeated_field_empty(none):
    assert layer(loss_weight=none, param=none, bottom=none) == text("")


def test_a_text_is_one_value_and_no_list_of_letters():
    assert layer(bottom="data") == text('bottom: "data"')


def test_messages_are_dicts_of_dicts_or_messages_as_they_are():
    filler = caffe_pb2.FillerParameter(type="msra")
    values = dict(num_output=3, weight_filler=filler, bias_filler=dict(value=1, variance_norm="AVERAGE"))
    assert layer(convolution_param=values, param=[dict(lr_mult=1), caffe_pb2.ParamSpec(lr_mult=2), {}]) == text(
        """param { lr_mult: 1 } param { lr_mult: 2 } param { }
        convolution_param { num_output: 3 weight_filler { type: "msra" } bias_filler { value: 1 variance_norm: AVERAGE } }"""
    )


def test_what_a_message_holds_already_stays():
    message = layer(pooling_param=dict(stride=2))
    set_field(message, "pooling_param", dict(pad=1))
    assert message == text("pooling_param { stride: 2 pad: 1 }")


@pytest.mark.parametrize("word", ["AVE", 1, np.int32(1), caffe_pb2.PoolingParameter.AVE])
def test_an_enum_takes_its_word_or_number(word):
    assert layer(pooling_param=dict(pool=word)) == text("pooling_param { pool: AVE }")


@pytest.mark.parametrize("yes", [True, np.bool_(True)])
def test_a_truth_value_may_be_numpys(yes):
    assert layer(propagate_down=[yes]) == text("propagate_down: true")


@pytest.mark.parametrize(
    "values, words",
    [
        (dict(pooling_param=dict(stride=2**40)), "'1099511627776' where 'stride' needs a whole number from 0 on, below 4294967296"),
        (dict(pooling_param=dict(pool=["MAX"])), r"unknown value '\['MAX'\]' of pool; did you mean 'MAX'\?"),
        (dict(pooling_param=caffe_pb2.CropParameter()), "where 'pooling_param' needs a dict of its fields: dict"),
        (dict(name=b"\xff"), "where 'name' needs a text in quotes"),
        (dict(name={"a": "x" * 100}), r"'\{'a': 'xxx.*\.\.\.' where 'name' needs a text in quotes"),
        (dict(param=["a\nb"]), r"^'a\\nb' where 'param' needs a dict"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_suit_is_shown_in_one_line(values, words):
    with pytest.raises(ValueError, match=words) as caught:
        layer(**values)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 150
