"""The mission's nets and solvers against the facts of the paper and the release, by arithmetic on the prototxt alone."""

import math
from collections import Counter
from pathlib import Path

import pytest

from deconvnet.core.proto import caffe_pb2, filter_net, read_net, read_solver

ROOT = Path(__file__).resolve().parents[2]
STAGES = ["prototxt/deconvnet_stage1_train_val.prototxt", "prototxt/deconvnet_stage2_train_val.prototxt"]
DEPLOY = "prototxt/deconvnet_deploy.prototxt"
LAYERS = """
    conv1_1 conv1_2 pool1 conv2_1 conv2_2 pool2 conv3_1 conv3_2 conv3_3 pool3
    conv4_1 conv4_2 conv4_3 pool4 conv5_1 conv5_2 conv5_3 pool5 fc6 fc7
    fc6-deconv unpool5 deconv5_1 deconv5_2 deconv5_3 unpool4 deconv4_1 deconv4_2 deconv4_3
    unpool3 deconv3_1 deconv3_2 deconv3_3 unpool2 deconv2_1 deconv2_2 unpool1 deconv1_1 deconv1_2 seg-score-voc
"""


def net(path, phase=caffe_pb2.TRAIN):
    return filter_net(read_net(ROOT / path), caffe_pb2.NetState(phase=phase))


def names_behind(convolution):
    """The BN and ReLU layers that follow a convolution, by the release's naming."""
    if convolution == "fc6-deconv":
        return ["fc6-deconv-bn", "fc6-deconv-relu"]
    if convolution.startswith("fc"):
        return ["bn" + convolution, "relu" + convolution[2:]]
    return [convolution.replace("conv", "bn"), convolution.replace("conv", "relu")]


class Shapes:
    """Shapes (C, H, W), parameter counts and multiplications of a net of this family for an input of `side` pixels."""

    def __init__(self, layers, side):
        self.blob = {"data": (3, side, side)}
        self.parameters, self.outputs, self.macs = Counter(), Counter(), 0
        pooled_from = {}
        for layer in layers:
            if layer.type in ("Input", "ImageSegData", "WindowSegData", "SoftmaxWithLoss", "EltwiseAccuracy"):
                continue
            c, h, w = self.blob[layer.bottom[0]]
            if layer.type in ("Convolution", "Deconvolution"):
                (k,), p = layer.convolution_param.kernel_size, sum(layer.convolution_param.pad)
                grow = (k - 1 - 2 * p) * (1 if layer.type == "Deconvolution" else -1)
                top = layer.convolution_param.num_output, h + grow, w + grow
                assert min(top) > 0, f"{layer.name}: {c, h, w} is too small"
                self.parameters[layer.type] += k * k * c * top[0] + top[0]
                # every weight meets every place of the smaller of the two planes
                self.macs += k * k * c * top[0] * (top[1] * top[2] if layer.type == "Convolution" else h * w)
            elif layer.type == "Pooling":
                top = c, math.ceil(h / 2), math.ceil(w / 2)
                self.blob[layer.top[1]] = top
                pooled_from[layer.top[1]] = layer.bottom[0]
            elif layer.type == "Unpooling":
                assert self.blob[layer.bottom[1]] == (c, h, w)
                top = (c, *self.blob[pooled_from[layer.bottom[1]]][1:])
            else:
                assert layer.type in ("BN", "ReLU") and layer.top[0] == layer.bottom[0]
                self.parameters[layer.type] += 2 * c if layer.type == "BN" else 0
                continue
            self.blob[layer.top[0]] = top
            self.outputs[layer.type] += math.prod(top)


@pytest.mark.parametrize("path", [*STAGES, DEPLOY])
@pytest.mark.parametrize("phase", [caffe_pb2.TRAIN, caffe_pb2.TEST])
def test_layers_have_the_names_and_the_order_of_the_release(path, phase):
    expected = ["input" if path == DEPLOY else "data"]
    for name in LAYERS.split():
        expected.append(name)
        if name[:4] in ("conv", "deco") or name[:2] == "fc":
            expected += names_behind(name)
    if path != DEPLOY:
        expected += ["seg-loss", "seg-accuracy"]
    assert [layer.name for layer in net(path, phase).layer] == expected


@pytest.mark.parametrize("path", [*STAGES, DEPLOY])
def test_size_of_the_net_is_that_of_the_facts(path):
    shapes = Shapes(net(path).layer, side=224)
    weights = shapes.parameters["Convolution"] + shapes.parameters["Deconvolution"]
    assert f"{weights / 1e6:.2f} M" == "251.77 M"
    assert f"{(weights + shapes.parameters['BN']) / 1e6:.2f} M" == "251.81 M"
    assert f"{shapes.macs / 1e9:.2f} GMAC" == "32.75 GMAC"
    assert f"{(shapes.outputs['Convolution'] + shapes.outputs['Deconvolution']) / 1e6:.1f} M" == "26.8 M"
    assert f"{shapes.outputs['Pooling'] / 1e6:.1f} M" == "1.5 M"
    assert f"{shapes.outputs['Unpooling'] / 1e6:.1f} M" == "6.1 M"
    assert shapes.blob["fc7"] == (4096, 1, 1)
    assert shapes.blob["fc6-deconv"] == (512, 7, 7)
    assert shapes.blob["seg-score"] == (21, 224, 224)


@pytest.mark.parametrize("side", [193, 200, 225, 256, 321])
def test_scores_have_the_size_of_the_input_whatever_it_is(side):
    assert Shapes(net(DEPLOY).layer, side).blob["seg-score"] == (21, side, side)


