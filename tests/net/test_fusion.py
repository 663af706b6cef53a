"""Net(share=True): convolutions and batch norm do the work of what follows them, and nothing else changes."""

import re

import numpy as np
import pytest

from deconvnet.core import kernels
from deconvnet.core.net import Net, NetError
from deconvnet.core.net.fusion import find_fusions
from deconvnet.core.proto import caffe_pb2, parse

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 17 dim: 9 dim: 11 } } }'
BN = 'layer { name: "bn" type: "BN" bottom: "y" top: "y" bn_param { bn_mode: INFERENCE scale_filler { type: "uniform" min: 0.5 max: 1.5 } shift_filler { type: "gaussian" std: 1 } } }'
RELU = 'layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }'
FILLERS = 'filler { type: "uniform" min: 0.5 max: 1.5 } bias_filler { type: "gaussian" std: 1 }'
SCALE = f'layer {{ name: "scale" type: "Scale" bottom: "y" top: "y" scale_param {{ bias_term: true {FILLERS} }} }}'
FACTOR = SCALE.replace("bias_term: true", "").replace("scale", "factor", 1)
BIAS = 'layer { name: "bias" type: "Bias" bottom: "y" top: "y" bias_param { filler { type: "gaussian" std: 1 } } }'
NORM = 'layer { name: "norm" type: "BatchNorm" bottom: "y" top: "y" }'
RUNNING = BN.replace("bn_mode: INFERENCE", "frozen: true").replace('"bn"', '"running"')
LAST = 'layer { name: "last" type: "Pooling" bottom: "y" top: "z" pooling_param { kernel_size: 2 stride: 2 } }'


def convolution(kind="Convolution", bias=True, more=""):
    fillers = 'weight_filler { type: "gaussian" std: 0.1 } bias_filler { type: "gaussian" std: 1 }'
    return (
        f'layer {{ name: "conv" type: "{kind}" bottom: "x" top: "y" convolution_param {{ num_output: 19 kernel_size: 3 pad: 1 '
        f"bias_term: {str(bias).lower()} {fillers} {more} }} }}"
    )


def net_of(*layers, phase=caffe_pb2.TEST, **given):
    net = Net(parse("\n".join([INPUT, *layers, LAST]), caffe_pb2.NetParameter()), phase, seed=1, **given)
    if "norm" in net.params:  # what a training would have left there
        for blob, values in zip(net.params["norm"], (0.3, 2.0, 1.5), strict=True):
            blob.data[...] = values * np.linspace(0.5, 1.5, blob.data.size)
    net.blobs["x"].data[...] = np.random.default_rng(0).normal(size=net.blobs["x"].shape)
    return net


