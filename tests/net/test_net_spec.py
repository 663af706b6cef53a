"""Nets written in Python, as pycaffe's users do: what each way of writing gives as a net."""

import copy
from collections import OrderedDict

import numpy as np
import pytest
from tiny_training import dummy_solver

import deconvnet as caffe
from deconvnet import NetSpec, to_proto
from deconvnet import layers as L
from deconvnet import params as P
from deconvnet.core.layers import layer as layer_module
from deconvnet.core.proto import caffe_pb2, filter_net, parse, read_net


def net(text):
    return parse(text, caffe_pb2.NetParameter())


def layer(top):
    """The LayerParameter of the layer that makes a top, with a name of its own."""
    return to_proto(top).layer[-1]


def data(count=1):
    return L.Input(shape=dict(dim=[1, 1, 8, 8]), ntop=count)


def lenet(batch):
    n = NetSpec()
    n.data, n.label = L.DummyData(
        shape=[dict(dim=[batch, 1, 28, 28]), dict(dim=[batch])],
        data_filler=[dict(type="gaussian", std=1), dict(type="constant", value=3)],
        ntop=2,
    )
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.conv2 = L.Convolution(n.pool1, kernel_size=5, num_output=50, weight_filler=dict(type="xavier"))
    n.pool2 = L.Pooling(n.conv2, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.fc1 = L.InnerProduct(n.pool2, num_output=500, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.fc1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=10, weight_filler=dict(type="xavier"))
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n.to_proto()


LENET = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 4 dim: 1 dim: 28 dim: 28 } shape { dim: 4 }
    data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 3 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 20 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 50 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc1" type: "InnerProduct" bottom: "pool2" top: "fc1"
  inner_product_param { num_output: 500 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "fc1" top: "fc1" }
