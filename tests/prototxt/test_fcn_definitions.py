"""The FCN nets and solvers against the facts of the authors' public models and of DeconvNet's release; no weights are made."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2, filter_net, read_net, read_solver
from deconvnet.core.segmentation import voc
from deconvnet.core.solver import SGDSolver

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = ["fcn32s", "fcn16s", "fcn8s", "fcn8s_atonce"]
RELEASE, DEMO = "fcn8s_deconvnet_release", "demo/fcn8s_deploy"
TRUNK = """
    conv1_1 relu1_1 conv1_2 relu1_2 pool1 conv2_1 relu2_1 conv2_2 relu2_2 pool2
    conv3_1 relu3_1 conv3_2 relu3_2 conv3_3 relu3_3 pool3 conv4_1 relu4_1 conv4_2 relu4_2 conv4_3 relu4_3 pool4
    conv5_1 relu5_1 conv5_2 relu5_2 conv5_3 relu5_3 pool5 fc6 relu6 drop6 fc7 relu7 drop7
"""
POOL4 = "upscore2 score_pool4 score_pool4c fuse_pool4"
POOL3 = "upscore_pool4 score_pool3 score_pool3c fuse_pool3"
HEADS = {
    "fcn32s": "score_fr upscore score",
    "fcn16s": f"score_fr {POOL4} upscore16 score",
    "fcn8s": f"score_fr {POOL4} {POOL3} upscore8 score",
    "fcn8s_atonce": f"score_fr scale_pool4 {POOL4} scale_pool3 {POOL3} upscore8 score",
    RELEASE: "score-fr score2 score-pool4 crop score-fused score4 score-pool3 crop score-final upsample crop",
}
OFFSETS = {
    "fcn32s": {"score": 19},
    "fcn16s": {"score_pool4c": 5, "score": 27},
    "fcn8s": {"score_pool4c": 5, "score_pool3c": 9, "score": 31},
    "fcn8s_atonce": {"score_pool4c": 5, "score_pool3c": 9, "score": 31},
    RELEASE: {"score-pool4c": 5, "score-pool3c": 9, "upscore": 31},
    DEMO: {"upscore2c": 0, "upscore_pool4c": 0, "score": 0},
}
UPSAMPLING = {"upscore": (64, 32), "upscore16": (32, 16), "upscore8": (16, 8), "upsample": (16, 8)}


def path_of(name):
    return ROOT / "prototxt" / (f"{name}.prototxt" if "/" in name else f"fcn/{name}.prototxt")


def layers_of(name, phase=caffe_pb2.TEST, stages=()):
    return filter_net(read_net(path_of(name)), caffe_pb2.NetState(phase=phase, stage=stages)).layer


def shaped(name, height, width):
    return Net(path_of(name), caffe_pb2.TEST, fill=False, input_shapes={"data": (1, 3, height, width)})


@pytest.mark.parametrize("name", HEADS)
def test_layers_have_the_public_names_in_their_order(name):
    assert [layer.name for layer in layers_of(name)] == ["input", *TRUNK.split(), *HEADS[name].split()]


@pytest.mark.parametrize("name", PUBLIC)
def test_phases_differ_in_their_data_and_loss_only(name):
    assert {layer.name for layer in read_net(path_of(name)).layer if layer.include or layer.exclude} == {
        *("data", "input", "loss", "accuracy")
    }
    between = ["data", *TRUNK.split(), *HEADS[name].split(), "loss"]
    assert [layer.name for layer in layers_of(name, caffe_pb2.TRAIN)] == between
    assert [layer.name for layer in layers_of(name, caffe_pb2.TEST, ["val"])] == [*between, "accuracy"]


def test_the_trunk_is_written_alike_in_all_files():
    trunks = [list(layers_of(name))[1 : 1 + len(TRUNK.split())] for name in PUBLIC]
    assert all(trunk == trunks[0] for trunk in trunks[1:])
    assert [layer.convolution_param.num_output for layer in trunks[0] if layer.type == "Convolution"] == [
        *(64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512, 4096, 4096)
    ]


@pytest.mark.parametrize("name", OFFSETS)
@pytest.mark.parametrize("size", [(1, 1), (37, 52), (375, 500)])
def test_scores_have_the_size_of_the_input_whatever_it_is(name, size):
    net = shaped(name, *size)
    assert net.outputs == [list(OFFSETS[name])[-1]]
    assert net.blobs[net.outputs[0]].shape == (1, 7 if name == DEMO else 21, *size)


@pytest.mark.parametrize("name", OFFSETS)
def test_crop_offsets_are_the_facts_and_what_the_layers_between_give(name):
    written = read_net(path_of(name))
    for layer in written.layer:
        if layer.type == "Crop":
            assert layer.crop_param.computed or list(layer.crop_param.offset) == [OFFSETS[name][layer.top[0]]]
            layer.crop_param.Clear()
            layer.crop_param.computed = True
    net = Net(written, caffe_pb2.TEST, fill=False)
    found = {layer.param.top[0]: layer.computed_offset for layer in net.layers if layer.param.type == "Crop"}
    assert found == {top: (offset, offset) for top, offset in OFFSETS[name].items()}


@pytest.mark.parametrize("name", HEADS)
def test_parameters_have_the_shapes_of_the_public_weights(name):
    shapes = {layer: [blob.shape for blob in blobs] for layer, blobs in shaped(name, 40, 40).params.items()}
    assert shapes["conv1_1"] == [(64, 3, 3, 3), (64,)]
    assert shapes["fc6"] == [(4096, 512, 7, 7), (4096,)] and shapes["fc7"] == [(4096, 4096, 1, 1), (4096,)]
    for layer in layers_of(name):
        if layer.type == "Deconvolution":
            kernel, stride = UPSAMPLING.get(layer.name, (4, 2))
            with_bias = [(21,)] if layer.name == "score2" else []
            assert shapes[layer.name] == [(21, 21, kernel, kernel), *with_bias]
            assert list(layer.convolution_param.stride) == [stride]
        elif layer.name.startswith("score") and layer.type == "Convolution":
            channels = {"score_pool4": 512, "score-pool4": 512, "score_pool3": 256, "score-pool3": 256}
            assert shapes[layer.name] == [(21, channels.get(layer.name, 4096), 1, 1), (21,)]


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_learns_but_upsampling_and_the_scale_of_skips(name):
    for layer in layers_of(name, caffe_pb2.TRAIN):
        rates = [(param.lr_mult, param.decay_mult) for param in layer.param]
        if layer.type == "Convolution":
            assert rates == [(1, 1), (2, 0)]
            # nothing but zeros where no weights are loaded
            assert not layer.convolution_param.HasField("weight_filler")
        elif layer.type in ("Deconvolution", "Scale"):
            assert [rate for rate, _ in rates] == [0]
        if layer.type == "Deconvolution":
            assert layer.convolution_param.weight_filler.type == "bilinear_diagonal"
    scales = {x.name: round(x.scale_param.filler.value, 6) for x in layers_of(name) if x.type == "Scale"}
    assert scales == ({"scale_pool4": 0.01, "scale_pool3": 0.0001} if name == "fcn8s_atonce" else {})


@pytest.mark.parametrize("name", PUBLIC)
@pytest.mark.parametrize("phase, stages, split", [(caffe_pb2.TRAIN, [], "train"), (caffe_pb2.TEST, ["val"], "val")])
def test_whole_images_and_a_loss_summed_over_pixels_without_void(name, phase, stages, split):
    layers = layers_of(name, phase, stages)
    data, loss = layers[0], next(layer for layer in layers if layer.name == "loss")
    images, transform = data.image_data_param, data.transform_param
    assert (data.type, images.source, images.batch_size) == ("ImageSegData", f"data/voc/fcn_{split}.txt", 1)
    assert not (images.new_height or images.new_width or transform.crop_size or transform.mirror)
    assert [round(v, 5) for v in transform.mean_value] == [104.00699, 116.66877, 122.67892]
    assert loss.loss_param.HasField("normalize") and not loss.loss_param.normalize
    assert loss.loss_param.ignore_label == images.ignore_label == 255


@pytest.mark.parametrize(
    "name, rate, iterations, start",
    [
        ("fcn32s", 1e-10, 100_000, "models/vgg16_fully_convolutional.caffemodel"),
        ("fcn16s", 1e-12, 100_000, "snapshots/fcn32s_iter_100000.caffemodel"),
        ("fcn8s", 1e-14, 100_000, "snapshots/fcn16s_iter_100000.caffemodel"),
        ("fcn8s_atonce", 1e-10, 300_000, "models/vgg16_fully_convolutional.caffemodel"),
    ],
)
def test_solvers_are_the_authors(name, rate, iterations, start):
    solver = read_solver(ROOT / f"solver/{name}.prototxt")
    assert solver.net == f"prototxt/fcn/{name}.prototxt" and list(solver.weights) == [start]
    assert (solver.base_lr, solver.max_iter, solver.lr_policy) == (pytest.approx(rate), iterations, "fixed")
    assert [solver.momentum, solver.weight_decay] == pytest.approx([0.99, 0.0005]) and solver.iter_size == 1
    assert [list(state.stage) for state in solver.test_state] == [["val"]]


NARROW = {64: 2, 128: 2, 256: 3, 512: 3, 4096: 4}


def narrow(name, folder):
    """A solver and a net like the one of that name, but of two to four channels, that reads its images from `folder`."""
    net = read_net(path_of(name))
    for layer in net.layer:
        outputs = layer.convolution_param.num_output
        layer.convolution_param.num_output = NARROW.get(outputs, outputs)
        if layer.type == "ImageSegData":
            layer.image_data_param.source, layer.image_data_param.root_folder = f"{folder}/list.txt", str(folder)
        if layer.type == "Convolution" and not layer.name.startswith("score"):
            layer.convolution_param.weight_filler.type = "msra"
    solver = read_solver(ROOT / f"solver/{name}.prototxt")
    solver.ClearField("net")
    solver.net_param.CopyFrom(net)
    for field in ("test_iter", "test_state", "test_interval", "weights"):
        solver.ClearField(field)
    solver.solver_mode = caffe_pb2.SolverParameter.CPU
    return solver


def test_training_on_images_of_several_sizes_starts_where_all_classes_are_equally_likely(tmp_path):
    (tmp_path / "JPEGImages").mkdir()
    sizes, lines = [(33, 47), (50, 20)], []
    for number, size in enumerate(sizes):
        image = np.full((*size, 3), 40 * number, np.uint8)
        cv2.imwrite(str(tmp_path / f"JPEGImages/{number}.png"), image)
        label = np.full(size, number + 1, np.uint8)
        label[0] = voc.VOID
        voc.write_label(tmp_path / f"{number}.png", label)
        lines.append(f"/JPEGImages/{number}.png /{number}.png\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    solver = SGDSolver(narrow("fcn8s_atonce", tmp_path))
    seen = set()
    for _ in sizes:
        solver.step(1)
        height, width = solver.net.blobs["score"].shape[2:]
        seen.add((height, width))
        # the rate is so small that the first steps change little
        expected = (height - 1) * width * math.log(21)
        assert solver.net.blobs["loss"].data.item() == pytest.approx(expected, rel=1e-3)
    assert seen == set(sizes)
    # the gradient has come through the upsampling layers
    assert all(solver.net.params[name][0].data.any() for name in ("score_fr", "score_pool4", "score_pool3"))


def test_the_demos_net_for_inference_is_the_one_that_is_trained():
    trained = [
        x for x in layers_of("demo/fcn8s_train_val", caffe_pb2.TRAIN) if x.name not in ("data", "loss", "accuracy")
    ]
    for learned, used in zip(trained, list(layers_of(DEMO))[1:], strict=True):
        assert (used.name, used.type, used.bottom, used.top) == (
            learned.name,
            learned.type,
            learned.bottom,
            learned.top,
        )
        for field in ("num_output", "kernel_size", "pad", "stride", "group", "bias_term"):
            assert getattr(used.convolution_param, field) == getattr(learned.convolution_param, field)
        assert (used.pooling_param, used.crop_param) == (learned.pooling_param, learned.crop_param)
        assert (used.bn_param.bn_mode == caffe_pb2.BNParameter.INFERENCE) == (used.type == "BN")


def test_the_demos_upsampling_keeps_classes_apart_and_does_not_learn():
    layers = [x for x in layers_of("demo/fcn8s_train_val", caffe_pb2.TRAIN) if x.type == "Deconvolution"]
    assert [layer.name for layer in layers] == ["upscore2", "upscore_pool4", "upscore8"]
    for layer in layers:
        assert [param.lr_mult for param in layer.param] == [0]
        assert layer.convolution_param.group == layer.convolution_param.num_output == 7
        assert layer.convolution_param.weight_filler.type == "bilinear"
