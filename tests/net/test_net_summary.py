"""What a net is made of, from its shapes alone, and nets whose inputs take chosen shapes."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from deconvnet.core.net import Net, NetError, summarize, totals
from deconvnet.core.proto import caffe_pb2, parse

ROOT = Path(__file__).resolve().parents[2]
TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 dim: 5 dim: 7 } } }'


def net(*layers, phase=TEST, **options):
    return Net(parse(INPUT + "".join(layers), caffe_pb2.NetParameter()), phase, fill=False, **options)


def only(text, top="y"):
    """The summary of one layer over 2x4x5x7 numbers."""
    return summarize(net(f'layer {{ name: "layer" bottom: "data" top: "{top}" {text} }}'))[1]


def test_deconvnet_has_251_8_million_parameters_and_32_75_gmac():
    sums = totals(summarize(Net(ROOT / "prototxt/deconvnet_deploy.prototxt", TEST, fill=False)))
    assert sums.parameters == 251_805_653
    assert sums.multiply_adds == 32_745_979_904


def test_a_net_built_for_its_shapes_takes_no_memory_for_weights_and_blobs():
    tracemalloc.start()
    try:
        summarize(Net(ROOT / "prototxt/deconvnet_deploy.prototxt", TEST, fill=False))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize(
    "text, parameters, multiply_adds",
    [
        ('type: "Convolution" convolution_param { num_output: 6 kernel_size: 3 }', 222, 2 * 3 * 5 * 6 * 4 * 9),
        (
            'type: "Convolution" convolution_param { num_output: 6 kernel_size: 3 group: 2 bias_term: false }',
            108,
            2 * 3 * 5 * 6 * 2 * 9,
        ),
        (
            'type: "Deconvolution" convolution_param { num_output: 6 kernel_size: 4 stride: 2 }',
            390,
            2 * 35 * 4 * 6 * 16,
        ),
        ('type: "InnerProduct" inner_product_param { num_output: 3 }', 423, 2 * 140 * 3),
        ('type: "InnerProduct" inner_product_param { num_output: 3 axis: 3 transpose: true }', 24, 2 * 20 * 7 * 3),
        ('type: "BN"', 8, 0),
        ('type: "ReLU"', 0, 0),
    ],
)
def test_parameters_and_multiply_adds_of_a_layer(text, parameters, multiply_adds):
    row = only(text)
    assert (row.parameters, row.multiply_adds) == (parameters, multiply_adds)


def test_a_layer_in_place_takes_no_memory_and_one_with_a_top_of_its_own_that_of_the_top():
    assert only('type: "ReLU"', top="data").memory == 0
    assert only('type: "ReLU"').memory == 4 * 2 * 4 * 5 * 7


def test_splits_take_no_memory():
    rows = summarize(
        net(
            'layer { name: "a" type: "ReLU" bottom: "data" top: "a" }',
            'layer { name: "b" type: "ReLU" bottom: "data" top: "b" }',
        )
    )
    assert {row.type: row.memory for row in rows}["Split"] == 0
    assert totals(rows).blob_memory == 3 * 4 * 280


def test_shared_parameters_are_counted_once():
    layer = 'layer {{ name: "{0}" type: "InnerProduct" bottom: "data" top: "{0}" {1} inner_product_param {{ num_output: 3 }} }}'
    named = 'param { name: "w" } param { name: "b" }'
    rows = summarize(net(layer.format("one", named), layer.format("two", named)))
    assert [row.parameters for row in rows if row.type == "InnerProduct"] == [423, 0]


def test_training_needs_gradients_of_everything_and_a_momentum_for_the_parameters():
    sums = totals(summarize(net('layer { name: "b" type: "BN" bottom: "data" top: "b" }')))
    assert sums.inference_memory == 4 * (8 + 2 * 280)
    assert sums.training_memory == 4 * (3 * 8 + 2 * 2 * 280)


def test_an_input_takes_another_shape():
    small = net('layer { name: "r" type: "ReLU" bottom: "data" top: "r" }', input_shapes={"data": (1, 2)})
    assert small.blobs["r"].shape == (1, 2)


def test_inputs_replace_data_whose_files_are_not_there():
    path = ROOT / "prototxt/demo/stage2_train_val.prototxt"
    shapes = {"data": (2, 3, 32, 32), "label": (2, 1, 32, 32)}
    trained = Net(path, TRAIN, seed=1, input_shapes=shapes)
    assert trained.inputs == ["data", "label"]
    trained.blobs["data"].data[...] = np.random.default_rng(0).normal(size=shapes["data"])
    assert trained.forward_loss() > 0
    trained.backward()


@pytest.mark.parametrize(
    "shapes, said",
    [
        ({"dta": (1, 1)}, "net.prototxt: 'dta' is no input or data of the net: those are data, label, size"),
        ({"data": (1, 1)}, r"layer 'd' \(ImageSegData\) makes data, label, size: give a shape for label, size too"),
        ({"r": (1, 1)}, "'r' is no input or data of the net"),
    ],
)
def test_shapes_that_fit_no_input_are_an_error(tmp_path, shapes, said):
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "d" type: "ImageSegData" top: "data" top: "label" top: "size" }'
        'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }'
    )
    with pytest.raises(NetError, match=said):
        Net(tmp_path / "net.prototxt", TEST, input_shapes=shapes)
