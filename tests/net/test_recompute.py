"""Net(share=True, recompute=True): what batch norm and unpooling wrote is computed again in the backward pass, and nothing else changes."""

import warnings

import numpy as np
import pytest
from recomputed_nets import (
    LOSS,
    NETS,
    again,
    assert_same,
    chain,
    convolution,
    draw,
    iterate,
    memory,
    norm,
    relu,
    solver_of,
    training_net,
)

from deconvnet.core.net import NetError, time_layers


@pytest.mark.parametrize("name", NETS)
def test_it_trains_to_the_bit_as_without_iteration_after_iteration(device, name):
    kept, recomputed = training_net(NETS[name], share=True), training_net(NETS[name], share=True, recompute=True)
    for shape in ((2, 5, 9, 7), (3, 5, 9, 7)):
        for net in (kept, recomputed):
            net.blobs["x"].reshape(*shape)
            draw(net)
        for _ in range(2):
            assert_same(iterate(recomputed), iterate(kept))


@pytest.mark.parametrize(
    "name, expected",
    [
        ("BN", "norm c, norm b, norm a"),
        ("unpooling", "norm g, norm e, unpool1, norm c, unpool2"),
        ("residual", "norm a2, norm a1"),
        ("dense", "norm n3, norm n2, norm n1"),
    ],
)
def test_only_what_the_backward_pass_reads_is_computed_again_and_once(name, expected):
    """Not what feeds pooling or a sum; and what an unpooled map is made of before the map."""
    assert again(training_net(NETS[name], share=True, recompute=True)) == expected.split(", ")


@pytest.mark.parametrize("name, share", [("BN", 0.85), ("unpooling", 0.7), ("residual", 0.9), ("dense", 0.9)])
def test_it_takes_less_memory(name, share):
    kept, recomputed = training_net(NETS[name], share=True), training_net(NETS[name], share=True, recompute=True)
    for net in (kept, recomputed):
        iterate(net)
    assert memory(recomputed) < share * memory(kept)


def test_one_map_alone_shares_its_memory_with_nobody_and_is_kept():
    layers = [convolution("conv", "x", "a"), norm("BN", "a"), relu("a"), LOSS % "a"]
    net = training_net(layers, share=True, recompute=True)
    assert again(net) == [] and net.blobs["a"].data.any()


def test_what_no_backward_pass_needs_is_gone_all_the_same():
    layers = []
    for x, y, p in (("x", "a", "p"), ("p", "b", "q")):
        pool = f'layer {{ name: "pool {p}" type: "Pooling" bottom: "{y}" top: "{p}" pooling_param {{ kernel_size: 3 pad: 1 }} }}'
        layers += [convolution(f"conv {y}", x, y), norm("BN", y), pool]
    plain, net = training_net([*layers, LOSS % "q"]), training_net([*layers, LOSS % "q"], share=True, recompute=True)
    assert_same(iterate(net), iterate(plain))
    assert again(net) == []
    for name in "ab":
        with pytest.raises(RuntimeError, match=f"the data of blob '{name}' is gone"):
            _ = net.blobs[name].data


def test_without_it_a_training_net_keeps_its_data():
    net = training_net(NETS["BN"], share=True)
    assert again(net) == [] and net.blobs["a"].data.any()


def test_data_that_is_gone_says_so_and_can_be_kept():
    net = training_net(NETS["BN"], share=True, recompute=True)
    iterate(net)
    with pytest.raises(RuntimeError, match=r"the data of blob 'a' is gone.*keep=\['a'\]"):
        _ = net.blobs["a"].data
    plain, spared = training_net(NETS["BN"]), training_net(NETS["BN"], share=True, recompute=True, keep=["a"])
    assert_same(iterate(spared), iterate(plain))
    np.testing.assert_array_equal(spared.blobs["a"].data, plain.blobs["a"].data)
    assert again(spared) == ["norm c", "norm b"]


@pytest.mark.parametrize(
    "layer",
    [
        'layer { name: "drop" type: "Dropout" bottom: "a" top: "a" }',
        'layer { name: "bend" type: "TanH" bottom: "a" top: "a" }',
        'layer { name: "leak" type: "ReLU" bottom: "a" top: "a" relu_param { negative_slope: 0.1 } }',
    ],
)
def test_what_another_layer_changes_in_place_is_kept(layer):
    layers = [convolution("conv a", "x", "a"), norm("BN", "a"), layer, *chain("BN")[3:]]
    plain, net = training_net(layers, share=True), training_net(layers, share=True, recompute=True)
    assert_same(iterate(net), iterate(plain))
    assert again(net) == ["norm c", "norm b"]


