"""BatchReindex and Filter: some items of a batch."""

import numpy as np
import pytest
from arrays import numbers
from gradient_check import check_gradients
from one_layer import OneLayer

from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2, parse
from deconvnet.core.solver import SolverError, inference_need
from deconvnet.core.solver.outputs import mean_outputs

REINDEX, FILTER = 'type: "BatchReindex"', 'type: "Filter"'


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 1, 0, 1, 1], [0], [2, 2], []])
@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 2, 1, 3), (3, 2, 0)])
def test_reindex(device, shape, order):
    x = numbers(*shape)
    case = OneLayer(REINDEX, x, np.array(order))
    np.testing.assert_array_equal(case.forward()[0], x[np.array(order, int)])
    check_gradients(case)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reindex_of_long_items_sums_what_an_item_gave_in_the_order_of_the_top(device, dtype):
    """Longer than what one block takes; the order of a sum shows in its rounding."""
    order = [1, 0, 1, 1]
    case = OneLayer(REINDEX, numbers(2, 9, 1001, dtype=dtype), np.array(order), dtype=dtype)
    (y,) = case.forward()
    np.testing.assert_array_equal(y, case.inputs[0][order])
    dy = numbers(*y.shape, seed=1, dtype=dtype)
    np.testing.assert_array_equal(case.backward(dy)[0], [dy[1], dy[0] + dy[2] + dy[3]])


def test_reindex_of_one_item(device):
    case = OneLayer(REINDEX, numbers(1, 3), np.array([0, 0]))
    np.testing.assert_array_equal(case.forward()[0], np.repeat(case.inputs[0], 2, axis=0))
    check_gradients(case)


@pytest.mark.parametrize("size", [4, 0])
@pytest.mark.parametrize("number", [-1, 3, np.nan])
def test_reindex_names_a_number_that_is_no_item(device, number, size):
    with pytest.raises(
        ValueError, match=f"{number:g} is not one of the 3 numbers 0 to 2: the second bottom is to name"
    ):
        OneLayer(REINDEX, numbers(3, size), np.array([0, number, 1])).forward()


@pytest.mark.parametrize("x, order", [((3, 2), (3, 1)), ((), (3,)), ((3, 2), ())])
def test_reindex_needs_items_and_one_axis_of_numbers(x, order):
    with pytest.raises(ValueError, match=r"items \(N, ...\) and their numbers \(M,\) are expected"):
        OneLayer(REINDEX, np.zeros(x), np.zeros(order))


@pytest.mark.parametrize("selector", [[1, 0, 1, -0.5], [0, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, np.nan, 0, 0]])
@pytest.mark.parametrize("axes", [(), (1,), (1, 1, 1)])
def test_filter(device, selector, axes):
    selector = np.array(selector)
    x, labels, chosen = numbers(4, 2, 3), numbers(4, seed=1), selector != 0
    case = OneLayer(FILTER, x, labels, selector.reshape(4, *axes), tops=2)
    tops = case.forward()
    np.testing.assert_array_equal(tops[0], x[chosen])
    np.testing.assert_array_equal(tops[1], labels[chosen])
    check_gradients(case)
    gradients = case.backward(*[np.ones(y.shape) for y in tops])
    for gradient in gradients[:2]:
        np.testing.assert_array_equal(gradient[chosen], 1)
        np.testing.assert_array_equal(gradient[~chosen], 0)


@pytest.mark.parametrize("selector", [[1], [0]])
def test_filter_of_one_item(device, selector):
    case = OneLayer(FILTER, numbers(1, 3), np.array(selector))
    assert case.forward()[0].shape == (sum(selector), 3)
    check_gradients(case)


def test_filter_has_the_shapes_of_all_items_until_forward(device):
    case = OneLayer(FILTER, numbers(4, 2), np.array([0, 1, 0, 0]))
    assert case.top[0].shape == (4, 2)
    case.forward()
    assert case.top[0].shape == (1, 2)


@pytest.mark.parametrize(
    "bottoms, tops, said",
    [
        ([(3, 2), (3,)], 2, "makes a top for each bottom but the last, the selector: 1 for 2 bottoms, not 2"),
        ([(3, 2), (3,), (3,)], 1, "the selector: 2 for 3 bottoms, not 1"),
        (
            [(3, 2), (3, 2)],
            1,
            r"the selector, has the shape \(3, 2\): one value for each item is expected, \(N, 1, ...\)",
        ),
        ([(3, 2), ()], 1, r"the selector, has the shape \(\)"),
        (
            [(3, 2), (4,)],
            1,
            r"a bottom of shape \(3, 2\) and a selector of \(4,\): they must have the same number of items",
        ),
        ([(), (4,)], 1, r"a bottom of shape \(\) and a selector of \(4,\)"),
    ],
)
def test_filter_says_what_does_not_fit(bottoms, tops, said):
    with pytest.raises(ValueError, match=said):
        OneLayer(FILTER, *[np.zeros(shape) for shape in bottoms], tops=tops)


