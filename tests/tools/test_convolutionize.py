"""tools/convolutionize.py on a VGG-16 whose every layer has two or three channels, and whose fc6 looks at 2x2."""

import re

import numpy as np
import pytest
from tool_call import call, only_line

from deconvnet.core.net import Net
from deconvnet.core.net.vgg16 import take_caffe_input
from deconvnet.core.proto import caffe_pb2, parse

TOOL = "convolutionize"
FCN = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv1_1" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 3 pad: 1 } }
layer { name: "pool1" type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 4 stride: 4 } }
layer { name: "fc6" type: "Convolution" bottom: "p" top: "fc6" convolution_param { num_output: 4 kernel_size: 2 } }
layer { name: "fc7" type: "Convolution" bottom: "fc6" top: "fc7" convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "score_fr" type: "Convolution" bottom: "fc7" top: "score_fr" convolution_param { num_output: 5 kernel_size: 1
  weight_filler { type: "constant" value: 9 } } }
layer { name: "upscore" type: "Deconvolution" bottom: "score_fr" top: "score"
  convolution_param { num_output: 5 kernel_size: 8 stride: 4 bias_term: false } }
"""
SHAPES = {"conv1_1": (2, 3, 3, 3), "fc6": (4, 8), "fc7": (3, 4), "fc8": (10, 3)}
TORCHVISION = {"conv1_1": "features.0", "fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "fcn.prototxt").write_text(FCN)
    return tmp_path


def classifier():
    """{layer: (weight, bias)} of a classifier, fully connected layers as (outputs, inputs)."""
    rng = np.random.default_rng(2)
    shapes = SHAPES.items()
    return {n: (rng.normal(size=s).astype(np.float32), rng.normal(size=s[0]).astype(np.float32)) for n, s in shapes}


def write_npz(path, layers, names=None):
    forms = ("{}.weight", "{}.bias") if names else ("{}/0", "{}/1")
    named = {(names or {}).get(name, name): values for name, values in layers.items()}
    np.savez(path, **{forms[i].format(name): values for name, both in named.items() for i, values in enumerate(both)})


def converted(folder, *arguments):
    done = call(TOOL, folder, "--model", "fcn.prototxt", *arguments, "--output", "models/start.caffemodel")
    assert done.returncode == 0, done.stderr
    return Net(
        parse(FCN, caffe_pb2.NetParameter()), caffe_pb2.TEST, weights=folder / "models/start.caffemodel"
    ), done.stdout


def test_the_fcn_computes_what_the_classifier_does(folder):
    layers = classifier()
    write_npz(folder / "vgg.npz", layers)
    net, _ = converted(folder, "--weights", "vgg.npz")
    net.forward(data=np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32))
    fc6 = layers["fc6"][0] @ net.blobs["p"].data.reshape(8) + layers["fc6"][1]
    np.testing.assert_allclose(net.blobs["fc6"].data.reshape(4), fc6, rtol=1e-5)
    np.testing.assert_allclose(net.blobs["fc7"].data.reshape(3), layers["fc7"][0] @ fc6 + layers["fc7"][1], rtol=1e-4)


def test_upsampling_is_bilinear_and_other_layers_are_left_to_their_fillers(folder):
    write_npz(folder / "vgg.npz", classifier())
    net, said = converted(folder, "--weights", "vgg.npz")
    weights = net.params["upscore"][0].data
    assert weights.shape == (5, 5, 8, 8) and weights[2, 2].sum() == pytest.approx(16) and not weights[2, 3].any()
    assert (net.params["score_fr"][0].data == 9).all()
    assert net.loaded.missing == ["score_fr"]
    assert re.search(r"3 layers from vgg.npz, 1 bilinear", said)
    for line in (
        "of the same numbers in another shape: fc6, fc7",
        "bilinear upsampling: upscore",
        "left out, which the net does not have: fc8",
        "not written, to start from their fillers: score_fr",
    ):
        assert f"  {line}\n" in said


def test_a_file_that_brings_upsampling_keeps_it(folder):
    own = np.random.default_rng(4).normal(size=(5, 5, 8, 8)).astype(np.float32)
    layers = {**classifier(), "upscore": (own,)}
    write_npz(folder / "fcn32s.npz", layers)
    net, said = converted(folder, "--weights", "fcn32s.npz")
    np.testing.assert_array_equal(net.params["upscore"][0].data, own)
    assert "0 bilinear" in said


@pytest.mark.parametrize("form", ["npz", "safetensors"])
def test_torchvisions_names_and_input_become_caffes(folder, form):
    layers = classifier()
    write_npz(folder / "vgg.npz", layers, TORCHVISION)
    if form == "safetensors":
        write_safetensors(folder / "vgg.safetensors", layers)
    net, said = converted(folder, "--weights", f"vgg.{form}", "--names", "torchvision")
    weight, bias = (values.copy() for values in layers["conv1_1"])
    take_caffe_input(weight, bias)
    np.testing.assert_array_equal(net.params["conv1_1"][0].data, weight)
    np.testing.assert_array_equal(net.params["conv1_1"][1].data, bias)
    np.testing.assert_array_equal(net.params["fc6"][0].data.reshape(4, 8), layers["fc6"][0])
    assert "3 layers from" in said and "left out" not in said


def write_safetensors(path, layers):
    """By the format's definition: the length of a header, the header, the numbers."""
    import json

    header, data = {}, b""
    for name, both in layers.items():
        for kind, values in zip(("weight", "bias"), both, strict=True):
            place = [len(data), len(data) + values.nbytes]
            header[f"{TORCHVISION[name]}.{kind}"] = {"dtype": "F32", "shape": values.shape, "data_offsets": place}
            data += values.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_deconvnet_takes_the_same_start(folder):
    """fc6-deconv and the decoder are not written, so that a training net fills them."""
    net = FCN.split('layer { name: "score_fr"')[0]
    decoder = """
    layer { name: "fc6-deconv" type: "Deconvolution" bottom: "fc7" top: "d" convolution_param { num_output: 2 kernel_size: 2 } }
    layer { name: "deconv1_1" type: "Deconvolution" bottom: "d" top: "e" convolution_param { num_output: 2 kernel_size: 3 pad: 1 } }
    """
    (folder / "fcn.prototxt").write_text(net + decoder)
    write_npz(folder / "vgg.npz", classifier())
    done = call(TOOL, folder, *"--model fcn.prototxt --weights vgg.npz --output start.npz".split())
    assert done.returncode == 0, done.stderr
    with np.load(folder / "start.npz") as start:
        assert sorted(start) == [f"{name}/{i}" for name in ("conv1_1", "fc6", "fc7") for i in (0, 1)]
        assert start["fc6/0"].shape == (4, 2, 2, 2)


