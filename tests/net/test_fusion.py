"""Net(share=True) in TEST: convolutions do the work of batch norm and ReLU, and nothing else changes."""

import numpy as np
import pytest

from deconvnet.core import kernels
from deconvnet.core.net import Net
from deconvnet.core.net.fusion import find_fusions
from deconvnet.core.proto import caffe_pb2, parse

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 17 dim: 9 dim: 11 } } }'
BN = 'layer { name: "bn" type: "BN" bottom: "y" top: "y" bn_param { bn_mode: INFERENCE scale_filler { type: "uniform" min: 0.5 max: 1.5 } shift_filler { type: "gaussian" std: 1 } } }'
RELU = 'layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }'
LAST = 'layer { name: "last" type: "Pooling" bottom: "y" top: "z" pooling_param { kernel_size: 2 stride: 2 } }'


def convolution(kind="Convolution", bias=True, more=""):
    fillers = 'weight_filler { type: "gaussian" std: 0.1 } bias_filler { type: "gaussian" std: 1 }'
    return (
        f'layer {{ name: "conv" type: "{kind}" bottom: "x" top: "y" convolution_param {{ num_output: 19 kernel_size: 3 pad: 1 '
        f"bias_term: {str(bias).lower()} {fillers} {more} }} }}"
    )


def net_of(*layers, phase=caffe_pb2.TEST, **given):
    net = Net(parse("\n".join([INPUT, *layers, LAST]), caffe_pb2.NetParameter()), phase, seed=1, **given)
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
@pytest.mark.parametrize("engine", ["DEFAULT", "CAFFE"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("following", [[BN], [RELU], [BN, RELU]], ids=["bn", "relu", "bn and relu"])
def test_a_convolution_with_what_follows_is_the_layers_one_by_one(kind, engine, bias, following):
    layers = [convolution(kind, bias, f"engine: {engine}"), *following]
    wanted = net_of(*layers).forward()["z"]
    found = net_of(*layers, share=True).forward()["z"]
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    assert wanted.std() > 0.1


def test_winograds_results_need_no_pass_for_batch_norm_and_relu(launched):
    net_of(convolution(), BN, RELU, share=True).forward()
    assert "winograd_results" in launched
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
        ([BN, BN.replace('"bn"', '"bn2"')], 2),
        ([BN.replace("INFERENCE", "LEARN"), RELU], None),
        ([RELU.replace('top: "y"', 'top: "y" relu_param { negative_slope: 0.1 }')], None),
    ],
    ids=["bn and relu", "relu", "bn after relu", "two bn", "bn that learns", "leaky relu"],
)
def test_what_a_convolution_can_stand_for(layers, last):
    assert find_fusions(net_of(convolution(), *layers)) == ({} if last is None else {1: last})


def test_a_layer_with_a_top_of_its_own_is_left_alone():
    relu = RELU.replace('top: "y"', 'top: "r"')
    assert (
        find_fusions(
            net_of(convolution(), relu, LAST.replace('"y"', '"r"').replace("last", "other").replace('"z"', '"w"'))
        )
        == {}
    )


def test_a_pass_that_ends_between_them_shows_what_it_shows_without_sharing():
    layers = [convolution(), BN, RELU]
    for end in ("conv", "bn", "relu"):
        wanted, found = (net_of(*layers, **given).forward(end=end)["y"].copy() for given in ({}, {"share": True}))
        np.testing.assert_allclose(found, wanted, atol=2e-6)
        assert (wanted.min() < 0) == (end != "relu")


def test_training_runs_every_layer(launched):
    net_of(convolution(), BN, RELU, phase=caffe_pb2.TRAIN, share=True).forward()
    assert {"channel_affine_forward", "relu_forward"} <= set(launched)
