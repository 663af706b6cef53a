"""The solver's cycle: what happens in an iteration, in which order, and what cannot go on."""

import copy
import re

import h5py
import numpy as np
import pytest
from tiny_training import DUMMY_NET, dummy_solver, write_dummy_solver

from deconvnet.core.blob import set_seed
from deconvnet.core.proto import caffe_pb2
from deconvnet.core.solver import SGDSolver, SolverError, get_solver


def weights(solver):
    """All parameters of the train net in one array."""
    return np.concatenate([blob.data.ravel().copy() for blobs in solver.net.params.values() for blob in blobs])


def moved(fields, steps=1):
    """How far the parameters of a solver get in some steps."""
    solver = SGDSolver(dummy_solver("random_seed: 1 " + fields))
    before = weights(solver)
    solver.step(steps)
    return weights(solver) - before


def test_a_step_is_an_iteration():
    solver = SGDSolver(dummy_solver())
    solver.step(2)
    solver.step(1)
    assert solver.iter == 3


def test_the_loss_falls():
    solver = SGDSolver(dummy_solver("max_iter: 60 snapshot_after_train: false average_loss: 10"))
    solver.step(10)
    first = solver.loss
    solver.solve()
    assert solver.iter == 60
    assert solver.loss < 0.7 * first


def test_the_same_seed_gives_the_same_training_and_another_seed_another():
    one, again, other = (SGDSolver(dummy_solver(f"random_seed: {seed}")) for seed in (5, 5, 6))
    for solver in (one, again, other):
        solver.step(3)
    assert np.array_equal(weights(one), weights(again))
    assert not np.allclose(weights(one), weights(other))


def test_without_random_seed_the_seed_that_was_set_counts(monkeypatch):
    monkeypatch.setattr("deconvnet.core.blob.randomness._seed", None)
    assert SGDSolver(dummy_solver()).seed != SGDSolver(dummy_solver()).seed
    set_seed(9)
    assert SGDSolver(dummy_solver()).seed == 9


def test_lr_mult_and_decay_mult_scale_the_update_of_their_parameter():
    net = DUMMY_NET.replace('name: "ip"', 'name: "ip" param { lr_mult: 0 } param { lr_mult: 2 decay_mult: 0 }')
    solver = SGDSolver(dummy_solver("momentum: 0 weight_decay: 0.5", net))
    frozen, bias = solver.net.params["ip"]
    start, bias_start = frozen.data.copy(), bias.data.copy()
    solver.net.clear_param_diffs()
    solver.net.forward_loss()
    solver.net.backward()
    gradient = bias.diff.copy()
    solver.apply_update()
    assert np.array_equal(frozen.data, start)
    np.testing.assert_allclose(bias.data, bias_start - 2 * 0.05 * gradient, rtol=1e-6)


def test_after_an_update_the_gradient_holds_the_step_as_caffes_does():
    solver = SGDSolver(dummy_solver())
    before = weights(solver)
    solver.step(1)
    steps = np.concatenate([blob.diff.ravel() for blobs in solver.net.params.values() for blob in blobs])
    np.testing.assert_allclose(before - weights(solver), steps, atol=1e-7)


def test_iter_size_averages_the_gradients_of_its_batches():
    halves = SGDSolver(dummy_solver("momentum: 0 weight_decay: 0 random_seed: 1 iter_size: 2"))
    before = weights(halves)
    halves.step(1)
    gradients = []
    singles = SGDSolver(dummy_solver("momentum: 0 weight_decay: 0 random_seed: 1"))
    for _ in range(2):
        singles.net.clear_param_diffs()
        singles.net.forward_loss()
        singles.net.backward()
        gradients.append(
            np.concatenate([b.diff.ravel().copy() for blobs in singles.net.params.values() for b in blobs])
        )
    np.testing.assert_allclose(before - weights(halves), 0.05 * np.mean(gradients, axis=0), atol=1e-6)


