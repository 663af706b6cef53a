"""docs/from_caffe.md: its recipes run as they stand there and give what Caffe's programs give."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

import deconvnet as caffe
from deconvnet.core.proto import caffe_pb2, parse, read_net

pytest.importorskip("lmdb", exc_type=ImportError)
PAGE = Path(__file__).resolve().parents[2] / "docs/from_caffe.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
IMAGES = np.random.default_rng(0).integers(0, 256, (10, 4, 5, 3)).astype(np.uint8)
VAL = """
layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "train_lmdb" batch_size: 1 backend: LMDB }
  transform_param { mean_file: "mean.binaryproto" } }
layer { name: "fc7" type: "InnerProduct" bottom: "data" top: "fc7" inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
"""
OLD = 'layers { name: "relu" type: RELU bottom: "x" top: "y" }'


@pytest.fixture
def written(tmp_path, monkeypatch):
    """The names of the page after its code has run, in a folder with ten images, a net and files in old syntax."""
    monkeypatch.chdir(tmp_path)
    for number, image in enumerate(IMAGES):
        cv2.imwrite(f"image {number}.png", image)
    Path("train.txt").write_text("".join(f"image {number}.png {number % 3}\n" for number in range(len(IMAGES))))
    Path("old.prototxt").write_text(OLD)
    Path("old_solver.prototxt").write_text('net: "net.prototxt" base_lr: 1 lr_policy: "fixed" solver_type: ADAM')
    Path("val.prototxt").write_text(VAL)
    no_data = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 5 } } }'
    net = parse(no_data + VAL[VAL.index('layer { name: "fc7"') :], caffe_pb2.NetParameter())
    caffe.Net(net, caffe.TEST, seed=1).save("trained.caffemodel")
    names = {}
    for number, block in enumerate(BLOCKS):
        # a sparse file of a terabyte is more than some file systems hold
        exec(compile(block.replace("2**40", "2**24"), f"{PAGE.name}, block {number}", "exec"), names)
    yield names
    names["net"].close()


def test_the_recipes_give_images_means_and_features(written):
    pixels = IMAGES.transpose(0, 3, 1, 2).astype(np.float64)
    stored = caffe_pb2.BlobProto.FromString(Path("mean.binaryproto").read_bytes())
    np.testing.assert_allclose(caffe.io.blobproto_to_array(stored)[0], pixels.mean(axis=0), rtol=1e-6)
    weights, bias = (blob.data for blob in written["net"].params["fc7"])
    expected = (pixels - pixels.mean(axis=0)).reshape(10, -1) @ weights.T + bias
    np.testing.assert_allclose(np.load("features.npy"), expected, rtol=1e-3, atol=1e-2)


def test_the_data_base_holds_the_classes_in_the_lists_order(written):
    labels = [int(written["net"].forward(blobs=["label"])["label"].item()) for _ in range(10)]
    assert labels == [number % 3 for number in range(10)]


def test_old_syntax_becomes_todays(written):
    assert "layer {" in Path("new.prototxt").read_text() and read_net("new.prototxt").layer[0].type == "ReLU"
    assert 'type: "Adam"' in Path("new_solver.prototxt").read_text()