# what a batch of the selected takes: layers with parameters, a layer in place, a split, two losses
NET = """
layer { name: "in" type: "Input" top: "x" top: "label" top: "selector" input_param {
  shape { dim: 5 dim: 3 dim: 4 dim: 4 } shape { dim: 5 } shape { dim: 5 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "filter" type: "Filter" bottom: "conv" bottom: "label" bottom: "selector" top: "kept" top: "kept_label" }
layer { name: "norm" type: "BatchNorm" bottom: "kept" top: "kept" }
layer { name: "relu" type: "ReLU" bottom: "kept" top: "kept" }
layer { name: "pool" type: "Pooling" bottom: "kept" top: "pool" pooling_param { kernel_size: 2 } }
layer { name: "score" type: "InnerProduct" bottom: "pool" top: "score" inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "kept_label" top: "loss" }
layer { name: "hinge" type: "HingeLoss" bottom: "score" bottom: "kept_label" top: "hinge" }
"""
SELECTORS = [[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]]


def read(text):
    return parse(text, caffe_pb2.NetParameter())


def passes(phase=caffe_pb2.TRAIN, **options):
    """(losses, parameters, their gradients) of a net after a forward and backward pass for each selector."""
    net = Net(read(NET), phase, seed=1, dtype=np.float64, **options)
    losses = []
    for number, selector in enumerate(SELECTORS):
        net.blobs["x"].data[...] = numbers(5, 3, 4, 4, seed=number)
        net.blobs["label"].data[...], net.blobs["selector"].data[...] = [0, 1, 2, 0, 1], selector
        losses.append(net.forward_loss())
        if phase == caffe_pb2.TRAIN:
            net.backward()
    blobs = [blob for blobs in net.params.values() for blob in blobs]
    return losses, [np.array(blob.data) for blob in blobs], [np.array(blob.diff) for blob in blobs]


@pytest.mark.parametrize("phase", [caffe_pb2.TRAIN, caffe_pb2.TEST])
def test_a_net_that_shares_memory_computes_the_same_however_many_are_selected(device, phase):
    plain, shared = passes(phase), passes(phase, share=True)
    assert shared[0] == plain[0]
    for ours, theirs in zip(shared[1] + shared[2], plain[1] + plain[2], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_batch_of_which_nothing_is_selected_trains_nothing(device):
    net = Net(read(NET), caffe_pb2.TRAIN, seed=1)
    net.blobs["selector"].data[...] = 0
    before = [np.array(blob.data) for blobs in net.params.values() for blob in blobs]
    assert net.forward_loss() == 0
    net.backward()
    after = [blob for blobs in net.params.values() for blob in blobs]
    for blob, values in zip(after, before, strict=True):
        np.testing.assert_array_equal(blob.data, values)
        np.testing.assert_array_equal(blob.diff, 0)
    np.testing.assert_array_equal(net.blobs["conv"].diff, 0)


def test_the_selection_gives_the_loss_of_a_net_fed_with_the_selected(device):
    whole, chosen = Net(read(NET), caffe_pb2.TRAIN, seed=1), np.array(SELECTORS[0]) != 0
    without = read(NET)
    del without.layer[2]
    without.layer[1].top[0] = "kept"
    for layer in without.layer:
        for number, name in enumerate(layer.bottom):
            layer.bottom[number] = name.replace("kept_label", "label")
    part = Net(without, caffe_pb2.TRAIN, seed=1)
    x, label = numbers(5, 3, 4, 4, dtype=np.float32), np.array([0, 1, 2, 0, 1], np.float32)
    whole.forward(x=x, label=label, selector=chosen)
    part.forward(x=x[chosen], label=label[chosen], selector=chosen)
    np.testing.assert_allclose(whole.blobs["loss"].data, part.blobs["loss"].data, rtol=1e-6)


def test_a_predicted_memory_is_that_of_all_items(tmp_path):
    model = tmp_path / "net.prototxt"
    model.write_text(
        """layer { name: "in" type: "Input" top: "x" top: "s" input_param { shape { dim: 64 dim: 500 } shape { dim: 64 } } }
        layer { name: "f" type: "Filter" bottom: "x" bottom: "s" top: "y" }"""
    )
    assert inference_need(str(model)).data >= 4 * 2 * 64 * 500


def test_a_test_pass_over_outputs_of_several_sizes_is_refused_in_one_line(device):
    text = """layer { name: "in" type: "DummyData" top: "x" top: "s" dummy_data_param { shape { dim: 8 } data_filler { }
      data_filler { type: "uniform" min: -1 } } }
    layer { name: "bit" type: "Threshold" bottom: "s" top: "bit" }
    layer { name: "f" type: "Filter" bottom: "x" bottom: "bit" top: "y" }"""
    with pytest.raises(
        SolverError, match=r"outputs \(y\) have \d values in one batch and \d in another.* a Silence layer"
    ):
        mean_outputs(Net(read(text), caffe_pb2.TEST, seed=1), 5)


def test_a_graph_of_a_net_with_a_filter_is_refused():
    text = NET[: NET.index('layer { name: "norm"')]
    with pytest.raises(NetError, match="layer 'filter'.*make the net without cuda_graph"):
        Net(read(text), caffe_pb2.TEST, cuda_graph=True)