def test_clip_gradients_bounds_the_norm_of_all_gradients_together():
    free, clipped = moved("momentum: 0 weight_decay: 0"), moved("momentum: 0 weight_decay: 0 clip_gradients: 0.1")
    assert np.linalg.norm(clipped) == pytest.approx(0.05 * 0.1, rel=1e-4)
    assert np.linalg.norm(clipped) < np.linalg.norm(free)
    np.testing.assert_allclose(clipped / np.linalg.norm(clipped), free / np.linalg.norm(free), atol=1e-4)


def test_gradients_smaller_than_clip_gradients_are_left_alone():
    assert np.array_equal(moved("clip_gradients: 1000", 3), moved("", 3))


def test_l1_decay_pulls_every_weight_equally_towards_zero():
    net = DUMMY_NET.replace('type: "SoftmaxWithLoss"', 'type: "SoftmaxWithLoss" loss_weight: 0')
    solver = SGDSolver(dummy_solver('regularization_type: "L1" weight_decay: 0.1 momentum: 0', net))
    blob = solver.net.params["conv"][0]
    before = blob.data.copy()
    solver.step(1)
    np.testing.assert_allclose(blob.data, before - 0.05 * 0.1 * np.sign(before), atol=1e-7)


def test_the_loss_shown_is_the_mean_of_the_last_average_loss_losses():
    solver = SGDSolver(dummy_solver("average_loss: 3"))
    seen = []
    for _ in range(5):
        solver.step(1)
        seen.append(solver.losses[-1])
    assert solver.loss == pytest.approx(np.mean(seen[-3:]))
    assert len(set(seen)) == 5


def test_the_learning_rate_is_that_of_the_next_update():
    solver = SGDSolver(dummy_solver('lr_policy: "step" stepsize: 2 gamma: 0.5'))
    found = []
    for _ in range(5):
        found.append(solver.learning_rate)
        solver.step(1)
    assert found == pytest.approx([0.05, 0.05, 0.025, 0.025, 0.0125])


TESTED = "test_iter: 2 test_interval: 3 "


def test_the_test_net_has_the_train_nets_parameters_at_every_moment():
    solver = SGDSolver(dummy_solver(TESTED))
    solver.step(2)
    for layer, blobs in solver.net.params.items():
        for ours, theirs in zip(solver.test_nets[0].params[layer], blobs, strict=True):
            assert np.array_equal(ours.data, theirs.data)


@pytest.fixture
def log(capsys):
    """A function that gives what has been logged so far."""
    return lambda: capsys.readouterr().err


def passes_in(text):
    return [int(found) for found in re.findall(r"Iteration (\d+), Testing net \(#0\)", text)]


def test_test_passes_come_before_training_every_test_interval_and_at_the_end(log):
    SGDSolver(dummy_solver(TESTED + "max_iter: 6 snapshot_after_train: false")).solve()
    assert passes_in(log()) == [0, 3, 6]


def test_without_test_initialization_there_is_no_pass_before_training(log):
    SGDSolver(dummy_solver(TESTED + "max_iter: 5 snapshot_after_train: false test_initialization: false")).solve()
    assert passes_in(log()) == [3]


def test_a_test_pass_logs_the_mean_of_each_output_over_test_iter_batches(log):
    solver = SGDSolver(dummy_solver("test_iter: 3 test_interval: 100 random_seed: 3"))
    solver.test()
    net = SGDSolver(dummy_solver("test_iter: 3 test_interval: 100 random_seed: 3")).test_nets[0]
    mean = {"loss": 0.0, "accuracy": 0.0}
    for _ in range(3):
        for name, value in net.forward().items():
            mean[name] += float(value) / 3
    text = log()
    assert f"    Test net output #0: accuracy = {mean['accuracy']:g}\n" in text
    assert f"    Test net output #1: loss = {mean['loss']:g} (* 1 = {mean['loss']:g} loss)\n" in text


