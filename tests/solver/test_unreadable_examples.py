"""A file that cannot be read, late in a training: what was learnt until then is saved, and once it is mended the run goes on to the bit."""

import shutil

import numpy as np
import pytest
from PIL import Image
from test_stopping import FIELDS, files, pairs, state_of
from tiny_training import write_seg_solver

from deconvnet.core.net import NetError
from deconvnet.core.solver import Action, SGDSolver

# said at the start, too: see test_seg_data_errors.py
pytestmark = pytest.mark.filterwarnings("ignore:.*files listed are not there")

LISTS = ("list.txt", "test.txt")


def write_solver(folder, phase, number, fields=FIELDS):
    """A solver whose train net (0) or test net (1) takes late.png and late_label.png as its example of that number, no other; its path."""
    path = write_seg_solver(folder, fields)
    net = folder / "prototxt/net.prototxt"
    net.write_text("test.txt".join(net.read_text().rsplit("list.txt", 1)))
    lines = (folder / "list.txt").read_text().splitlines(keepends=True) * 10  # an epoch is longer than the run
    for name in LISTS:
        (folder / name).write_text("".join(lines))
    mend(folder)
    solver = SGDSolver(path)
    data = (solver.net, *solver.test_nets)[phase].layers_by_name()["data"]
    lines[data.examples.line_of(number)] = "/late.png /late_label.png\n"
    (folder / LISTS[phase]).write_text("".join(lines))
    solver.close()
    return path


def mend(folder):
    for end in (".png", "_label.png"):
        shutil.copy(folder / f"3{end}", folder / f"late{end}")


def write_label(folder, label):
    Image.fromarray(label.astype(np.uint8)).save(folder / "late_label.png")


BREAK = {
    "an absent image": lambda folder: (folder / "late.png").unlink(),
    "a broken image": lambda folder: (folder / "late.png").write_text("no image"),
    "a label of another size": lambda folder: write_label(folder, np.zeros((3, 3))),
    "a label that is no class": lambda folder: write_label(folder, np.full((12, 14), 9)),
}


def solve_to_the_error(path):
    with pytest.raises((NetError, FileNotFoundError), match=r"(list|test)\.txt:\d+: "):
        SGDSolver(path).solve()


# six examples an iteration, nine a test pass, a pass before iterations 0, 4 and 8
@pytest.mark.parametrize(
    "phase, number, iteration", [(0, 12, 2), (0, 16, 2), (0, 24, 4), (0, 47, 7), (1, 9, 4), (1, 26, 8)]
)
@pytest.mark.parametrize("broken", BREAK)
def test_the_run_goes_on_from_there_as_if_nothing_had_been(tmp_path, phase, number, iteration, broken):
    path = write_solver(tmp_path, phase, number)
    BREAK[broken](tmp_path)
    solve_to_the_error(path)
    mend(tmp_path)
    resumed, undisturbed = SGDSolver(path), SGDSolver(path)
    resumed.solve(tmp_path / f"snapshots/run_iter_{iteration}.solverstate")
    undisturbed.solve()
    np.testing.assert_equal(state_of(resumed), state_of(undisturbed))


@pytest.mark.parametrize(
    "fields, written",
    [("", pairs(2)), ("snapshot: 2", pairs(2)), ("snapshot: 0 snapshot_after_train: false", [])],
)
def test_one_snapshot_is_written_where_any_are(tmp_path, fields, written):
    path = write_solver(tmp_path, 0, 6, f"random_seed: 1 {fields}")
    BREAK["an absent image"](tmp_path)
    solve_to_the_error(path)
    assert files(tmp_path / "snapshots") == written


def test_before_the_first_update_there_is_nothing_to_save(tmp_path):
    path = write_solver(tmp_path, 0, 0)
    BREAK["an absent image"](tmp_path)
    solve_to_the_error(path)
    assert files(tmp_path / "snapshots") == []


def test_where_the_snapshot_fails_too_both_are_told(tmp_path, capsys):
    path = write_solver(tmp_path, 0, 6, "random_seed: 1")
    BREAK["an absent image"](tmp_path)
    solver = SGDSolver(path)

    def fill_the_folders_place():
        shutil.rmtree(tmp_path / "snapshots")
        (tmp_path / "snapshots").write_text("")

    solver.add_callback(lambda: solver.iter == 1 and fill_the_folders_place(), lambda: None)
    with pytest.raises(FileNotFoundError, match="late.png"):
        solver.solve()
    assert f"{tmp_path}/snapshots" in capsys.readouterr().err.splitlines()[-1]


def test_any_other_error_of_a_layer_ends_it_so_as_well(tmp_path, monkeypatch):
    """As a user's own layer raises it."""
    solver = SGDSolver(write_seg_solver(tmp_path, "random_seed: 1"))
    forward = solver.net.forward_loss

    def failing():
        if solver.iter == 3:
            raise AssertionError("of the user's own")
        return forward()

    monkeypatch.setattr(solver.net, "forward_loss", failing)
    with pytest.raises(AssertionError, match="of the user's own"):
        solver.solve()
    assert files(tmp_path / "snapshots") == pairs(3)


def test_an_error_behind_the_update_keeps_the_update(tmp_path):
    path = write_seg_solver(tmp_path, FIELDS)
    undisturbed, stopped, resumed = (SGDSolver(path) for _ in range(3))
    undisturbed.solve()
    stopped.action_function = lambda: 1 / 0 if stopped.iter == 3 else Action.NONE
    with pytest.raises(ZeroDivisionError):
        stopped.solve()
    resumed.solve(tmp_path / "snapshots/run_iter_3.solverstate")
    np.testing.assert_equal(state_of(resumed), state_of(undisturbed))


def test_an_error_in_the_midst_of_an_update_leaves_no_snapshot(tmp_path, monkeypatch):
    solver = SGDSolver(write_seg_solver(tmp_path, "random_seed: 1"))
    move = solver._move

    def failing(*arguments):
        move(*arguments)
        if solver.iter == 3:
            raise MemoryError("of the device")

    monkeypatch.setattr(solver, "_move", failing)
    with pytest.raises(MemoryError):
        solver.solve()
    assert files(tmp_path / "snapshots") == []
