"""What pycaffe's Net has beside forward and backward."""

import copy
from pathlib import Path

import numpy as np
import pytest

from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2, parse

NET = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 weight_filler { type: "gaussian" } } }
layer { name: "score" type: "TanH" bottom: "ip" top: "score" }
"""
DATA = np.random.default_rng(0).random((10, 3), np.float32)
SLOPES = np.random.default_rng(1).random((10, 2), np.float32)


def build(text=NET, seed=1, **options):
    return Net(parse(text, caffe_pb2.NetParameter()), caffe_pb2.TEST, seed=seed, **options)


@pytest.mark.parametrize("count", [1, 4, 10])
def test_forward_all_takes_any_number_of_items(device, count):
    net = build()
    results = net.forward_all(blobs=["ip"], data=DATA[:count])
    weights, bias = (blob.data for blob in net.params["ip"])
    np.testing.assert_allclose(results["ip"], DATA[:count] @ weights.T + bias, rtol=1e-5)
    np.testing.assert_allclose(results["score"], np.tanh(results["ip"]), rtol=1e-5)
    assert net.blobs["data"].shape == (4, 3)


def test_forward_backward_all_gives_gradients_as_well(device):
    net = build()
    results, gradients = net.forward_backward_all(diffs=["ip"], data=DATA, score=SLOPES)
    np.testing.assert_allclose(gradients["ip"], SLOPES * (1 - results["score"] ** 2), rtol=1e-4)
    np.testing.assert_allclose(gradients["data"], gradients["ip"] @ net.params["ip"][0].data, rtol=1e-4)
    np.testing.assert_allclose(net.params["ip"][0].diff, gradients["ip"].T @ DATA, rtol=1e-4)


def test_a_loss_comes_once_a_batch(device):
    loss = 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 dim: 2 } } } ' + NET
    net = build(loss + 'layer { name: "loss" type: "EuclideanLoss" bottom: "score" bottom: "label" top: "loss" }')
    results, gradients = net.forward_backward_all(data=DATA, label=SLOPES)
    assert results["loss"].shape == (3,) and gradients["data"].shape == (10, 3)


def test_wrong_arrays_are_refused():
    net = build()
    with pytest.raises(NetError, match=r"must be equally long: \{'data': 10, 'score': 9\}"):
        net.forward_backward_all(data=DATA, score=SLOPES[:9])
    with pytest.raises(NetError, match="'ip' is neither an input nor an output"):
        net.forward_backward_all(data=DATA, ip=SLOPES)
    with pytest.raises(NetError, match="needs an array for each input: data"):
        net.forward_all()
    with pytest.raises(NetError, match="the net has no inputs"):
        build('layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 1 } } }').forward_all(
            d=DATA
        )


@pytest.mark.parametrize("param, shape", [("", r"\(\)"), ("input_param { shape { dim: 0 dim: 3 } }", r"\(0, 3\)")])
def test_forward_all_needs_an_input_with_a_batch(param, shape):
    net = build(f'layer {{ name: "data" type: "Input" top: "data" {param} }}')
    with pytest.raises(NetError, match=f"the input 'data' has the shape {shape}, which says no batch"):
        net.forward_all(data=DATA)


def test_share_with_uses_the_other_nets_parameters(device):
    first, second = build(), build(seed=2)
    second.share_with(first)
    first.params["ip"][0].data[...] = 7
    assert (second.params["ip"][0].data == 7).all()
    with pytest.raises(NetError, match=r"layer 'ip' .*\(3, 3\).* here and .*\(2, 3\).* in the other net"):
        build(NET.replace("num_output: 2", "num_output: 3")).share_with(first)
    with pytest.raises(NetError, match=r"layer 'ip' .*\(3, 2\).* here and .*\(2, 3\).* in the other net"):
        build(NET.replace("num_output: 2", "num_output: 2 transpose: true")).share_with(first)


def test_the_names_of_layers_and_blobs_are_lists():
    net = build()
    assert (net._layer_names, net._blob_names) == (["data", "ip", "score"], ["data", "ip", "score"])


TRAINED = """
layer { name: "data" type: "Input" top: "data" top: "label" input_param { shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 weight_filler { type: "gaussian" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def test_hooks_are_called_around_each_layer_with_its_number(device):
    net, calls = build(TRAINED), []
    for when in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(net, when)(lambda number, when=when: calls.append((when, number)))
    net.force_backward()
    net.forward()
    net.backward()
    forward = [(when, number) for number in range(3) for when in ("before_forward", "after_forward")]
    backward = [(when, number) for number in (2, 1, 0) for when in ("before_backward", "after_backward")]
    assert calls == forward + backward


def test_hooks_of_a_part_of_the_net_are_those_of_its_layers():
    net, calls = build(), []
    net.after_forward(calls.append)
    net.forward(start="ip", end="ip")
    assert calls == [1]


def test_a_hook_may_change_what_the_next_layer_reads(device):
    """As one does to look what the net makes of a blob that is changed in its midst."""
    net = build()
    net.after_forward(lambda number: number == 1 and net.blobs["ip"].data.fill(0.5))
    np.testing.assert_allclose(net.forward(data=DATA[:4])["score"], np.full((4, 2), np.tanh(0.5)), rtol=1e-6)


def test_hooks_of_a_net_that_shares_memory_are_refused():
    net = Net(parse(NET, caffe_pb2.NetParameter()), caffe_pb2.TEST, share=True)
    with pytest.raises(NetError, match="before_forward on a net made with share=True: make it without share"):
        net.before_forward(print)


def test_blobs_and_layers_that_are_not_there_are_named_before_anything_runs():
    net, ran = build(), []
    net.before_forward(ran.append)
    with pytest.raises(NetError, match="net: there is no blob 'scor'; did you mean 'score'"):
        net.forward(blobs=["scor"])
    with pytest.raises(NetError, match="net: there is no blob 'scor'; did you mean 'score'"):
        net.backward(diffs=["scor"])
    with pytest.raises(NetError, match="net: there is no layer 'ip1'; did you mean 'ip'"):
        net.forward(end="ip1")
    assert not ran


def test_the_loss_weights_of_blobs_are_told():
    weighted = TRAINED.replace('top: "loss"', 'top: "loss" loss_weight: 0.5')
    assert build(weighted).blob_loss_weights == {"data": 0, "label": 0, "ip": 0, "loss": 0.5}
    assert list(build(weighted).blob_loss_weights) == list(build(weighted).blobs)


def test_layers_show_their_type_and_their_parameters_as_numpy_arrays(device):
    net = build()
    layer = net.layers[1]
    assert (layer.type, layer is net.layer_dict["ip"]) == ("InnerProduct", True)
    assert (layer.blobs[0].num, layer.blobs[0].channels) == (2, 3) and layer.blobs is net.params["ip"]
    layer.blobs[0].data[...] = np.eye(2, 3)
    np.testing.assert_allclose(net.forward(data=DATA)["score"], np.tanh(DATA[:, :2]), rtol=1e-6)


def test_a_parameter_deleted_from_a_layer_is_not_saved_and_one_added_is(tmp_path):
    net = build()
    del net.params["ip"][1]
    net.params["ip"].add_blob(3, 2).data[...] = 7
    net.save(tmp_path / "changed.caffemodel")
    saved = caffe_pb2.NetParameter.FromString((tmp_path / "changed.caffemodel").read_bytes())
    shapes = {layer.name: [tuple(blob.shape.dim) for blob in layer.blobs] for layer in saved.layer}
    assert shapes["ip"] == [(2, 3), (3, 2)] and set(saved.layer[1].blobs[1].data) == {7}


def test_a_parameter_put_in_the_place_of_another_is_shared_and_saved(tmp_path, device):
    net, other = build(), build()
    other.params["ip"][0].data[...] = np.eye(2, 3)
    net.params["ip"][0] = other.params["ip"][0]
    net.params["ip"][1:] = other.params["ip"][1:]
    np.testing.assert_allclose(net.forward(data=DATA)["score"], np.tanh(DATA[:, :2]), rtol=1e-6)
    net.params["ip"][0].data[...] *= 2
    np.testing.assert_array_equal(other.params["ip"][0].data, 2 * np.eye(2, 3))
    net.save(tmp_path / "changed.caffemodel")
    assert build(weights=tmp_path / "changed.caffemodel").params["ip"][0].data.tolist() == [[2, 0, 0], [0, 2, 0]]


@pytest.mark.parametrize(
    "place, value, error, said",
    [
        (0, lambda net: np.ones((2, 3)), TypeError, r"a parameter is a Blob, not ndarray: write values into it, .data\["),
        (1, lambda net: net.params["ip"][0], ValueError, r"\(2, 3\) of float32 cannot take the place of one \(2,\) of float32"),
        (5, lambda net: net.params["ip"][0], IndexError, "out of range"),
        (0, lambda net: build(dtype=np.float64).params["ip"][0], ValueError, "of float64 cannot take the place"),
        (slice(0, 2), lambda net: build().params["ip"][:1], ValueError, "1 parameters cannot take the place of 2"),
        (slice(0, 2), lambda net: build().params["ip"][::-1], ValueError, "cannot take the place"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_parameter_is_refused(place, value, error, said):
    net = build()
    before = net.params["ip"][:]
    with pytest.raises(error, match=said):
        net.params["ip"][place] = value(net)
    assert net.params["ip"][:] == before


def test_parameters_are_told_apart_by_what_they_are():
    net, other = build(), build()
    weights, bias = net.params["ip"]
    assert weights in net.params["ip"] and other.params["ip"][0] not in net.params["ip"] and weights != "weights"
    assert (net.params["ip"].index(bias), len({*net.params["ip"], *net.params["ip"]})) == (1, 2)
    assert repr(net.params["ip"]) == "[Blob(2, 3), Blob(2,)]"


def test_private_names_that_scripts_use_go_by_number():
    net = build()
    assert [net._bottom_ids(number) for number in range(3)] == [[], [0], [1]]
    assert [net._top_ids(number) for number in range(3)] == [[0], [1], [2]]
    assert (net._inputs, net._outputs) == ([0], [2]) and (net._input_list, net._output_list) == (["data"], ["score"])
    assert [blob is net.blobs[name] for name, blob in zip(net._blob_names, net._blobs, strict=True)] == [True] * 3
    assert net._blob_loss_weights == [0, 0, 0]


def test_layers_run_forward_and_backward_by_number():
    net = build()
    net.blobs["data"].data[...] = DATA[:4]
    whole = net.forward()["score"].copy()
    net.blobs["score"].data[...] = 0
    assert net._forward(0, 1) == 0 and not net.blobs["score"].data.any()
    net._forward(2, 2)
    np.testing.assert_array_equal(net.blobs["score"].data, whole)
    net.blobs["score"].diff[...] = SLOPES[:4]
    net._backward(2, 2)
    np.testing.assert_allclose(net.blobs["ip"].diff, SLOPES[:4] * (1 - whole**2), rtol=1e-5)
    assert not net.blobs["data"].diff.any()


def test_numbers_tell_layers_of_one_name_apart():
    power = 'layer {{ name: "{}" type: "Power" bottom: "{}" top: "{}" power_param {{ scale: {} }} }}'
    chain = [("x", "data", "a", 2), ("x", "a", "b", 3), ("y", "b", "c", 5)]
    net = build("\n".join([*NET.splitlines()[1:3], *(power.format(*each) for each in chain)]))
    net.blobs["c"].diff[...] = 1
    net._backward(3, 3)
    net._backward(2, 2)
    assert (net.blobs["a"].diff == 15).all() and not net.blobs["data"].diff.any()


def test_a_layer_that_python_sees_is_set_and_copied():
    net = build()
    net.layers[1].marked = 7
    assert net.layers_by_name()["ip"].marked == 7 and copy.copy(net.layers[1]).type == "InnerProduct"


@pytest.mark.parametrize(
    "arguments, said",
    [(("w.caffemodel",), "no phase"), (("w.caffemodel", caffe_pb2.TEST, None, "v.caffemodel"), "two weights")],
)
def test_a_net_without_a_phase_or_with_weights_twice_is_refused(arguments, said):
    with pytest.raises(TypeError, match=said):
        Net(parse(NET, caffe_pb2.NetParameter()), *arguments)


STAGED = NET.replace('type: "TanH"', 'type: "TanH" include { stage: "deploy" min_level: 2 }')


@pytest.mark.parametrize("form", ["keywords", "order", "weights second", "weights third", "bytes"])
def test_a_net_is_made_in_every_form_that_pycaffe_takes(tmp_path, form):
    model, weights = str(tmp_path / "net.prototxt"), str(tmp_path / "w.caffemodel")
    Path(model).write_text(STAGED)
    trained = Net(model, caffe_pb2.TEST, seed=3)
    trained.save(weights)
    net = {
        "keywords": lambda: Net(network_file=model, phase=caffe_pb2.TEST, level=2, stages=["deploy"], weights=weights),
        "order": lambda: Net(model, caffe_pb2.TEST, 2, ["deploy"], weights),
        "weights second": lambda: Net(model, weights, caffe_pb2.TEST),
        "weights third": lambda: Net(model, caffe_pb2.TEST, weights),
        "bytes": lambda: Net(model.encode(), weights.encode(), caffe_pb2.TEST),
    }[form]()
    np.testing.assert_array_equal(net.params["ip"][0].data, trained.params["ip"][0].data)
    assert net.outputs == (["score"] if form in ("keywords", "order") else ["ip"])
