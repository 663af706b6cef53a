"""Net(share=True, recompute=[names]): the results of these convolutions are computed again as well, and data and gradients use one memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recomputed_nets import (
    LOSS,
    NETS,
    again,
    assert_same,
    chain,
    convolution,
    deconvnet,
    draw,
    iterate,
    norm,
    relu,
    solver_of,
    training_net,
)

from deconvnet.core.net import NetError, planner
from deconvnet.core.net.planner import Life, _groups


def convolutions(name):
    """All of them in one of NETS."""
    return [layer.name for layer in training_net(NETS[name])._layers if layer.type == "Convolution"]


def memory(net):
    """Bytes that data, gradients and what layers hold take, each memory once."""
    blobs = {id(blob): blob for _, *sides in net.connections() for blobs in sides for blob in blobs}.values()
    held = [blob for layer, *_ in net.connections() for blob in layer.buffers()]
    memories = {one for blob in (*blobs, *held) for one in (blob.data_memory, blob.diff_memory)}
    return sum(one._host.nbytes for one in memories if one._host is not None)


@pytest.mark.parametrize("name", NETS)
def test_it_trains_to_the_bit_as_without_iteration_after_iteration(device, name):
    kept = training_net(NETS[name], share=True)
    recomputed = training_net(NETS[name], share=True, recompute=convolutions(name))
    for shape in ((2, 5, 9, 7), (3, 5, 9, 7), (1, 5, 9, 7)):
        for net in (kept, recomputed):
            net.blobs["x"].reshape(*shape)
            draw(net)
        for _ in range(2):
            assert_same(iterate(recomputed), iterate(kept))


@pytest.mark.parametrize("kind", ["BN", "BatchNorm", "running"])
def test_it_takes_less_memory_than_maps_computed_again_alone(kind):
    maps, recomputed = (
        training_net(deconvnet(kind), share=True, recompute=value) for value in (True, ["conv1", "conv2"])
    )
    for net in (maps, recomputed):
        iterate(net)
    assert memory(recomputed) < 0.8 * memory(maps)


@pytest.mark.parametrize(
    "names, expected",
    [
        (["conv1", "conv2"], "norm e, unpool1, norm c, unpool2, conv2, conv1"),
        (["conv1"], "norm e, unpool1, norm c, unpool2, conv1"),
    ],
)
def test_only_what_is_overwritten_is_computed_again_and_once(names, expected):
    """Not the last map, g, nor what feeds pooling."""
    assert again(training_net(NETS["unpooling"], share=True, recompute=names)) == expected.split(", ")


def test_what_a_result_is_made_of_is_computed_before_it():
    """Behind a pool two convolutions follow one another, as in VGG."""
    pool = 'layer { name: "pool" type: "Pooling" bottom: "b" top: "p" top: "mask" pooling_param { kernel_size: 3 pad: 1 } }'
    layers = [*chain("BN")[:6], pool, convolution("conv c", "p", "c"), norm("BN", "c"), relu("c")]
    layers += [convolution("conv d", "c", "d"), norm("BN", "d"), LOSS % "d"]
    plain, net = (training_net(layers, **given) for given in ({}, {"share": True, "recompute": ["conv a", "conv b"]}))
    assert_same(iterate(net), iterate(plain))
    assert again(net) == ["norm c", "conv a", "norm a", "conv b"]


def test_deconvolutions_are_convolutions_too():
    text = convolution("conv b", "a", "b").replace("Convolution", "Deconvolution").replace("conv b", "deconv b")
    layers = [*chain("BN")[:3], text, norm("BN", "b"), relu("b"), *chain("BN")[6:]]
    plain, net = (training_net(layers, **given) for given in ({}, {"share": True, "recompute": ["deconv b"]}))
    assert_same(iterate(net), iterate(plain))
    assert again(net) == ["norm a", "deconv b", "norm b"]


def test_what_layers_hold_between_their_passes_is_not_overwritten_there():
    """Dropout's draws, switches without a top, local responses, a loss's probabilities, values under a layer in place."""
    text = {
        "lrn": 'layer { name: "lrn" type: "LRN" bottom: "a" top: "l" lrn_param { local_size: 3 } }',
        "pool": 'layer { name: "pool" type: "Pooling" bottom: "l" top: "p" pooling_param { kernel_size: 3 stride: 2 } }',
        "drop": 'layer { name: "drop" type: "Dropout" bottom: "b" top: "b" }',
        "elu": 'layer { name: "elu" type: "ELU" bottom: "c" top: "c" elu_param { alpha: 0.5 } }',
        "swish": 'layer { name: "swish" type: "Swish" bottom: "c" top: "c" }',
        "labels": 'layer { name: "labels" type: "ArgMax" bottom: "b" top: "labels" argmax_param { axis: 1 } }',
        "loss": 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "c" bottom: "labels" top: "loss" }',
    }
    layers = [*chain("BN")[:3], text["lrn"], text["pool"], convolution("conv b", "p", "b"), norm("BN", "b"), relu("b")]
    layers += [text["drop"], text["labels"], convolution("conv c", "b", "c"), norm("BatchNorm", "c"), text["elu"]]
    layers += [text["swish"], text["loss"]]
    plain, net = (training_net(layers, **given) for given in ({}, {"share": True, "recompute": ["conv a", "conv b"]}))
    for _ in range(3):
        assert_same(iterate(net), iterate(plain))


def test_a_second_backward_pass_is_refused_until_forward_has_run():
    net = training_net(NETS["BN"], share=True, recompute=["conv a"])
    iterate(net)
    with pytest.raises(NetError, match=r"backward from layer 'loss' a second time.*recompute.*forward"):
        net.backward()
    iterate(net)


def test_a_backward_pass_may_go_on_where_the_last_one_ended():
    whole, parts = (training_net(NETS["unpooling"], share=True, recompute=convolutions("unpooling")) for _ in "ab")
    iterate(whole)
    parts.forward_loss()
    numbers = [parts.layer_names.index(name) for name in ("loss", "norm c", "conv3", "pool1", "relu a", "x")]
    for first, last in (numbers[:2], numbers[2:4]):
        parts._backward(first, last)
    with pytest.raises(NetError, match="backward from layer 'conv3' a second time"):
        parts._backward(*numbers[2:4])
    parts._backward(*numbers[4:])
    for one, other in zip(parts.params.values(), whole.params.values(), strict=True):
        np.testing.assert_array_equal(one[0].diff, other[0].diff)


def test_a_bad_layer_is_found():
    net = training_net(NETS["BatchNorm and Scale"], share=True, recompute=["conv a", "conv b"])
    net.params["scale b"][0].data[0] = np.nan
    net.forward_loss()
    assert net.first_bad_layer() == "scale b"


def test_a_result_with_a_name_of_its_own_is_gone_and_can_be_kept():
    layers = [convolution("conv a", "x", "a"), norm("BN", "a", "n"), relu("n"), convolution("conv b", "n", "b")]
    layers += [norm("BN", "b", "m"), relu("m"), LOSS % "m"]
    plain = training_net(layers)
    net, spared = (training_net(layers, share=True, recompute=["conv a"], keep=keep) for keep in ([], ["a"]))
    wanted = iterate(plain)
    assert_same(iterate(net), wanted)
    assert_same(iterate(spared), wanted)
    with pytest.raises(RuntimeError, match="the data of blob 'a' is gone"):
        _ = net.blobs["a"].data
    np.testing.assert_array_equal(spared.blobs["a"].data, plain.blobs["a"].data)
    assert "conv a" in again(net) and "conv a" not in again(spared)


@pytest.mark.parametrize(
    "name, reason",
    [
        ("conv bb", "no convolution with one top has that name; did you mean 'conv b'?"),
        ("norm a", "no convolution with one top has that name"),
        ("conv b", "what a layer works on in place cannot be made again"),
    ],
)
def test_what_cannot_be_computed_again_is_refused_by_name(name, reason):
    layers = [*chain("BN")[:3], convolution("conv b", "a", "b"), relu("b"), LOSS % "b"]
    with pytest.raises(NetError) as error:
        training_net(layers, share=True, recompute=[name])
    assert f"recompute names '{name}': {reason}" in str(error.value)


@pytest.mark.parametrize("name", ["BN", "BatchNorm and Scale", "unpooling", "residual"])
def test_a_solver_that_names_them_learns_the_same_weights_beside_a_test_net(name):
    """What the test net computes lies in the train net's memory, and of what its layers hold nothing does."""
    solvers = [solver_of(value, NETS[name], NETS[name], share=True) for value in (False, convolutions(name))]
    for solver in solvers:
        solver.step(5)
    assert solvers[1].net._runs_backward_once and not solvers[0].net._runs_backward_once
    for one, other in zip(*(solver.net.params.values() for solver in solvers), strict=True):
        np.testing.assert_array_equal(one[0].data, other[0].data)
    outputs = [solver.test_nets[0].forward()["loss"].copy() for solver in solvers]
    np.testing.assert_array_equal(*outputs)


