"""A forward pass as one launch: what it repeats, when it records again, and which nets cannot."""

import warnings

import numpy as np
import pytest

from deconvnet.core import kernels
from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2

MODEL = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "bn" type: "BN" bottom: "conv" top: "conv" bn_param { bn_mode: INFERENCE } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" top: "switches" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "middle" type: "Deconvolution" bottom: "pool" top: "middle"
  convolution_param { num_output: 16 kernel_size: 3 pad: 1 engine: DEFAULT weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "drop" type: "Dropout" bottom: "middle" top: "middle" }
layer { name: "unpool" type: "Unpooling" bottom: "middle" bottom: "switches" top: "unpool"
  unpooling_param { unpool: MAX kernel_size: 2 stride: 2 unpool_size: 8 } }
layer { name: "sum" type: "Eltwise" bottom: "unpool" bottom: "conv" top: "sum" }
layer { name: "score" type: "Convolution" bottom: "sum" top: "score"
  convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }
"""


def images(seed, batch=2, size=8):
    return np.random.default_rng(seed).normal(size=(batch, 3, size, size)).astype(np.float32)


@pytest.fixture
def nets(gpu, tmp_path):
    """The net with a graph, in whose mode "gpu" the test goes on, and one that the CPU computes without."""
    path = tmp_path / "net.prototxt"
    path.write_text(MODEL)
    pair = [Net(path, caffe_pb2.TEST, seed=1, share=True, cuda_graph=graph) for graph in (True, False)]
    kernels.set_mode("gpu")
    return pair


def on_the_cpu(net, x):
    kernels.set_mode("cpu")
    result = net.forward(data=x)["prob"].copy()
    kernels.set_mode("gpu")
    return result


def works_played(monkeypatch):
    """A list that grows by one at each launch of a graph."""
    played, plain = [], kernels.Graph.play
    monkeypatch.setattr(kernels.Graph, "play", lambda graph: (played.append(graph), plain(graph)))
    return played


def assert_same(nets, x):
    np.testing.assert_allclose(nets[0].forward(data=x)["prob"], on_the_cpu(nets[1], x), rtol=1e-4, atol=1e-6)


def test_from_the_second_pass_on_a_graph_is_played_with_the_inputs_of_each(nets, monkeypatch):
    played = works_played(monkeypatch)
    for seed in range(4):
        assert_same(nets, images(seed))
    assert len(played) == 3 and len(set(map(id, played))) == 1


def test_weights_that_are_changed_between_passes_count(nets):
    for seed in range(3):
        assert_same(nets, images(0))
        for net in nets:
            net.params["conv"][0].data[...] *= 1 + seed


def test_a_blob_that_was_read_between_passes_is_computed_again(nets, monkeypatch):
    played = works_played(monkeypatch)
    for seed in range(4):
        assert_same(nets, images(seed))
        nets[0].blobs["prob"].data[...] = -1
    assert len(played) == 3


def test_another_shape_is_run_as_ever_and_recorded_when_it_comes_again(nets, monkeypatch):
    played = works_played(monkeypatch)
    for number, batch in enumerate((2, 2, 5, 5, 5, 2, 2, 1)):
        assert_same(nets, images(number, batch))
    assert len(played) == 1 + 2 + 1 and len(set(map(id, played))) == 3


def test_a_part_of_the_net_is_run_layer_by_layer(nets, monkeypatch):
    played = works_played(monkeypatch)
    for _ in range(3):
        nets[0].forward(data=images(0), end="pool")
    assert not played
    assert_same(nets, images(1))


def test_lost_switches_are_warned_of_at_each_pass(gpu, tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "in" type: "Input" top: "x" top: "at" input_param { shape { dim: 1 dim: 1 dim: 1 dim: 2 } } }'
        'layer { name: "up" type: "Unpooling" bottom: "x" bottom: "at" top: "y"'
        "  unpooling_param { unpool: MAX kernel_size: 1 unpool_size: 2 } }"
    )
    net = Net(path, caffe_pb2.TEST, cuda_graph=True)
    kernels.set_mode("gpu")
    for place in (9, 9, 9):
        with pytest.warns(UserWarning, match="1 switches lie outside a plane of 2 x 2"):
            net.forward(x=np.ones((1, 1, 1, 2)), at=np.array([[[[0, place]]]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(
            net.forward(x=np.ones((1, 1, 1, 2)), at=np.array([[[[0, 3]]]]))["y"], [[[[1, 0], [0, 1]]]]
        )


@pytest.mark.parametrize(
    "phase, layer, said",
    [
        (caffe_pb2.TRAIN, 'name: "relu" type: "ReLU" bottom: "x" top: "y"', "cuda_graph is for nets in TEST"),
        (
            caffe_pb2.TEST,
            'name: "mean" type: "Reduction" bottom: "x" top: "y" loss_weight: 1',
            r"layer 'mean' \(Reduction\) does more in a forward pass than launch",
        ),
    ],
)
def test_a_net_that_cannot_be_repeated_is_refused_by_the_name_of_its_layer(tmp_path, phase, layer, said):
    path = tmp_path / "net.prototxt"
    path.write_text(
        f'layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ dim: 2 }} }} }} layer {{ {layer} }}'
    )
    with pytest.raises(NetError, match=said):
        Net(path, phase, cuda_graph=True)


def test_on_a_cpu_nothing_is_recorded(tmp_path, monkeypatch):
    path = tmp_path / "net.prototxt"
    path.write_text(MODEL)
    net, played = Net(path, caffe_pb2.TEST, seed=1, cuda_graph=True), works_played(monkeypatch)
    first = net.forward(data=images(0))["prob"].copy()
    np.testing.assert_array_equal(net.forward(data=images(0))["prob"], first)
    assert not played


def test_parameters_that_take_the_place_of_others_are_seen(gpu, tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(MODEL)
    nets = [Net(path, caffe_pb2.TEST, seed=seed, cuda_graph=seed == 1) for seed in (1, 2)]
    kernels.set_mode("gpu")
    for seed in range(3):
        nets[0].forward(data=images(seed))
    for name, parameters in nets[1].params.items():
        nets[0].params[name][:] = parameters[:]
    for seed in range(3):
        found, expected = (net.forward(data=images(seed))["prob"].copy() for net in nets)
        np.testing.assert_array_equal(found, expected)


def test_with_a_hook_no_pass_is_a_graph(gpu, tmp_path, monkeypatch):
    (tmp_path / "net.prototxt").write_text(MODEL)
    net, calls = Net(tmp_path / "net.prototxt", caffe_pb2.TEST, seed=1, cuda_graph=True), []
    kernels.set_mode("gpu")
    for seed in range(3):
        net.forward(data=images(seed))
    played = works_played(monkeypatch)
    net.after_forward(calls.append)
    net.forward(data=images(4))
    assert calls == list(range(len(net.layers))) and not played
