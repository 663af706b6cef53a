"""A folder of images and labels for the tests of the data layers, and layers that read it."""

import numpy as np
import pytest

from deconvnet.core import proto
from deconvnet.core.blob import Blob
from deconvnet.core.layers.seg_data import ImageSegData
from deconvnet.core.proto import caffe_pb2

Image = pytest.importorskip("PIL.Image")
TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST


class ExampleFolder:
    """A folder of images and labels, the list over them, and layers that read it."""

    def __init__(self, root):
        self.root = root
        self.lines = []
        self.layers = []

    def image(self, name, pixels):
        """Writes grey levels (H, W) as a colour image, without loss."""
        Image.fromarray(np.repeat(np.asarray(pixels, np.uint8)[:, :, None], 3, axis=2)).save(self.root / name)

    def label(self, name, indices):
        label = Image.fromarray(np.asarray(indices, np.uint8))
        label.putpalette([0] * 768)
        label.save(self.root / name)

    def add(self, name, height=6, width=8, window=""):
        """An image of grey level `name` whose label has that index everywhere."""
        self.image(f"{name}.png", np.full((height, width), name))
        self.label(f"label{name}.png", np.full((height, width), name))
        self.lines.append(f"/{name}.png /label{name}.png {window}")

    def write(self, *lines):
        (self.root / "list.txt").write_text("".join(f"{line}\n" for line in lines or self.lines))

    def layer(self, kind=ImageSegData, images="", transform="", phase=TRAIN, tops=2, seed=7, dtype=np.float32):
        """A layer after setup and reshape, its tops in `layer.top`; `images` overrides the folder's list and PIXEL."""
        text = f'name: "data" type: "{kind.__name__}" transform_param {{ {transform} }}'
        param = proto.parse(text, caffe_pb2.LayerParameter(phase=phase))
        param.image_data_param.source = f"{self.root}/list.txt"
        param.image_data_param.root_folder = str(self.root)
        param.image_data_param.label_type = caffe_pb2.ImageDataParameter.PIXEL
        param.image_data_param.MergeFrom(proto.parse(images, caffe_pb2.ImageDataParameter()))
        layer = kind(param, dtype=dtype, seed=seed)
        self.layers.append(layer)
        layer.top = [Blob(dtype=dtype) for _ in range(tops)]
        layer.check_counts(0, tops)
        layer.setup([], layer.top)
        layer.reshape([], layer.top)
        return layer


def step(layer):
    """Copies of the tops' data after one forward pass, as Net runs it."""
    layer.reshape([], layer.top)
    layer.forward([], layer.top)
    return [blob.host_data.copy() for blob in layer.top]


def names(layer, batches):
    """Which images come, by their label, example after example."""
    return [int(label[0, 0, 0]) for _ in range(batches) for label in step(layer)[1]]


def assert_same(batch, other):
    for values, others in zip(batch, other, strict=True):
        np.testing.assert_array_equal(values, others)
