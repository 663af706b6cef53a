"""What scripts for pycaffe do with a solver."""

import numpy as np
import pytest
from tiny_training import dummy_solver

import deconvnet as caffe


def solver(fields=""):
    return caffe.SGDSolver(dummy_solver(fields))


def test_a_test_net_runs_on_from_the_middle_on_the_batch_it_read_before_the_steps():
    """The loop of Caffe's notebook 01-learning-lenet: forward(start=...) after each step, to follow one batch."""
    trained = solver("test_iter: 1 test_interval: 100 test_initialization: false")
    test = trained.test_nets[0]
    test.forward()
    batch = test.blobs["data"].data.copy()
    trained.step(2)
    test.forward(start="conv")
    np.testing.assert_array_equal(test.blobs["data"].data, batch)
    weights, bias = (blob.data for blob in trained.net.params["ip"])
    expected = test.blobs["conv"].data.reshape(4, -1) @ weights.T + bias
    np.testing.assert_allclose(test.blobs["ip"].data, expected, rtol=1e-4, atol=1e-6)


def test_a_test_pass_sees_a_parameter_that_was_put_into_the_train_net():
    """As Caffe's, whose test nets take the train net's parameters anew before each pass."""
    trained, other = solver("test_iter: 1 test_interval: 100 test_initialization: false"), solver()
    other.net.params["ip"][0].data[...] = 7
    trained.net.params["ip"][0] = other.net.params["ip"][0]
    trained.test()
    assert (trained.test_nets[0].params["ip"][0].data == 7).all()


def test_callbacks_stand_before_the_passes_and_before_the_update():
    trained, calls = solver("display: 0 iter_size: 2"), []
    trained.net.before_forward(lambda number: number == 0 and calls.append("pass"))
    trained.add_callback(lambda: calls.append(f"start {trained.iter}"), lambda: calls.append(f"ready {trained.iter}"))
    trained.step(2)
    assert calls == ["start 0", "pass", "pass", "ready 0", "start 1", "pass", "pass", "ready 1"]


def test_a_callback_may_change_the_gradients():
    trained = solver()
    before = [blob.data.copy() for blob in trained.net.params["ip"]]
    trained.add_callback(lambda: None, trained.net.clear_param_diffs)
    trained.param.weight_decay = 0
    trained.step(2)
    for blob, values in zip(trained.net.params["ip"], before, strict=True):
        np.testing.assert_array_equal(blob.data, values)


def test_the_rate_has_pycaffes_name():
    trained = solver('base_lr: 0.25 lr_policy: "step" gamma: 0.1 stepsize: 2')
    assert trained.lr == trained.learning_rate == 0.25
    trained.step(2)
    assert trained.lr == trained.learning_rate < 0.03


def test_another_net_may_use_the_parameters():
    trained = solver()
    param = caffe.proto.caffe_pb2.NetParameter()
    param.CopyFrom(dummy_solver().net_param)
    other = caffe.Net(param, caffe.TEST)
    trained.share_weights(other)
    trained.step(1)
    np.testing.assert_array_equal(other.params["conv"][0].data, trained.net.params["conv"][0].data)


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("lr_policy", ['"step" gamma: 0.1 stepsize: 2', '"inv" gamma: 1 power: 1'])
def test_a_loop_of_ones_own_counts_its_updates_as_step_does(kind, lr_policy):
    """Rates, and what Adam corrects, go by the number of updates."""
    fields = f'type: "{kind}" momentum: 0.9 momentum2: 0.999 lr_policy: {lr_policy}'
    stepped, own = (caffe.get_solver(dummy_solver(fields)) for _ in range(2))
    stepped.step(4)
    for _ in range(4):
        own.net.clear_param_diffs()
        own.net.forward()
        own.net.backward()
        own.apply_update()
    assert own.iter == 4 and own.lr == stepped.lr
    for name, blobs in stepped.net.params.items():
        for blob, other in zip(blobs, own.net.params[name], strict=True):
            np.testing.assert_array_equal(blob.data, other.data)


def test_a_snapshot_of_ones_own_loop_is_that_of_its_last_update(tmp_path):
    own = solver(f'snapshot_prefix: "{tmp_path}/own" snapshot_after_train: true max_iter: 2')
    own.step(1)
    own.snapshot()
    own.apply_update()
    own.solve()
    assert (tmp_path / "own_iter_2.solverstate").exists()