def refused(folder, *arguments):
    return only_line(call(TOOL, folder, "--model", "fcn.prototxt", "--output", "out.caffemodel", *arguments), TOOL)


def test_what_cannot_be_used_ends_in_one_line(folder):
    write_npz(folder / "vgg.npz", classifier(), TORCHVISION)
    assert "tools/convolutionize.py --names" in refused(folder, "--weights", "vgg.npz")
    write_npz(folder / "bn.npz", {"running": (np.ones(2, np.float32),)}, {"running": "features.1.running_mean"})
    assert "bn.npz: this is not torchvision's VGG-16" in refused(
        folder, "--weights", "bn.npz", "--names", "torchvision"
    )
    assert "no such file" in refused(folder, "--weights", "absent.caffemodel")
    write_npz(folder / "own.npz", classifier())
    assert "this is not torchvision's" in refused(folder, "--weights", "own.npz", "--names", "torchvision")
    under = refused(folder, "--weights", "own.npz", "--output", "own.npz/out.npz")
    assert "the folder of --output own.npz/out.npz cannot be made (File exists)" in under
    assert "is the file of --weights" in refused(folder, "--weights", "own.npz", "--output", "own.npz")
    small = classifier()
    small["fc6"] = (np.ones((4, 7), np.float32), small["fc6"][1])
    write_npz(folder / "small.npz", small)
    assert "'fc6'" in refused(folder, "--weights", "small.npz")
    (folder / "w.caffemodel").write_bytes(b"")
    assert "convert it" in refused(folder, "--weights", "w.caffemodel", "--names", "torchvision")
    assert not (folder / "out.caffemodel").exists()


def test_without_the_first_layer_torchvisions_input_cannot_be_fitted(folder):
    layers = classifier()
    del layers["conv1_1"]
    write_npz(folder / "vgg.npz", layers, TORCHVISION)
    assert "conv1_1" in refused(folder, "--weights", "vgg.npz", "--names", "torchvision")