def test_below_193_pixels_fc6_does_not_fit():
    with pytest.raises(AssertionError, match="fc6: .* is too small"):
        Shapes(net(DEPLOY).layer, 192)


@pytest.mark.parametrize("path", STAGES)
def test_learning_of_the_train_nets(path):
    for layer in net(path).layer:
        if layer.type in ("Convolution", "Deconvolution"):
            assert [(p.lr_mult, p.decay_mult) for p in layer.param] == [(1, 1), (2, 0)]
            weight, bias = layer.convolution_param.weight_filler, layer.convolution_param.bias_filler
            assert (weight.type, round(weight.std, 6), bias.type, bias.value) == ("gaussian", 0.01, "constant", 0)
        elif layer.type == "BN":
            assert len(layer.param) == 0 and layer.bn_param.bn_mode == caffe_pb2.BNParameter.LEARN
            assert (layer.bn_param.scale_filler.value, round(layer.bn_param.shift_filler.value, 6)) == (1, 0.001)
        elif layer.type == "Unpooling":
            assert {f.name for f, _ in layer.unpooling_param.ListFields()} == {"unpool", "kernel_size", "stride"}


@pytest.mark.parametrize("path", STAGES)
@pytest.mark.parametrize("phase", [caffe_pb2.TRAIN, caffe_pb2.TEST])
def test_loss_and_accuracy_leave_out_void_pixels(path, phase):
    loss, accuracy = net(path, phase).layer[-2:]
    assert (loss.type, list(loss.bottom), loss.loss_param.ignore_label) == (
        "SoftmaxWithLoss",
        ["seg-score", "label"],
        255,
    )
    assert (accuracy.type, list(accuracy.top)) == ("EltwiseAccuracy", ["seg-accuracy"])
    assert accuracy.eltwise_accuracy_param.ignore_label == 255


@pytest.mark.parametrize(
    "path, phase, kind, side",
    [
        (STAGES[0], caffe_pb2.TRAIN, "ImageSegData", 250),
        (STAGES[0], caffe_pb2.TEST, "ImageSegData", 250),
        (STAGES[1], caffe_pb2.TRAIN, "WindowSegData", 250),
        (STAGES[1], caffe_pb2.TEST, "WindowSegData", 224),
    ],
)
def test_data_layers_prepare_224_pixels(path, phase, kind, side):
    data = net(path, phase).layer[0]
    images, transform = data.image_data_param, data.transform_param
    training = phase == caffe_pb2.TRAIN
    assert (data.type, list(data.top)) == (kind, ["data", "label"])
    assert (images.new_height, images.new_width, transform.crop_size) == (side, side, 224)
    assert (transform.mirror, images.shuffle, images.batch_size) == (training, True, 64 if training else 8)
    assert [round(v, 3) for v in transform.mean_value] == [104.008, 116.669, 122.675]
    assert (images.label_type, images.ignore_label) == (caffe_pb2.ImageDataParameter.PIXEL, 255)
    assert images.source.startswith(images.root_folder + "/") and not images.antialias


def test_stages_differ_in_their_data_only():
    def without_data(path):
        both = read_net(ROOT / path)
        return [layer for layer in both.layer if layer.name != "data"]

    assert without_data(STAGES[0]) == without_data(STAGES[1])


def test_inference_net_takes_the_weights_of_the_train_net_and_folded_batch_norm():
    train, deploy = net(STAGES[1], caffe_pb2.TEST).layer[1:-2], net(DEPLOY).layer[1:]
    for learned, used in zip(train, deploy, strict=True):
        assert (used.name, used.type, used.bottom, used.top) == (
            learned.name,
            learned.type,
            learned.bottom,
            learned.top,
        )
        assert used.pooling_param == learned.pooling_param and used.unpooling_param == learned.unpooling_param
        for field in ("num_output", "kernel_size", "pad"):
            assert getattr(used.convolution_param, field) == getattr(learned.convolution_param, field)
        if used.type == "BN":
            assert used.bn_param.bn_mode == caffe_pb2.BNParameter.INFERENCE


@pytest.mark.parametrize(
    "number, iterations, weights",
    [(1, 20000, "models/vgg16_fully_convolutional.caffemodel"), (2, 40000, "snapshots/stage1_iter_20000.caffemodel")],
)
def test_solver_is_the_papers(number, iterations, weights):
    solver = read_solver(ROOT / f"solver/stage{number}.prototxt")
    assert solver.net == STAGES[number - 1]
    batch = net(solver.net).layer[0].image_data_param.batch_size
    assert batch * solver.iter_size == 64
    rate = [solver.base_lr, solver.gamma, solver.momentum, solver.weight_decay]
    assert rate == pytest.approx([0.01, 0.1, 0.9, 0.0005]) and solver.lr_policy == "plateau"
    assert (solver.type, solver.max_iter, list(solver.weights)) == ("SGD", iterations, [weights])
    assert solver.plateau_metric in [top for layer in net(solver.net, caffe_pb2.TEST).layer for top in layer.top]
    assert (solver.test_interval, list(solver.test_iter), solver.snapshot) == (500, [1000], 500)
    assert solver.snapshot_prefix == f"snapshots/stage{number}"
    assert solver.solver_mode == caffe_pb2.SolverParameter.GPU
    assert not solver.decay_divided_by_iter_size and not solver.bn_gradient_of_last_micro_batch