def test_the_mean_loss_of_a_test_pass_is_logged_on_request(log):
    solver = SGDSolver(dummy_solver("test_iter: 3 test_interval: 100 test_compute_loss: true"))
    solver.test()
    text = log()
    assert re.search(r"Test loss: (\S+)", text)[1] == re.search(r"#1: loss = (\S+)", text)[1]


def test_plateau_drops_the_rate_by_the_first_accuracy_of_the_first_test_net_and_says_so(log):
    fields = 'lr_policy: "plateau" test_iter: 1 test_interval: 1 base_lr: 0 plateau_patience: 2'
    solver = SGDSolver(dummy_solver(fields))
    solver.policy.rate = 0.05
    solver.policy.best = 1.0  # no accuracy is better
    solver.step(4)
    assert solver.learning_rate == pytest.approx(0.05 * 0.01)
    assert solver.policy.drops == 2
    assert re.search(
        r"Iteration 1, accuracy = \S+ is no better than 1: plateau drops the rate from 0.05 to 0.005", log()
    )


def test_plateau_watches_the_output_that_plateau_metric_names_and_knows_a_loss():
    solver = SGDSolver(dummy_solver('lr_policy: "plateau" test_iter: 1 test_interval: 1 plateau_metric: "loss"'))
    assert solver.policy.lower_is_better
    solver.test()
    assert solver.policy.best == pytest.approx(float(solver.test_nets[0].blobs["loss"].data))


@pytest.mark.parametrize(
    "fields, said",
    [
        ('lr_policy: "plateau"', "there is no accuracy among the test outputs: give test_iter and test_interval"),
        (
            'lr_policy: "plateau" test_iter: 1 test_interval: 1 plateau_metric: "acuracy"',
            "no test output is called 'acuracy'; did you mean 'accuracy'.: plateau_metric names one of accuracy, loss",
        ),
        ("iter_size: 0", "iter_size must be at least 1, not 0"),
        ("average_loss: 0", "average_loss must be at least 1, not 0"),
        ('regularization_type: "L3"', "unknown regularization_type 'L3' .known: L1, L2."),
        ("snapshot_keep: -1", "snapshot_keep must be at least 0, not -1"),
        ("base_lr: -0.1", "base_lr must be at least 0, not -0.1"),
        ("base_lr: nan", "base_lr must be at least 0, not nan"),
        ("weight_decay: inf", "weight_decay must be at least 0, not inf"),
        ("momentum: -0.9", "momentum must be at least 0, not -0.9"),
        ("momentum: 9", "momentum must be below 1, not 9"),
        ("clip_gradients: 0", "clip_gradients: 0 makes every gradient 0; leave it out for no bound"),
        ("display: -20", "display must be at least 0, not -20"),
        ("snapshot: -1", "snapshot must be at least 0, not -1"),
        ("test_iter: 1 test_interval: -1", "test_interval must be at least 0, not -1"),
        ('lr_policy: "plateau" gamma: 1.5', "gamma must be above 0 and below 1 for the rate to drop, not 1.5"),
        ("test_iter: 1", "test_iter is given without test_interval"),
        ("test_iter: 1 test_interval: 1 test_state { } test_state { }", "2 test_state for 1 test nets"),
        ('net: "a.prototxt"', "net and net_param are given: give one of"),
    ],
)
def test_fields_that_do_not_fit_together_are_an_error(fields, said):
    with pytest.raises(SolverError, match=said):
        SGDSolver(dummy_solver(fields))


def test_a_net_without_a_loss_is_told_to_learn_nothing(capsys):
    net = DUMMY_NET.replace("SoftmaxWithLoss", "HingeLoss")
    SGDSolver(dummy_solver("", net))
    assert "no loss" not in capsys.readouterr().err
    SGDSolver(dummy_solver("", net.replace('top: "loss"', 'top: "loss" loss_weight: 0')))
    assert "solver: its train net has no loss, so it learns nothing" in capsys.readouterr().err


