"""What a solver is asked to do from outside: snapshots and stops, after the current iteration, with nothing lost."""

import os
import signal

import numpy as np
import pytest
from tiny_training import RECURRENT_NET, dummy_solver, write_dummy_solver, write_seg_solver

from deconvnet.core.solver import Action, SGDSolver, SignalActions

# a test pass of three batches before iterations 0, 4 and 8
FIELDS = """
snapshot: 5 random_seed: 1 iter_size: 2 average_loss: 4 lr_policy: "plateau" gamma: 0.7 test_iter: 3 test_interval: 4
max_iter: 9
"""


class Asking:
    """An action function: asks for an action when it is asked for the time of that number."""

    def __init__(self, number, action):
        self.left, self.action = number, action

    def __call__(self):
        self.left -= 1
        return self.action if self.left == 0 else Action.NONE


def _before(function, first):
    """The function, with `first` called before it."""

    def both(*arguments):
        first()
        function(*arguments)

    return both


def files(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def pairs(*iterations):
    return sorted(f"run_iter_{number}.{kind}" for number in iterations for kind in ("caffemodel", "solverstate"))


def state_of(solver):
    history = [blob.host_data.copy() for blob in solver.history]
    positions = [layer.position for net in (solver.net, *solver.test_nets) for layer, *_ in net.connections()]
    policy = (solver.policy.best, solver.policy.wait, solver.policy.rate)
    return [solver.net.arrays(), history, positions, policy, list(solver.losses), solver.iter]


def solver_of(path, action_function=None):
    solver = SGDSolver(path)
    solver.action_function = action_function
    return solver


# asked three times in each test pass and once after each iteration
@pytest.mark.parametrize(
    "asked, iteration",
    [(1, 0), (3, 0), (4, 1), (7, 4), (8, 4), (10, 4), (11, 5), (14, 8), (17, 8), (18, 9)],
)
def test_a_stopped_run_goes_on_to_the_bit_as_if_it_had_never_stopped(tmp_path, asked, iteration, capsys):
    path = write_seg_solver(tmp_path, FIELDS)
    undisturbed, stopped, resumed = (solver_of(path) for _ in range(3))
    undisturbed.solve()
    stopped.action_function = Asking(asked, Action.STOP)
    stopped.solve()
    assert stopped.stopped
    assert stopped.iter == iteration
    resumed.solve(tmp_path / f"snapshots/run_iter_{iteration}.solverstate")
    np.testing.assert_equal(state_of(resumed), state_of(undisturbed))
    assert not resumed.stopped
    for solver in (undisturbed, stopped, resumed):
        solver.close()
    said = capsys.readouterr().err
    assert said.count("Optimization stopped early.") == 1
    assert said.count("Optimization Done.") == 2


def test_a_stop_in_a_test_pass_ends_the_pass_and_leaves_it_undone(tmp_path, capsys):
    solver = solver_of(write_seg_solver(tmp_path, FIELDS), Asking(2, Action.STOP))
    before = state_of(solver)
    solver.solve()
    said = capsys.readouterr().err
    assert "Test interrupted." in said
    assert "Test net output" not in said
    np.testing.assert_equal(state_of(solver), before)
    assert files(tmp_path / "snapshots") == pairs(0)
    solver.close()


def test_a_stop_in_a_test_pass_leaves_what_its_recurrent_layers_carry_over(tmp_path):
    solver = solver_of(write_dummy_solver(tmp_path, FIELDS, RECURRENT_NET), Asking(8, Action.STOP))
    carried = []
    solver.test_nets[0].layers_by_name()["data"].forward = _before(
        solver.test_nets[0].layers_by_name()["data"].forward,
        lambda: carried.append(
            [blob.host_data.copy() for blob in solver.test_nets[0].layers_by_name()["lstm"].carried]
        ),
    )
    solver.solve()
    assert solver.iter == 4 and len(carried) == 3 + 1  # batches of the whole pass, and of the one that is left undone
    left = [blob.host_data for blob in solver.test_nets[0].layers_by_name()["lstm"].carried]
    np.testing.assert_array_equal(left, carried[3])
    assert not np.array_equal(left, carried[2])


def test_a_stop_is_snapshotted_unless_snapshot_after_train_is_false(tmp_path):
    solver = solver_of(write_seg_solver(tmp_path, f"{FIELDS} snapshot_after_train: false"), Asking(6, Action.STOP))
    solver.solve()
    assert solver.iter == 3
    assert files(tmp_path / "snapshots") == []
    solver.close()


def test_a_snapshot_that_is_asked_for_comes_after_the_iteration_and_training_goes_on(tmp_path):
    # asked for in the test pass before iteration 4
    path = write_seg_solver(tmp_path, FIELDS)
    undisturbed, asked, resumed = (solver_of(path) for _ in range(3))
    undisturbed.solve()
    for name in files(tmp_path / "snapshots"):
        os.remove(tmp_path / "snapshots" / name)
    asked.action_function = Asking(9, Action.SNAPSHOT)
    asked.solve()
    assert not asked.stopped
    assert files(tmp_path / "snapshots") == pairs(5, 9)  # 5: its turn as well, written once
    asked = solver_of(path, Asking(5, Action.SNAPSHOT))
    asked.solve()
    assert files(tmp_path / "snapshots") == pairs(2, 5, 9)
    resumed.solve(tmp_path / "snapshots/run_iter_2.solverstate")
    for solver in (asked, resumed):
        np.testing.assert_equal(state_of(solver), state_of(undisturbed))
        solver.close()
    undisturbed.close()


def test_a_snapshot_without_a_prefix_is_a_warning_and_training_goes_on(capsys):
    solver = solver_of(dummy_solver("snapshot_after_train: false"), Asking(2, Action.SNAPSHOT))
    solver.solve()
    assert solver.iter == 8
    assert "no snapshot is written: the solver has no snapshot_prefix" in capsys.readouterr().err


def test_a_solver_that_was_stopped_can_step_and_test_again():
    solver = solver_of(dummy_solver("test_iter: 1 test_interval: 100"), Asking(3, Action.STOP))
    solver.step(5)
    assert (solver.iter, solver.stopped) == (2, True)
    solver.test()
    solver.step(3)
    assert (solver.iter, solver.stopped) == (5, False)


def test_a_pair_that_was_resumed_from_or_just_written_is_not_written_again(tmp_path, monkeypatch):
    fields = f'snapshot_prefix: "{tmp_path}/run" max_iter: 3'
    SGDSolver(dummy_solver(fields)).solve()
    written = [path.stat().st_mtime_ns for path in tmp_path.iterdir()]
    SGDSolver(dummy_solver(fields)).solve(tmp_path / "run_iter_3.solverstate")
    assert [path.stat().st_mtime_ns for path in tmp_path.iterdir()] == written


def test_a_pair_resumed_from_elsewhere_is_written_under_the_solvers_own_prefix(tmp_path):
    SGDSolver(dummy_solver(f'snapshot_prefix: "{tmp_path}/a/run" max_iter: 3')).solve()
    SGDSolver(dummy_solver(f'snapshot_prefix: "{tmp_path}/b/run" max_iter: 3 snapshot: 3')).solve(
        tmp_path / "a/run_iter_3.solverstate"
    )
    assert files(tmp_path / "b") == files(tmp_path / "a") == pairs(3)


def test_signals_ask_for_their_actions_once_and_have_their_old_meaning_afterwards():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)
    with SignalActions(sigint=Action.SNAPSHOT, sighup=Action.STOP) as actions:
        assert actions() is Action.NONE
        os.kill(os.getpid(), signal.SIGINT)
        assert actions() is Action.SNAPSHOT
        assert actions() is Action.NONE
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGHUP)
        assert actions() == Action.SNAPSHOT | Action.STOP
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)) == before