layer { name: "score" type: "InnerProduct" bottom: "fc1" top: "score"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""


def small_deconvnet():
    n = NetSpec()
    n.data, n.label = L.DummyData(shape=[dict(dim=[2, 3, 8, 8]), dict(dim=[2, 1, 8, 8])], ntop=2)
    n["conv1"] = L.Convolution(
        n.data, num_output=4, kernel_size=3, pad=1, param=[dict(lr_mult=1), dict(lr_mult=2, decay_mult=0)]
    )
    n.bn1 = L.BN(n.conv1, scale_filler=dict(value=1), shift_filler=dict(value=0.001), in_place=True)
    n.relu1 = L.ReLU(n.bn1, in_place=True)
    n.pool1, n.pool1_mask = L.Pooling(n.relu1, pool=P.Pooling.MAX, kernel_size=2, stride=2, ntop=2)
    n.norm2 = L.BatchNorm(n.pool1, eps=0.001, param=[dict(lr_mult=0)] * 3)
    n.scale2 = L.Scale(n.norm2, bias_term=True, in_place=True)
    n.unpool1 = L.Unpooling(n.scale2, n.pool1_mask, unpool=P.Unpooling.MAX, kernel_size=2, stride=2, unpool_size=8)
    n.score = L.Deconvolution(
        n.unpool1, num_output=3, kernel_size=3, pad=1, weight_filler=dict(type="gaussian", std=0.1)
    )
    n.loss = L.SoftmaxWithLoss(n.score, n.label, loss_param=dict(ignore_label=255), include=dict(phase=caffe.TRAIN))
    return n.to_proto()


SMALL_DECONVNET = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } shape { dim: 2 dim: 1 dim: 8 dim: 8 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "bn1" type: "BN" bottom: "conv1" top: "conv1"
  bn_param { scale_filler { value: 1 } shift_filler { value: 0.001 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" top: "pool1_mask"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "norm2" type: "BatchNorm" bottom: "pool1" top: "norm2"
  param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 } batch_norm_param { eps: 0.001 } }
layer { name: "scale2" type: "Scale" bottom: "norm2" top: "norm2" scale_param { bias_term: true } }
layer { name: "unpool1" type: "Unpooling" bottom: "norm2" bottom: "pool1_mask" top: "unpool1"
  unpooling_param { unpool: MAX kernel_size: 2 stride: 2 unpool_size: 8 } }
layer { name: "score" type: "Deconvolution" bottom: "unpool1" top: "score"
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  include { phase: TRAIN } loss_param { ignore_label: 255 } }
"""


@pytest.mark.parametrize(
    "written, text", [(lenet(4), LENET), (small_deconvnet(), SMALL_DECONVNET)], ids=["lenet", "deconvnet"]
)
def test_a_net_written_in_python_is_the_net_of_the_prototxt_and_trains(written, text, tmp_path):
    assert written == net(text)
    assert net(str(written)) == written
    solver = dummy_solver()
    solver.net_param.CopyFrom(written)
    trained = caffe.SGDSolver(solver)
    before = trained.net.params["score"][0].data.copy()
    trained.step(1)
    assert np.isfinite(trained.net.blobs["loss"].data) and (trained.net.params["score"][0].data != before).any()


def test_a_net_goes_into_net_as_it_is_or_through_a_file(tmp_path):
    (tmp_path / "lenet.prototxt").write_text(str(lenet(2)))
    for model in (lenet(2), tmp_path / "lenet.prototxt"):
        assert caffe.Net(model, caffe.TEST).blobs["score"].shape == (2, 10)


def as_values(message):
    """A message as the dict that a user would write."""
    values = {}
    for field, value in message.ListFields():
        of = as_values if field.message_type else lambda plain: plain
        values[field.name] = [of(one) for one in value] if hasattr(value, "extend") else of(value)
    return values


SHIPPED = ["deconvnet_stage1_train_val", "deconvnet_stage2_train_val", "fcn/fcn8s", "demo/stage2_train_val"]


@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
@pytest.mark.parametrize("name", SHIPPED)
def test_every_layer_of_this_projects_nets_can_be_written(name, phase):
    whole = read_net(f"{layer_module.__file__.rpartition('/layers/')[0]}/prototxt/{name}.prototxt")
    whole = filter_net(whole, caffe_pb2.NetState(phase=phase))
    n, blobs = NetSpec(), {}
    for param in whole.layer:
        values = as_values(param)
        bottoms, tops = values.pop("bottom", []), values.pop("top", [])
        in_place = bool(tops) and tops == bottoms[: len(tops)]
        make = getattr(L, values.pop("type"))
        made = make(*(blobs[b] for b in bottoms), ntop=len(tops), in_place=in_place, **values)
        for top, one in zip(tops, made if len(tops) > 1 else [made], strict=True):
            blobs[top] = n[param.name if in_place else top] = one
    assert list(n.to_proto().layer) == list(whole.layer)


# ------------------------------------------------------------------------------------------------------------------- names


def test_layers_and_tops_without_a_name_are_called_by_their_type_and_a_number():
    first, second = data(2)
    conv = L.Convolution(first, num_output=1, kernel_size=1)
    loss = L.EuclideanLoss(L.ReLU(conv, in_place=True), L.Convolution(second, num_output=1, kernel_size=1))
    assert [(layer.name, list(layer.bottom), list(layer.top)) for layer in loss.to_proto().layer] == [
        ("Input1", [], ["Input1", "Input2"]),
        ("Convolution1", ["Input1"], ["Convolution1"]),
        ("ReLU1", ["Convolution1"], ["Convolution1"]),
        ("Convolution2", ["Input2"], ["Convolution2"]),
        ("EuclideanLoss1", ["Convolution1", "Convolution2"], ["EuclideanLoss1"]),
    ]


def test_a_number_is_passed_over_where_the_name_is_taken():
    n = NetSpec()
    n.ReLU1 = L.AbsVal(L.ReLU(data()))
    assert [layer.name for layer in n.to_proto().layer] == ["Input1", "ReLU2", "ReLU1"]


def test_a_layer_of_several_tops_has_the_name_of_the_first():
    n = NetSpec()
    n.image, n.mask = data(2)
    assert (layer(n.image).name, n.to_proto().layer[0].name) == ("Input1", "image")
    n = NetSpec()
    n.mask = data(2)[1]
    assert (n.to_proto().layer[0].name, list(n.to_proto().layer[0].top)) == ("Input1", ["Input1", "mask"])


def test_name_is_the_layers_name_only():
    n = NetSpec()
    n.y = L.AbsVal(data(), name="abs")
    assert (n.to_proto().layer[1].name, list(n.to_proto().layer[1].top)) == ("abs", ["y"])


def test_of_two_names_for_one_top_the_later_one_counts():
    n = NetSpec()
    n.x = n.y = data()
    assert [layer.name for layer in n.to_proto().layer] == ["y"]


def test_a_name_assigned_again_keeps_its_place_and_the_layer_before_it_its_own():
    n = NetSpec()
    n.x, n.other = data(), data()
    n.x = L.ReLU(n.x, in_place=True)
    assert [(layer.name, *layer.top) for layer in n.to_proto().layer] == [
        *(("Input1", "Input1"), ("x", "Input1"), ("other", "other"))
    ]


def test_a_layer_without_tops_is_assigned_like_a_top():
    n = NetSpec()
    n.x, n.y = data(2)
    n.quiet = L.Silence(n.x, n.y, ntop=0)
    written = n.to_proto()
    assert (written.layer[1].name, list(written.layer[1].top)) == ("quiet", [])
    assert caffe.Net(written, caffe.TEST).forward() == {}
    assert [layer.name for layer in to_proto(L.Silence(data(), ntop=0)).layer] == ["Input1", "Silence1"]


def test_tops_given_by_name_stand_for_a_layer_of_another_phase():
    n = NetSpec()
    n.data, n.label = L.HDF5Data(source="train.txt", batch_size=8, include=dict(phase=caffe.TRAIN), ntop=2)
    n.test = L.HDF5Data(
        source="val.txt", batch_size=4, include=dict(phase=caffe.TEST), name="data", top=["data", "label"], ntop=0
    )
    train, test = n.to_proto().layer
    assert (train.name, list(train.top)) == (test.name, list(test.top)) == ("data", ["data", "label"])


# ------------------------------------------------------------------------------------------------------------- what is written


def test_only_what_the_tops_need_is_written_and_everything_once():
    x = data()
    y, unused = L.AbsVal(x), L.TanH(x)
    assert [layer.type for layer in to_proto(L.Eltwise(y, y), y, L.Power(y)).layer] == [
        *("Input", "AbsVal", "Eltwise", "Power")
    ]
    assert [layer.type for layer in unused.to_proto().layer] == ["Input", "TanH"]


def test_a_net_of_thousands_of_layers_is_written():
    top = data()
    for _ in range(5000):
        top = L.ReLU(top)
    assert len(top.to_proto().layer) == 5001


def test_a_layer_in_place_has_its_bottom_as_top_and_no_more_tops_than_it_makes():
    x, factor = data(2)
    scaled = layer(L.Scale(x, factor, in_place=True))
    assert (list(scaled.bottom), list(scaled.top)) == (["Input1", "Input2"], ["Input1"])


@pytest.mark.parametrize(
    "made, text",
    [
        (lambda x: L.Convolution(x, convolution_param=dict(num_output=3)), "convolution_param { num_output: 3 }"),
        (lambda x: L.Convolution(x, kernel_size=[3, 5]), "convolution_param { kernel_size: 3 kernel_size: 5 }"),
        (lambda x: L.Deconvolution(x, num_output=3), "convolution_param { num_output: 3 }"),
        (lambda x: L.Im2col(x, kernel_size=3), "convolution_param { kernel_size: 3 }"),
        (lambda x: L.Convolution(x, engine=P.Convolution.CAFFE), "convolution_param { engine: CAFFE }"),
        (lambda x: L.Pooling(x, pool="AVE"), "pooling_param { pool: AVE }"),
        (lambda x: L.Eltwise(x, operation=P.Eltwise.SUM, coeff=(1, -1)),
         "eltwise_param { operation: SUM coeff: 1 coeff: -1 }"),
        (lambda x: L.Accuracy(x, top_k=5), "accuracy_param { top_k: 5 }"),
        (lambda x: L.EuclideanLoss(x, loss_weight=2), "loss_weight: 2"),
        (lambda x: L.SoftmaxWithLoss(x, loss_param=dict(normalization=P.Loss.VALID)),
         "loss_param { normalization: VALID }"),
        (lambda x: L.SoftmaxWithLoss(x, propagate_down=[True, False]), "propagate_down: true propagate_down: false"),
        (lambda x: L.ReLU(x, phase=caffe.TEST, include=[dict(phase="TEST", stage="a"), {}]),
         'phase: TEST include { phase: TEST stage: "a" } include { }'),
        (lambda x: L.Python(x, module="m", layer="C", param_str=str({"a": 1})),
         """python_param { module: "m" layer: "C" param_str: "{'a': 1}" }"""),
        (lambda x: L.EltwiseAccuracy(x, ignore_label=255), "eltwise_accuracy_param { ignore_label: 255 }"),
        (lambda x: L.RedSoftmaxWithLoss(x, class_num=21), "red_softmax_loss_param { class_num: 21 }"),
        (lambda x: L.Convolution(x, param=dict(lr_mult=0)), "param { lr_mult: 0 }"),
        (lambda x: L.Convolution(x, num_output=np.int64(3), weight_filler=dict(std=np.float32(0.5))),
         "convolution_param { num_output: 3 weight_filler { std: 0.5 } }"),
        (lambda x: L.Slice(x, slice_point=np.array([1, 2])), "slice_param { slice_point: 1 slice_point: 2 }"),
        (lambda x: L.Reshape(x, shape=caffe_pb2.BlobShape(dim=[0, -1])), "reshape_param { shape { dim: 0 dim: -1 } }"),
    ],
)  # fmt: skip
def test_parameters_find_their_message(made, text):
    written = layer(made(data()))
    expected = net(f"layer {{ {text} }}").layer[0]
    expected.type, expected.name = written.type, written.name
    expected.bottom.extend(written.bottom)
    expected.top.extend(written.top)
    assert written == expected


@pytest.mark.parametrize(
    "source",
    [
        lambda: L.Data(source="lmdb", backend=P.Data.LMDB, batch_size=64, ntop=2, transform_param=dict(crop_size=227)),
        lambda: L.HDF5Data(source="list.txt", batch_size=64, ntop=2),
        lambda: L.ImageData(source="list.txt", new_height=256, new_width=256, ntop=2),
        lambda: L.ImageSegData(source="list.txt", label_type=P.ImageData.PIXEL, ntop=2),
    ],
)
def test_data_layers_have_no_bottoms_and_as_many_tops_as_are_asked_for(source):
    image, label = source()
    written = layer(image)
    assert (len(written.bottom), len(written.top), written.top[1]) == (0, 2, layer(label).top[1])
    assert [field.name for field, _ in written.ListFields()][-1].endswith("_param")


def test_a_layer_type_that_a_user_registers_can_be_written(monkeypatch):
    monkeypatch.setattr(layer_module, "_registry", dict(layer_module._registry))

    @layer_module.register("Shrink")
    class Shrink(caffe.core.layers.Layer):
        param_field = "scale_param"

    assert layer(L.Shrink(data(), filler=dict(value=2))).scale_param.filler.value == 2
    assert "Shrink" in dir(L)


# ----------------------------------------------------------------------------------------------------------------- NetSpec


def test_tops_are_reached_as_attributes_and_as_items():
    n = NetSpec()
    n["a-b"], n.c = data(2)
    assert isinstance(n.tops, OrderedDict) and list(n.tops) == ["a-b", "c"]
    assert n["c"] is n.c is n.tops["c"] and getattr(n, "a-b") is n["a-b"]
    assert "c" in n and "d" not in n and not hasattr(n, "d") and len(n) == 2 and "c" in dir(n)
    assert (n.keys(), n.vals()) == (list(n), [n["a-b"], n.c])


def test_a_top_taken_out_is_written_no_more_unless_another_needs_it():
    n = NetSpec()
    n.x = data()
    n.y, n.z, n.w = L.AbsVal(n.x), L.TanH(n.x), L.Log(n.x)
    del n.x, n["y"]
    del n.tops["z"]
    assert [layer.name for layer in n.to_proto().layer] == ["Input1", "w"]


def test_a_layers_parameters_can_be_changed_until_it_is_written():
    n = NetSpec()
    n.conv = L.Convolution(data(), num_output=3, kernel_size=3)
    n.update("conv", dict(dilation=2))
    n.conv.fn.params["num_output"] = 4
    assert str(n.to_proto().layer[1].convolution_param) == "num_output: 4\nkernel_size: 3\ndilation: 2\n"
    assert (n.conv.fn.type_name, n.conv.fn.inputs[0].n, n.conv.fn.tops) == ("Convolution", 0, (n.conv,))


def test_writing_twice_gives_the_same_and_a_copy_writes_it_too():
    n = NetSpec()
    n.x = L.ReLU(data())
    assert n.to_proto() == n.to_proto() == copy.deepcopy(n).to_proto()


def test_types_and_words_are_listed_for_completion():
    assert {"Convolution", "Unpooling", "Data", "WindowSegData"} <= set(dir(L)) and "" not in dir(L)
    assert {"Pooling", "Unpooling", "Loss", "Filler"} <= set(dir(P)) and "ParamSpec" not in dir(P)
    assert {"MAX", "AVE"} <= set(dir(P.Pooling))
    assert all(callable(getattr(L, name)) for name in dir(L)) and all(getattr(P, name) for name in dir(P))
    assert "kernel_size" in L.Deconvolution.__doc__ and L.Deconvolution.__name__ == "Deconvolution"


def test_the_names_are_where_pycaffe_has_them():
    from deconvnet import net_spec

    assert caffe.layers is L and caffe.params is P and net_spec.layers is L
    assert isinstance(data(), net_spec.Top) and isinstance(data().fn, net_spec.Function)
    assert (net_spec.NetSpec, net_spec.to_proto) == (caffe.NetSpec, caffe.to_proto)