def test_an_input_of_batch_norm_lives_from_the_convolution_that_writes_it(monkeypatch):
    """To the backward pass of batch norm; if it is computed again, to the last layer that reads it, and again while it is needed."""
    seen, assign = [], planner._assign
    monkeypatch.setattr(planner, "_assign", lambda net, lives: seen.extend(lives) or assign(net, lives))
    net = training_net(NETS["BN"], share=True, recompute=["conv b"])
    steps = {name: net.layer_names.index(name) for name in ("conv a", "norm a", "conv b", "norm b", "conv c", "norm c")}
    end = 2 * len(net._layers) - 1
    lives = {number: next(life.spans for life in seen if blob in life.blobs) for number, blob in net._parted.items()}
    assert lives == {
        steps["norm a"]: [(steps["conv a"], end - steps["norm a"])],
        steps["norm b"]: [(steps["conv b"], steps["norm b"]), (end - steps["conv c"], end - steps["norm b"])],
        steps["norm c"]: [(steps["conv c"], end - steps["norm c"])],
    }


SPANS = st.lists(st.integers(0, 40), min_size=4, max_size=4).map(sorted)
LIVES = st.builds(
    lambda steps, two, count: Life([], "data", [(steps[0], steps[1]), (steps[2], steps[3])][: 1 + two], count),
    *(SPANS, st.booleans(), st.integers(0, 9)),
)


@given(st.lists(LIVES, max_size=30))
@settings(deadline=None)
def test_lives_in_one_memory_never_meet(lives):
    groups = _groups(lives)
    assert sorted(map(id, lives)) == sorted(id(life) for group in groups for life in group)
    for group in groups:
        needed = [step for life in group for step in {s for a, b in life.spans for s in range(a, b + 1)}]
        assert len(needed) == len(set(needed))
