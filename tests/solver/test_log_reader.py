"""Curves read back from a log of Caffe's or from a table."""

import math

import pytest
from tiny_training import dummy_solver

from deconvnet.core.solver import CsvRecorder, SGDSolver, SolverError, loss_line, names_of, read_curves, read_log

LOG = """\
I0102 10:00:00.000000  4321 solver.cpp:57] Solver scaffolding done.
I0102 10:00:00.000000  4321 solver.cpp:330] Iteration 0, Testing net (#0)
I0102 10:00:00.100000  4321 solver.cpp:397]     Test net output #0: seg-accuracy = 0.125
I0102 10:00:00.100000  4321 solver.cpp:397]     Test net output #1: seg-loss = 1.9 (* 1 = 1.9 loss)
I0102 10:00:00.200000  4321 solver.cpp:330] Iteration 0, Testing net (#1)
I0102 10:00:00.200000  4321 solver.cpp:397]     Test net output #0: seg-accuracy = 0.5
I0102 10:00:01.000000  4321 solver.cpp:218] Iteration 0 (-1.1 iter/s, 0s/20 iters), loss = 1.95
I0102 10:00:01.000000  4321 solver.cpp:237]     Train net output #0: seg-loss = 2 (* 1 = 2 loss)
I0102 10:00:01.000000  4321 sgd_solver.cpp:105] Iteration 0, lr = 0.01
I0102 10:00:02.000000  4321 solver.cpp:218] Iteration 20, loss = 6.1e-01
I0102 10:00:02.000000  4321 sgd_solver.cpp:105] Iteration 20, lr = 1e-05
I0102 10:00:03.000000  4321 solver.cpp:330] Iteration 40, Testing net (#0)
I0102 10:00:03.100000  4321 solver.cpp:397]     Test net output #0: seg-accuracy = 0.75
I0102 10:00:04.000000  4321 solver.cpp:310] Iteration 40, loss = -nan
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


def test_a_log_of_caffes_gives_curves_of_every_net(path):
    path.write_text(LOG)
    curves = read_log(path)
    assert curves["loss"][:2] == [(0, 1.95), (20, 0.61)]
    assert curves["loss"][2][0] == 40 and math.isnan(curves["loss"][2][1])
    assert curves["lr"] == [(0, 0.01), (20, 1e-5)]
    assert curves["train/seg-loss"] == [(0, 2)]
    assert curves["test/seg-accuracy"] == [(0, 0.125), (40, 0.75)]
    assert curves["test/seg-loss"] == [(0, 1.9)]
    assert curves["test1/seg-accuracy"] == [(0, 0.5)]


def test_only_loss_lines_report_progress():
    found = [loss_line(line) for line in LOG.splitlines()]
    assert [f for f in found if f][:2] == [(0, 1.95), (20, 0.61)]
    assert sum(f is not None for f in found) == 3


def test_a_blob_of_several_values_gives_several_curves(path):
    path.write_text("Iteration 5, loss = 1\n" + "".join(f"Train net output #{k}: a = {k}\n" for k in range(3)))
    assert read_log(path) == {
        "loss": [(5, 1)],
        "train/a": [(5, 0)],
        "train/a[1]": [(5, 1)],
        "train/a[2]": [(5, 2)],
    }


def test_a_log_that_goes_on_with_a_resumed_run_tells_it_once(path):
    path.write_text(
        "".join(f"Iteration {i}, loss = {loss}\n" for i, loss in [(0, 9), (20, 8), (40, 7), (20, 6), (40, 5)])
    )
    assert read_log(path) == {"loss": [(0, 9), (20, 6), (40, 5)]}


def test_log_and_table_of_a_run_tell_the_same(tmp_path, capsys):
    fields = f'max_iter: 8 display: 2 test_iter: 1 test_interval: 3 snapshot_prefix: "{tmp_path}/x"'
    solver, recorder = SGDSolver(dummy_solver(fields)), CsvRecorder(str(tmp_path / "run.csv"))
    recorder.begin(names_of(solver))
    solver.listeners.append(recorder)
    solver.solve()
    (tmp_path / "log").write_text(capsys.readouterr().err)
    log, table = read_curves(tmp_path / "log"), read_curves(tmp_path / "run.csv")
    assert log.keys() == table.keys() == {"lr", "loss", "train/loss", "test/accuracy", "test/loss"}
    for name, points in log.items():
        assert [i for i, _ in points] == [i for i, _ in table[name]]
        assert [value for _, value in points] == pytest.approx([value for _, value in table[name]], rel=1e-5)


@pytest.mark.parametrize("rest", ["4,1.0,", "4,1.0,0.", "4,1.0,0.2,7\n", "x,1,2\n", "4\n", "\n", "\0" * 200_000])
def test_damaged_rows_of_a_table_are_passed_over(path, rest):
    path.write_text(f"iteration,seconds,loss\n2,0.5,6\n{rest}")
    curves = read_curves(path)
    assert curves["loss"][0] == (2, 6.0) and len(curves["loss"]) == 1 + (rest == "4,1.0,0.")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing of a training\n",
        "iteration,seconds,loss\n",
        "\0\1\2",
        "iteration," + "\0" * 200_000,
        "iteration,\n2,3,4",
    ],
)
def test_a_file_without_a_training_is_an_error(path, text):
    path.write_text(text)
    with pytest.raises(SolverError, match="holds no training"):
        read_curves(path)
