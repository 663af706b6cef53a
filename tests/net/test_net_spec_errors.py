"""What is wrong in a net written in Python is said in one line, where it is written."""

import pytest

from deconvnet import NetError, NetSpec, to_proto
from deconvnet import layers as L
from deconvnet import params as P
from deconvnet.core.layers import layer


@pytest.fixture
def x():
    return L.Input(shape=dict(dim=[1, 1, 8, 8]))


@pytest.mark.parametrize(
    "make, words",
    [
        # unknown parameters
        (lambda x: L.Convolution(x, kernel_siz=3),
         "Convolution: unknown parameter 'kernel_siz'; did you mean 'kernel_size'?"),
        (lambda x: L.ReLU(x, in_plac=True), "ReLU: unknown parameter 'in_plac'; did you mean 'in_place'?"),
        (lambda x: L.Convolution(x, std=1),
         "Convolution: unknown parameter 'std'; it belongs in weight_filler or bias_filler"),
        (lambda x: L.Convolution(x, lr_mult=1), "Convolution: unknown parameter 'lr_mult'; it belongs in param"),
        (lambda x: L.SoftmaxWithLoss(x, x, ignore_label=255),
         "SoftmaxWithLoss: unknown parameter 'ignore_label'; it belongs in loss_param"),
        (lambda x: L.HDF5Data(mirror=True), "HDF5Data: unknown parameter 'mirror'; it belongs in transform_param"),
        (lambda x: L.Convolution(x, blobs_lr=[1, 2]),
         "Convolution: unknown parameter 'blobs_lr'; in layer { } it is param { lr_mult: ... }"),
        (lambda x: L.ReLU(x, num_output=3),
         "ReLU: unknown parameter 'num_output'; its own are negative_slope, engine"),
        (lambda x: L.Silence(x, quux=3), "Silence: unknown parameter 'quux'; it has none of its own"),
        (lambda x: L.Convolution(x, weight_filler=dict(typ="msra")),
         "Convolution: unknown field 'typ' in weight_filler; did you mean 'type'?"),
        (lambda x: L.Convolution(x, param=[dict(lr_mul=1)]),
         "Convolution: unknown field 'lr_mul' in param; did you mean 'lr_mult'?"),
        # values
        (lambda x: L.Convolution(x, num_output="64"),
         "Convolution: \"64\" where 'num_output' needs a whole number from 0 on"),
        (lambda x: L.Convolution(x, num_output=64 / 2),
         "Convolution: '32.0' where 'num_output' needs a whole number from 0 on"),
        (lambda x: L.Convolution(x, pad=[1, -1]),
         "Convolution: '-1' where 'pad' needs a whole number from 0 on, below 4294967296"),
        (lambda x: L.Convolution(x, num_output=None),
         "Convolution: 'None' where 'num_output' needs a whole number from 0 on"),
        (lambda x: L.Pooling(x, kernel_size=[3, 3]),
         "Pooling: '[3, 3]' where 'kernel_size' needs a whole number from 0 on"),
        (lambda x: L.Power(x, power="2"), "Power: \"2\" where 'power' needs a number"),
        (lambda x: L.Convolution(x, bias_term="false"),
         "Convolution: \"false\" where 'bias_term' needs true or false"),
        (lambda x: L.Convolution(x, name=3), "Convolution: '3' where 'name' needs a text in quotes"),
        (lambda x: L.Python(module="m", layer="C", param_str={"a": 1}),
         "Python: '{'a': 1}' where 'param_str' needs a text in quotes"),
        (lambda x: L.Convolution(x, weight_filler="xavier"),
         "Convolution: 'xavier' where 'weight_filler' needs a dict of its fields: "
         "dict(type=..., value=..., min=...)"),
        (lambda x: L.Input(shape=[1, 3, 8, 8]), "Input: 1 where 'shape' needs a dict of its fields: dict(dim=...)"),
        (lambda x: L.Pooling(x, pool="MXA"), "Pooling: unknown value 'MXA' of pool; did you mean 'MAX'?"),
        (lambda x: L.Pooling(x, pool=7), "Pooling: unknown value '7' of pool; known are MAX, AVE, STOCHASTIC"),
        # tops
        (lambda x: L.DummyData(ntop="2"), "DummyData: ntop='2' is no number of tops: give 0, 1, 2 ..."),
        (lambda x: L.DummyData(ntop=-1), "DummyData: ntop=-1 is no number of tops: give 0, 1, 2 ..."),
        (lambda x: L.ReLU(in_place=True), "ReLU: in_place=True, but it has 0 bottoms for its 1 tops"),
    ],
)  # fmt: skip
def test_a_layer_that_is_told_something_wrong_says_so_at_once(x, make, words):
    with pytest.raises(NetError) as caught:
        make(x)
    assert str(caught.value) == words