def test_a_solver_without_a_net_is_an_error():
    with pytest.raises(SolverError, match="no train net is given"):
        SGDSolver(caffe_pb2.SolverParameter(base_lr=1, lr_policy="fixed"))


def test_solve_needs_max_iter():
    with pytest.raises(SolverError, match="max_iter must be at least 1, not 0"):
        SGDSolver(dummy_solver("max_iter: 0")).solve()


def test_a_loss_that_is_not_finite_stops_training_naming_iteration_and_layer_and_leaves_no_snapshot(tmp_path):
    solver = SGDSolver(dummy_solver(f'snapshot: 1 snapshot_prefix: "{tmp_path}/x"'))
    solver.step(2)
    solver.net.params["ip"][1].data[0] = np.nan
    with pytest.raises(SolverError, match="iteration 2: the loss is nan, first in layer 'ip'"):
        solver.step(1)
    assert not list(tmp_path.glob("x_iter_3*"))
    assert len(list(tmp_path.glob("x_iter_2*"))) == 2


def test_looking_for_the_bad_layer_moves_no_parameter_and_no_position(tmp_path):
    normalised = DUMMY_NET.replace(
        'layer { name: "drop"',
        'layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }\nlayer { name: "drop"',
    )
    outside = f"""layer {{ name: "out" type: "HDF5Output" bottom: "conv" bottom: "label"
      hdf5_output_param {{ file_name: "{tmp_path}/out.h5" }} }}"""
    solver = SGDSolver(dummy_solver("", normalised + outside))
    solver.step(2)
    solver.net.forward()
    net = solver.net
    dropped = net.blobs["conv"].data == 0
    before = copy.deepcopy(net.arrays())
    net.params["ip"][1].data[0] = before["ip"][1][0] = np.nan
    assert net.first_bad_layer() == "ip"
    np.testing.assert_equal(net.arrays(), before)
    assert [layer.position for layer, *_ in net.connections() if layer.position is not None] == [3, 3]
    np.testing.assert_array_equal(net.blobs["conv"].data == 0, dropped)  # by the same draws
    net.close()
    with h5py.File(tmp_path / "out.h5") as file:
        assert len(file["data"]) == 3 * 4


def test_a_parameter_that_is_not_finite_is_not_snapshotted(tmp_path):
    solver = SGDSolver(dummy_solver(f'snapshot_prefix: "{tmp_path}/x"'))
    solver.net.params["ip"][1].data[0] = np.inf
    with pytest.raises(SolverError, match="parameter ip/1 is not finite; no snapshot is written"):
        solver.snapshot()
    assert not list(tmp_path.iterdir())


def test_get_solver_picks_by_type(tmp_path):
    assert type(get_solver(write_dummy_solver(tmp_path))) is SGDSolver
    assert type(get_solver(write_dummy_solver(tmp_path, 'type: "SGD"'))) is SGDSolver


def test_a_type_that_is_not_there_is_an_error_listing_the_known_ones(tmp_path):
    path = write_dummy_solver(tmp_path, 'type: "Adm"')
    said = r"solver type 'Adm' is unknown; did you mean 'Adam'\? \(known types: SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam\)"
    with pytest.raises(SolverError, match=f"^{path}: {said}$"):
        get_solver(path)


def test_plateau_hears_nothing_of_a_test_pass_without_batches():
    solver = SGDSolver(dummy_solver('lr_policy: "plateau" test_iter: 0 test_interval: 1'))
    solver.test()
    assert (solver.policy.best, solver.policy.wait) == (None, 0)


def test_a_net_without_layers_is_trained_to_its_end():
    solver = SGDSolver(dummy_solver("max_iter: 2 snapshot_after_train: false", net='name: "none"'))
    solver.solve()
    assert solver.iter == 2
