"""A label that is no class: the line of the list that its example comes from is named."""

import numpy as np
import pytest
from example_folder import ExampleFolder

from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2, parse

NET = """
layer {{
  name: "images" type: "ImageSegData" top: "data" top: "label"
  image_data_param {{ source: "{source}" root_folder: "{root}" batch_size: 3 label_type: PIXEL shuffle: true }}
  transform_param {{ crop_size: 4 }}
}}
layer {{ name: "score" type: "Convolution" bottom: "data" top: "score" convolution_param {{ num_output: 2 kernel_size: 1 }} }}
{layers}
"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }'
READERS = {
    "SoftmaxWithLoss": LOSS,
    "Accuracy": 'layer { name: "loss" type: "Accuracy" bottom: "score" bottom: "label" top: "right" }',
    "EltwiseAccuracy": 'layer { name: "loss" type: "EltwiseAccuracy" bottom: "score" bottom: "label" top: "right" }',
    "SegAccuracy": 'layer { name: "loss" type: "SegAccuracy" bottom: "score" bottom: "label" top: "right" }',
    "the second of two": 'layer { name: "silence" type: "Silence" bottom: "label" }' + LOSS,
    "behind a layer in place": 'layer { name: "same" type: "Power" bottom: "label" top: "label" }' + LOSS,
    "behind a reshape": """
        layer { name: "flat" type: "Reshape" bottom: "label" top: "flat" reshape_param { shape { dim: 3 dim: 16 } } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "flat" top: "loss" }""",
}


@pytest.fixture
def folder(tmp_path):
    """Six examples of two classes, but for one pixel of the fifth."""
    folder = ExampleFolder(tmp_path)
    for number in range(6):
        folder.add(number, 4, 4)
        label = np.full((4, 4), number % 2)
        label[3, 2] += 7 * (number == 4)
        folder.label(f"label{number}.png", label)
    folder.write()
    return folder.root


def said(folder, layers):
    text = NET.format(source=folder / "list.txt", root=folder, layers=layers)
    net = Net(parse(text, caffe_pb2.NetParameter()), caffe_pb2.TEST)
    with pytest.raises(NetError) as raised:
        for _ in range(2):  # an epoch
            net.forward()
    return str(raised.value)


@pytest.mark.parametrize("reader", READERS)
def test_the_line_of_the_list_is_named(folder, reader):
    assert f"{folder}/list.txt:5: label 7 is not one of the 2 classes" in said(folder, READERS[reader])


def test_where_examples_are_parted_no_line_is_named(folder):
    parted = """
        layer { name: "some" type: "Slice" bottom: "score" top: "first" top: "score_rest" slice_param { axis: 0 slice_point: 1 } }
        layer { name: "labels" type: "Slice" bottom: "label" top: "one" top: "label_rest" slice_param { axis: 0 slice_point: 1 } }
        layer { name: "first" type: "SoftmaxWithLoss" bottom: "first" bottom: "one" top: "a" }
        layer { name: "rest" type: "SoftmaxWithLoss" bottom: "score_rest" bottom: "label_rest" top: "b" }"""
    assert "(SoftmaxWithLoss): label 7 is not one of the 2 classes" in said(folder, parted)


def test_where_labels_are_given_no_line_is_named():
    shapes = {"score": "shape { dim: 2 dim: 3 }", "label": "shape { dim: 2 }"}
    layers = [
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ {shape} }} }}'
        for name, shape in shapes.items()
    ]
    net = Net(parse("".join([*layers, LOSS]), caffe_pb2.NetParameter()), caffe_pb2.TEST)
    with pytest.raises(NetError, match=r"\(SoftmaxWithLoss\): label 5 is not one of the 3 classes"):
        net.forward(score=np.zeros((2, 3)), label=np.array([0, 5]))


PARTS = """
    layer { name: "turned" type: "Input" top: "turned" input_param { shape { dim: 3 } } }
    layer { name: "other" type: "BatchReindex" bottom: "label" bottom: "turned" top: "other" }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "other" top: "loss" }"""


def test_where_examples_change_places_no_line_is_named(folder):
    assert "(SoftmaxWithLoss): label 7 is not one of the 2 classes" in said(folder, PARTS)


def test_where_the_data_has_not_run_no_line_is_named(folder):
    text = NET.format(source=folder / "list.txt", root=folder, layers=LOSS)
    net = Net(parse(text, caffe_pb2.NetParameter()), caffe_pb2.TEST)
    net.blobs["label"].data[...] = 7
    with pytest.raises(NetError, match=r"\(SoftmaxWithLoss\): label 7 is not one of the 2 classes"):
        net.forward(start="score")