def test_an_unknown_layer_type_is_named_with_the_nearest_and_all_known():
    with pytest.raises(
        AttributeError, match=r"^unknown layer type 'Convolutoin'; did you mean 'Convolution'\? \(known types: AbsVal, "
    ):
        L.Convolutoin()
    with pytest.raises(ImportError):
        from deconvnet.layers import Convolutoin  # noqa: F401


def test_a_layer_type_of_another_caffe_is_written_with_a_warning(x):
    """Scripts that write nets for such a Caffe, or that put L.Layer() where data will be."""
    with pytest.warns(UserWarning, match="no layer type 'AnnotatedData' is here: it can be written"):
        made = L.AnnotatedData(ntop=2, include={"phase": 0})
    assert [layer.type for layer in to_proto(*made).layer] == ["AnnotatedData"]
    with (
        pytest.warns(UserWarning),
        pytest.raises(NetError, match="unknown parameter 'num_classes'; it has none of its"),
    ):
        L.MultiBoxLoss(x, num_classes=21)
    with pytest.raises(AttributeError, match="unknown layer type '_repr_html_'"):
        getattr(L, "_repr_html_")  # noqa: B009


@pytest.mark.parametrize(
    "words, message",
    [
        (lambda: P.Pooling.MXA, "P.Pooling has no word 'MXA'; did you mean 'MAX'?"),
        (lambda: P.Eltwise.ADDED, "P.Eltwise has no word 'ADDED'; known are MAX, PROD, SUM"),
        (lambda: P.Poling.MAX, "P.Poling: no parameters of that name have words; did you mean 'Pooling'?"),
    ],
)
def test_a_word_that_does_not_exist_is_named_with_those_that_do(words, message):
    with pytest.raises(AttributeError) as caught:
        words()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "bottom, message",
    [
        ("data", "Silence input 1 is not a Top (type is <class 'str'>)"),
        (None, "Silence input 1 is not a Top (type is <class 'NoneType'>)"),
        (L.DummyData(ntop=2), "Silence input 1 is not a Top (type is <class 'tuple'>): unpack the 2 tops"),
        (L.DummyData(ntop=0), "Silence input 1 is not a Top (type is <class 'deconvnet.core.net.net_spec.Function'>)"),
    ],
    ids=["name", "none", "tuple", "layer"],
)
def test_a_bottom_that_is_no_top_is_named_by_its_place_and_type(x, bottom, message):
    with pytest.raises(TypeError) as caught:
        L.Silence(x, bottom, ntop=0)
    assert str(caught.value) == message


def test_only_tops_are_assigned():
    n = NetSpec()
    with pytest.raises(
        TypeError, match=r"^n\.data = \.\.\. needs a top, as layers return them, not tuple: unpack the 2 tops$"
    ):
        n.data = L.DummyData(ntop=2)
    with pytest.raises(TypeError, match=r"^n\.x = \.\.\. needs a top, as layers return them, not int$"):
        n["x"] = 3
    assert not n.tops


def test_a_name_never_assigned_is_named_with_the_nearest(x):
    n = NetSpec()
    n.conv1 = x
    for of in (lambda: n.conv2, lambda: delattr(n, "conv2")):
        with pytest.raises(
            AttributeError, match="^nothing of the name 'conv2' has been assigned; did you mean 'conv1'\\?$"
        ):
            of()
    with pytest.raises(KeyError, match="conv2"):
        n["conv2"]


def test_what_is_changed_later_is_checked_again_and_the_layer_named(x):
    n = NetSpec()
    n.conv1 = L.Convolution(x, num_output=3)
    n.conv1.fn.params["kernel_siz"] = 3
    with pytest.raises(
        NetError, match="^layer 'conv1' \\(Convolution\\): unknown parameter 'kernel_siz'; did you mean"
    ):
        n.to_proto()
    with pytest.raises(NetError, match="^Convolution: unknown parameter 'kernel_siz'"):
        n.update("conv1", dict(pad=1))


def test_a_registered_layer_whose_param_field_does_not_exist_is_named(monkeypatch):
    monkeypatch.setattr(layer, "_registry", dict(layer._registry))
    layer.register("Shrink")(type("Shrink", (layer.Layer,), {"param_field": "scales_param"}))
    words = "^Shrink: its param_field 'scales_param' is no message of LayerParameter; did you mean 'scale_param'\\?$"
    with pytest.raises(NetError, match=words):
        L.Shrink()


def test_a_field_that_a_layer_cannot_do_without_is_named_when_the_net_is_written(x):
    clip = L.Clip(x, min=0)
    with pytest.raises(NetError, match="^layer 'Clip1' \\(Clip\\): clip_param.max is missing$"):
        to_proto(clip)