@pytest.fixture
def launched(monkeypatch):
    """The names of the kernels that are launched."""
    names = []
    for module in (kernels.normalization, kernels.activation, kernels.winograd, kernels.convolution):
        for attribute in ("launch", "launch_elementwise"):
            if hasattr(module, attribute):
                run = getattr(module, attribute)
                monkeypatch.setattr(
                    module, attribute, lambda name, *rest, run=run: (names.append(name), run(name, *rest))[1]
                )
    return names


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize("asked", ["", "product"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "following",
    [[BN], [RELU], [BN, RELU], [NORM, SCALE, RELU], [FACTOR], [BIAS, RELU], [SCALE, BIAS, FACTOR], [RUNNING, RELU]],
    ids=["bn", "relu", "bn and relu", "batch norm", "scale without bias", "bias", "three maps", "running"],
)
def test_a_convolution_with_what_follows_is_the_layers_one_by_one(kind, asked, bias, following, monkeypatch):
    monkeypatch.setenv("DECONVNET_CONVOLUTION", asked)
    layers = [convolution(kind, bias), *following]
    wanted = net_of(*layers).forward()["z"]
    found = net_of(*layers, share=True).forward()["z"]
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    assert wanted.std() > 0.1


@pytest.mark.parametrize("count", [2, 3])
def test_a_sum_of_blobs_does_the_work_of_the_relu_behind_it(launched, count):
    """As at the end of each block of a ResNet."""
    layers = [
        f'layer {{ name: "p{k}" type: "Power" bottom: "x" top: "p{k}" power_param {{ scale: {k - 1} }} }}'
        for k in range(count)
    ]
    bottoms = " ".join(f'bottom: "p{k}"' for k in range(count))
    coefficients = " ".join(f"coeff: {k - 0.5}" for k in range(count))
    layers.append(f'layer {{ name: "sum" type: "Eltwise" {bottoms} top: "y" eltwise_param {{ {coefficients} }} }}')
    wanted = net_of(*layers, RELU).forward()["z"].copy()
    launched.clear()
    np.testing.assert_array_equal(net_of(*layers, RELU, share=True).forward()["z"], wanted)
    assert "relu_forward" not in launched and wanted.min() == 0
    product = layers[-1].replace(coefficients, "operation: PROD")
    assert find_fusions(net_of(*layers[:-1], product, RELU), forward_only=True) == {}
    assert find_fusions(net_of(*layers, RELU), forward_only=False) == {}


def test_winograds_results_need_no_pass_for_batch_norm_and_relu(launched):
    net_of(convolution(), BN, RELU, share=True).forward()
    assert {"winograd_results", "winograd_few_tiles"} & set(launched)
    assert not {"channel_affine_forward", "relu_forward"} & set(launched)


def test_nor_do_images_larger_than_a_band_of_filters(monkeypatch):
    layers = [convolution(), BN, RELU]
    wanted = net_of(*layers).forward()["z"]
    monkeypatch.setattr(
        kernels.winograd, "_FILTER_VALUES", 1
    )  # a part of 32 outputs at a time, so 19 in one and none behind
    monkeypatch.setattr(kernels.winograd, "_BAND_VALUES", 1)
    np.testing.assert_allclose(net_of(*layers, share=True).forward()["z"], wanted, atol=2e-6)


@pytest.mark.parametrize(
    "layers, last",
    [
        ([BN, RELU], 3),
        ([RELU], 2),
        ([RELU, BN], 2),
        ([BN, BN.replace('"bn"', '"bn2"')], 3),
        ([NORM, SCALE, RELU, BIAS], 4),
        ([RUNNING, RELU], 3),
        ([NORM.replace('top: "y"', 'top: "y" batch_norm_param { use_global_stats: false }')], None),
        ([SCALE.replace("scale_param {", "scale_param { axis: 2 ")], None),
        ([SCALE.replace("scale_param {", "scale_param { num_axes: 2 ")], None),
        ([BN.replace("INFERENCE", "LEARN")], None),
        ([RELU.replace('top: "y"', 'top: "y" relu_param { negative_slope: 0.1 }')], None),
    ],
    ids="""bn and relu,relu,bn after relu,two bn,batch norm,running,batch norm by the batch,scale of rows,scale of two axes,
bn that learns,leaky relu""".split(","),
)
def test_what_a_convolution_can_stand_for(layers, last):
    assert find_fusions(net_of(convolution(), *layers), forward_only=True) == ({} if last is None else {1: last})


def test_a_layer_with_a_top_of_its_own_is_left_alone():
    relu = RELU.replace('top: "y"', 'top: "r"')
    other = LAST.replace('"y"', '"r"').replace("last", "other").replace('"z"', '"w"')
    assert find_fusions(net_of(convolution(), relu, other), forward_only=True) == {}


def test_a_pass_that_ends_between_them_shows_what_it_shows_without_sharing():
    layers = [convolution(), BN, RELU]
    for end in ("conv", "bn", "relu"):
        wanted, found = (net_of(*layers, **given).forward(end=end)["y"].copy() for given in ({}, {"share": True}))
        np.testing.assert_allclose(found, wanted, atol=2e-6)
        assert (wanted.min() < 0) == (end != "relu")


def test_training_runs_the_layers_of_a_folded_net_one_by_one(launched):
    net_of(convolution(), BN, RELU, phase=caffe_pb2.TRAIN, share=True).forward()
    assert {"channel_affine_forward", "relu_forward"} <= set(launched)


LEARN = BN.replace("INFERENCE", "LEARN")
SECOND = [LEARN.replace('"bn"', '"bn2"'), RELU.replace('"relu"', '"relu2"')]


def training_net(*layers, **given):
    """A net whose loss sees the blob that the last of the layers makes."""
    top = re.findall('top: "(.)"', layers[-1])[0]
    loss = f"""layer {{ name: "z" type: "Power" bottom: "{top}" top: "z" power_param {{ shift: -1 }} }}
    layer {{ name: "loss" type: "EuclideanLoss" bottom: "z" bottom: "x" top: "loss" }}"""
    layers = [INPUT, convolution().replace("num_output: 19", "num_output: 17"), *layers, loss]
    net = Net(parse("\n".join(layers), caffe_pb2.NetParameter()), caffe_pb2.TRAIN, seed=1, **given)
    net.blobs["x"].data[...] = np.random.default_rng(0).normal(size=net.blobs["x"].shape)
    return net


def gradients(net):
    """The gradient of each parameter."""
    return [blob.diff.copy() for blobs in net.params.values() for blob in blobs]


@pytest.mark.parametrize(
    "layers",
    [
        [LEARN, RELU],
        [LEARN],
        [LEARN, RELU, *SECOND],
        [RELU, LEARN],
        [LEARN.replace('top: "y"', 'top: "b"'), RELU.replace('"y"', '"b"')],
        [LEARN, RELU.replace('top: "y"', 'top: "r"')],
        [LEARN, RELU, 'layer { name: "drop" type: "Dropout" bottom: "y" top: "y" }'],
    ],
    ids=[
        "bn and relu",
        "bn alone",
        "twice",
        "bn after relu",
        "bn with its own top",
        "relu with its own top",
        "dropout behind",
    ],
)
def test_a_net_with_batch_norm_trains_as_without_sharing(device, layers):
    plain, shared = training_net(*layers), training_net(*layers, share=True)
    for _ in range(2):
        assert shared.forward_loss() == plain.forward_loss()
        for net in (plain, shared):
            net.backward()
        for one, other in zip(gradients(shared), gradients(plain), strict=True):
            np.testing.assert_array_equal(one, other)
            assert other.any()


def test_batch_norm_does_the_work_of_a_relu_both_ways(launched):
    net = training_net(LEARN, RELU, share=True)
    net.forward()
    net.backward()
    assert "batch_norm_forward" in launched and not {"relu_forward", "relu_backward"} & set(launched)


def test_batch_norm_that_needs_its_input_later_copies_nothing():
    net = training_net(LEARN, RELU, share=True)
    net.forward()
    (_, _, made), (layer, taken, top) = (net.connections()[net.layer_names.index(name)] for name in ("conv", "bn"))
    assert made[0] is taken[0] is layer.kept
    assert top[0] is net._named_blobs["y"]


@pytest.mark.parametrize("stop, goes_on", [("conv", "bn"), ("bn", "relu"), ("relu", "z")])
def test_a_training_pass_in_two_parts_is_one_pass(stop, goes_on):
    whole, parted, plain = training_net(LEARN, RELU), training_net(LEARN, RELU, share=True), training_net(LEARN, RELU)
    whole.forward()
    whole.backward()
    shown = [net.forward(end=stop)["y"].copy() for net in (plain, parted)]
    np.testing.assert_array_equal(*shown)
    for net in (plain, parted):
        net.blobs["y"].data[0] *= 2  # what lies there is what goes on
        net.forward(start=goes_on)
        net.backward(end=goes_on)
        net.backward(start=stop)
    for one, other in zip(gradients(parted), gradients(plain), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_test_net_of_its_own_statistics_rectifies_in_batch_norm(launched):
    wanted = net_of(convolution(), LEARN, RELU).forward()["z"].copy()
    launched.clear()
    np.testing.assert_array_equal(net_of(convolution(), LEARN, RELU, share=True).forward()["z"], wanted)
    assert "batch_norm_forward" in launched and "relu_forward" not in launched


SCALED = [NORM, SCALE, RELU]


def assert_same_gradients(net, other):
    """Within the rounding of two orders of the same sums; a bias before batch norm has sums of 0."""
    largest = max(np.abs(values).max() for values in gradients(other))
    for one, wanted in zip(gradients(net), gradients(other), strict=True):
        np.testing.assert_allclose(one, wanted, rtol=2e-5, atol=3e-6 * largest)


@pytest.mark.parametrize(
    "layers",
    [
        SCALED,
        [NORM, SCALE],
        [NORM, FACTOR, RELU],
        [NORM, RELU],
        [NORM, BIAS, RELU],
        [NORM.replace('top: "y"', 'top: "b"'), SCALE.replace('"y"', '"b"'), RELU.replace('"y"', '"b"')],
        [RUNNING.replace("frozen: true", "momentum: 0.5"), RELU],
    ],
    ids=["all three", "no relu", "scale without bias", "no scale", "bias", "a top of its own", "running"],
)
def test_a_net_with_batch_norm_and_scale_trains_as_without_sharing(device, layers):
    plain, shared = training_net(*layers), training_net(*layers, share=True)
    for _ in range(2):
        assert shared.forward_loss() == pytest.approx(plain.forward_loss(), rel=1e-5)
        for net in (plain, shared):
            net.backward()
        assert_same_gradients(shared, plain)
        assert all(
            np.any(blob.diff) for name in ("conv", "scale") if name in plain.params for blob in plain.params[name][:1]
        )
        for name in {"norm", "running"} & set(plain.params):
            for one, other in zip(shared.params[name], plain.params[name], strict=True):
                np.testing.assert_allclose(one.data, other.data, rtol=1e-5)


def test_batch_norm_does_the_work_of_scale_and_relu_both_ways(launched):
    net = training_net(*SCALED, share=True)
    net.forward()
    net.backward()
    others = {"relu_forward", "relu_backward", "channel_affine_forward", "channel_affine_backward"}
    assert "batch_norm_forward" in launched and not others & set(launched)


def test_nor_does_batch_norm_with_a_scale_copy_its_input():
    net = training_net(*SCALED, share=True)
    net.forward()
    (_, _, made), (layer, taken, top) = (net.connections()[net.layer_names.index(name)] for name in ("conv", "norm"))
    assert made[0] is taken[0] is layer.kept
    assert top[0] is net._named_blobs["y"]


def test_a_backward_pass_that_parts_what_forward_did_together_is_refused():
    net = training_net(*SCALED, share=True)
    net.forward()
    with pytest.raises(
        NetError, match=r"layer 'scale' \(Scale\): the layer before it did its work in the forward pass"
    ):
        net.backward(end="scale")


@pytest.mark.parametrize("stop, goes_on", [("norm", "scale"), ("scale", "relu")])
def test_a_training_pass_in_two_parts_scales_as_one_pass(stop, goes_on):
    parted, plain = training_net(*SCALED, share=True), training_net(*SCALED)
    for net in (plain, parted):
        net.forward(end=stop)
        net.forward(start=goes_on)
        net.backward(end=goes_on)
        net.backward(start=stop)
    assert_same_gradients(parted, plain)


def test_a_bad_layer_is_found_behind_batch_norm_after_the_maps_changed_their_size():
    """Layers whose work another has done have not followed the maps."""
    net = training_net(*SCALED, share=True)
    for size in (9, 5):
        net.blobs["x"].reshape(2, 17, size, 11)
        net.blobs["x"].data[...] = np.random.default_rng(0).normal(size=net.blobs["x"].shape)
        net.forward()
    assert net.first_bad_layer() is None
    net.params["scale"][0].data[3] = np.nan
    net.forward()
    assert net.first_bad_layer() == "scale"
