"""Nets in the words of SegNet, DeepLab and PSPNet: they build, learn, and give and take their weights."""

import numpy as np
import pytest
from arrays import numbers

from deconvnet.core import kernels
from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2, parse
from deconvnet.core.solver import inference_need

LABELS = 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 dim: 1 dim: 9 dim: 17 } } }'
DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 17 } } }'
FILLER = 'weight_filler { type: "msra" }'

SEGNET = f"""{DATA} {LABELS}
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 {FILLER} }} }}
layer {{ name: "conv1_bn" type: "BN" bottom: "conv1" top: "conv1" bn_param {{ scale_filler {{ value: 1 }} shift_filler {{ value: 0.001 }} }} }}
layer {{ name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" top: "pool1_mask" pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
layer {{ name: "upsample1" type: "Upsample" bottom: "pool1" bottom: "pool1_mask" top: "upsample1"
  upsample_param {{ scale: 2 pad_out_h: true pad_out_w: true }} }}
layer {{ name: "score" type: "Convolution" bottom: "upsample1" top: "score" convolution_param {{ num_output: 3 kernel_size: 1 {FILLER} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  loss_param: {{ weight_by_label_freqs: true ignore_label: 11 class_weighting: 0.5 class_weighting: 2 class_weighting: 1 }} }}
"""
DEEPLAB = f"""{DATA} {LABELS}
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 {FILLER} }} }}
layer {{ name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param {{ kernel_size: 3 stride: 2 pad: 1 }} }}
layer {{ name: "fc6" type: "Convolution" bottom: "pool1" top: "fc6" convolution_param {{ num_output: 3 kernel_size: 3 pad: 2 hole: 2 {FILLER} }} }}
layer {{ name: "fc6_interp" type: "Interp" bottom: "fc6" top: "fc6_interp" interp_param {{ zoom_factor: 2 }} }}
layer {{ name: "label_shrink" type: "Interp" bottom: "label" top: "label_shrink" interp_param {{ shrink_factor: 2 }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc6" bottom: "label_shrink" loss_param {{ ignore_label: 11 }} }}
layer {{ name: "loss_interp" type: "SoftmaxWithLoss" bottom: "fc6_interp" bottom: "label" loss_param {{ ignore_label: 11 }} }}
layer {{ name: "accuracy" type: "SegAccuracy" bottom: "fc6" bottom: "label_shrink" top: "accuracy" seg_accuracy_param {{ ignore_label: 11 }} }}
"""
PSPNET = f"""{DATA} {LABELS}
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 2 dilation: 2 bias_term: false {FILLER} }} }}
layer {{ name: "conv1/bn" type: "BN" bottom: "conv1" top: "conv1" param {{ lr_mult: 1 }} param {{ lr_mult: 1 }} param {{ lr_mult: 0 }}
  param {{ lr_mult: 0 }} bn_param {{ slope_filler {{ value: 1 }} bias_filler {{ value: 0 }} momentum: 0.95 }} }}
layer {{ name: "conv1/relu" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{ name: "pool" type: "Pooling" bottom: "conv1" top: "pool" pooling_param {{ pool: AVE kernel_h: 5 kernel_w: 9 stride_h: 4 stride_w: 8 }} }}
layer {{ name: "pool_interp" type: "Interp" bottom: "pool" top: "pool_interp" interp_param {{ height: 9 width: 17 }} }}
layer {{ name: "concat" type: "Concat" bottom: "conv1" bottom: "pool_interp" top: "concat" }}
layer {{ name: "score" type: "Convolution" bottom: "concat" top: "score" convolution_param {{ num_output: 3 kernel_size: 1 {FILLER} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" loss_param {{ ignore_label: 11 }} }}
"""
SHAPES = {
    SEGNET: {"conv1_bn": [(1, 4, 1, 1)] * 2},
    DEEPLAB: {"fc6": [(3, 4, 3, 3), (3,)]},
    PSPNET: {"conv1/bn": [(1, 4, 1, 1)] * 4},
}
families = pytest.mark.parametrize("text", [SEGNET, DEEPLAB, PSPNET], ids=["SegNet", "DeepLab", "PSPNet"])


def net_of(text, phase=caffe_pb2.TRAIN, weights=None, **options):
    net = Net(parse(text, caffe_pb2.NetParameter()), phase, weights, dtype=np.float64, seed=3, **options)
    net.blobs["data"].data[...] = numbers(2, 3, 9, 17)
    net.blobs["label"].data[...] = np.random.default_rng(1).choice([0, 1, 2, 11], (2, 1, 9, 17))
    return net


def total_loss(net):
    """The sum over all loss layers, those without a top that is named too."""
    tops = [name for name in net.blobs if name.startswith(("loss", "(automatic)"))]
    net.forward()
    return sum(float(net.blobs[name].data) for name in tops)


@families
def test_gradients_of_the_whole_net(text):
    """By central differences, of some weights of the first layer."""
    net = net_of(text)
    total_loss(net)
    net.clear_param_diffs()
    net.backward()
    weights, found = net.params["conv1"][0], net.params["conv1"][0].diff.copy()
    for place in [(0, 0, 0, 0), (1, 2, 1, 1), (3, 1, 2, 0)]:
        held, values = weights.data[place], []
        for step in (1e-6, -1e-6):
            weights.data[place] = held + step
            values.append(total_loss(net))
        weights.data[place] = held
        np.testing.assert_allclose(found[place], (values[0] - values[1]) / 2e-6, rtol=1e-5, atol=1e-8)


@families
def test_weights_go_out_and_in_again(text, tmp_path):
    net = net_of(text)
    net.forward()
    for layer, shapes in SHAPES[text].items():
        assert [blob.data.shape for blob in net.params[layer]] == shapes
    net.save(tmp_path / "w.caffemodel")
    again = net_of(text, caffe_pb2.TEST, tmp_path / "w.caffemodel")
    for name, blobs in net.params.items():
        for ours, theirs in zip(again.params[name], blobs, strict=True):
            np.testing.assert_array_equal(ours.data, theirs.data.astype(np.float32))
    assert again.loaded.missing == [] and again.loaded.unfolded == []


@families
def test_shared_buffers_change_nothing(text):
    apart, shared = net_of(text, caffe_pb2.TEST), net_of(text, caffe_pb2.TEST, share=True)
    for name, values in apart.forward().items():
        np.testing.assert_allclose(shared.forward()[name], values, rtol=1e-12)


@families
def test_a_gpu_learns_the_same(gpu, text):
    found = {}
    for mode in ("cpu", "gpu"):
        kernels.set_mode(mode)
        net = net_of(text)
        total_loss(net)
        net.backward()
        found[mode] = [values for blobs in net.params.values() for blob in blobs for values in (blob.data, blob.diff)]
    for a, b in zip(found["cpu"], found["gpu"], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


@families
def test_the_memory_that_a_gpu_would_take_is_predicted(text, tmp_path):
    (tmp_path / "net.prototxt").write_text(text)
    assert inference_need(str(tmp_path / "net.prototxt")).peak > 0


def test_a_loss_without_a_top_counts_and_is_no_output():
    """Caffe gives it one that it calls automatic."""
    net = net_of(DEEPLAB)
    assert [name for name in net.blobs if "automatic" in name] == ["(automatic)", "(automatic) 2"]
    assert net.outputs == ["accuracy"]
    assert total_loss(net) > 0