def test_what_it_would_be_made_of_may_not_change_either():
    """Batch norm reads one half of a Split, and a ReLU works in place on the other, the same values."""
    layers = [convolution("conv a", "x", "a"), 'layer { name: "halves" type: "Split" bottom: "a" top: "s" top: "a2" }']
    layers += [norm("BN", "s", "n"), relu("a2"), convolution("conv b", "a2", "b"), *chain("BN")[4:-1]]
    layers += [convolution("conv n", "n", "m"), norm("BN", "m"), relu("m")]
    layers += ['layer { name: "sum" type: "Eltwise" bottom: "c" bottom: "m" top: "y" }', LOSS % "y"]
    plain, net = training_net(layers, share=True), training_net(layers, share=True, recompute=True)
    assert_same(iterate(net), iterate(plain))
    assert "norm n" not in again(net)


def test_debug_info_which_runs_layer_by_layer_sees_the_same_gradients():
    plain, net = (training_net(NETS["BN"], **given) for given in ({}, {"share": True, "recompute": True}))
    for each in (plain, net):
        each.debug_info = True
    assert_same(iterate(net), iterate(plain))


@pytest.mark.parametrize("recompute", [True, ["conv1", "conv2", "conv3", "conv4", "conv5"]])
def test_layers_are_timed_one_by_one_with_the_same_gradients(recompute):
    plain, net = (training_net(NETS["unpooling"], share=True, recompute=value) for value in (False, recompute))
    for each in (plain, net):
        time_layers(each)
    for one, other in zip(net.params.values(), plain.params.values(), strict=True):
        np.testing.assert_array_equal(one[0].diff, other[0].diff)


def test_a_backward_pass_may_begin_in_the_middle():
    plain, net = (training_net(NETS["unpooling"], share=True, recompute=value) for value in (False, True))
    for each in (plain, net):
        iterate(each)
        each.backward(start="unpool1")
    for one, other in zip(net.params.values(), plain.params.values(), strict=True):
        np.testing.assert_array_equal(one[0].diff, other[0].diff)


def test_a_forward_pass_goes_on_where_the_last_one_ended_and_nowhere_else():
    net = training_net(NETS["BN"], share=True, recompute=True)
    net.forward(end="norm b")
    net.forward(start="relu b")
    for run in (lambda: None, net.backward):
        run()
        with pytest.raises(NetError, match="layer 'conv c' reads the data of blob 'b', which is gone.*keep="):
            net.forward(start="conv c")
    net.forward(start="conv a")


def test_a_bad_layer_is_found():
    net = training_net(NETS["BatchNorm and Scale"], share=True, recompute=True)
    iterate(net)
    assert net.first_bad_layer() is None
    net.params["scale b"][0].data[0] = np.nan
    iterate(net)
    assert net.first_bad_layer() == "scale b"


def test_switches_outside_their_plane_are_warned_of_once():
    net = training_net(NETS["unpooling"], share=True, recompute=True)
    unpool = net.layers_by_name()["unpool2"]
    wrong = np.full(net.blobs["mask2"].shape, 99, "f")
    run = unpool._write
    unpool._write = lambda bottom, top, warns: (bottom[1].host_data.__setitem__(..., wrong), run(bottom, top, warns))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert again(net).count("unpool2") == 1
    assert len([one for one in caught if "lie outside a plane" in str(one.message)]) == 1


@pytest.mark.parametrize("name", ["BN", "unpooling", "residual"])
def test_a_solver_that_asks_for_it_learns_the_same_weights_beside_a_test_net(name):
    """The test net's maps lie where the train net's do."""
    solvers = [solver_of(value, NETS[name], NETS[name], share=True) for value in (False, True)]
    for solver in solvers:
        solver.step(5)
    assert solvers[1].net._recomputes and not solvers[0].net._recomputes
    for one, other in zip(*(solver.net.params.values() for solver in solvers), strict=True):
        np.testing.assert_array_equal(one[0].data, other[0].data)


def test_a_test_net_that_reads_blobs_in_another_order_keeps_them_apart():
    """Of the train net a and b lie in one memory; here a is read when b has been made."""
    test_layers = [*chain("BN")[:6], convolution("conv late", "a", "late"), *chain("BN")[6:]]
    test_layers.append('layer { name: "sum" type: "Eltwise" bottom: "late" bottom: "b" top: "y" }')
    plain = solver_of(False, NETS["BN"], test_layers)
    shared = solver_of(True, NETS["BN"], test_layers, share=True)
    train = shared.net._named_blobs
    assert train["a"].data_memory is train["b"].data_memory
    for solver in (plain, shared):
        solver.step(2)
    np.testing.assert_array_equal(*(solver.test_nets[0].forward()["y"] for solver in (plain, shared)))
    held = {blob.data_memory for blob in shared.test_nets[0]._named_blobs.values()}
    assert train["a"].data_memory in held


def test_a_solver_without_sharing_keeps_everything():
    solver = solver_of(True, NETS["BN"], NETS["BN"])
    solver.step(1)
    assert not solver.net._recomputes and solver.net.blobs["a"].data.any()
