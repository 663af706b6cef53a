"""A log of ours in the eyes of a parser by the patterns of BVLC's parse_log.py: rows of train and test values with times and rates."""

import math
import re
from datetime import datetime

import pytest
from tiny_training import dummy_solver

from deconvnet.core.solver import SGDSolver

ITERATION = re.compile(r"Iteration (\d+)")
OUTPUTS = {
    "train": re.compile(r"Train net output #(\d+): (\S+) = ([\.\deE+-]+)"),
    "test": re.compile(r"Test net output #(\d+): (\S+) = ([\.\deE+-]+)"),
}
RATE = re.compile(r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)")


def moment(line, year=2024):
    """The time in glog's prefix, LMMDD HH:MM:SS.ffffff; it names no year."""
    day, time = line.split()[:2]
    return datetime.strptime(f"{year}{day[1:]} {time}", "%Y%m%d %H:%M:%S.%f")


def parse(lines):
    """{"train": rows, "test": rows}: a row for each iteration with outputs, as dicts of NumIters, Seconds, LearningRate and outputs.

    Lines before the first iteration are passed over; a rate holds until the next; time counts from the line that says Solving.
    """
    start = next(moment(line) for line in lines if "Solving" in line)
    rows, iteration, rate = {"train": [], "test": []}, None, math.nan
    for line in lines:
        if found := ITERATION.search(line):
            iteration = int(found[1])
        if iteration is None:
            continue
        if found := RATE.search(line):
            rate = float(found[1])
        for phase, pattern in OUTPUTS.items():
            if found := pattern.search(line):
                if not rows[phase] or rows[phase][-1]["NumIters"] != iteration:
                    seconds = (moment(line) - start).total_seconds()
                    rows[phase].append({"NumIters": iteration, "Seconds": seconds, "LearningRate": rate})
                rows[phase][-1][found[2]] = float(found[3])
    return rows


FIELDS = "max_iter: 9 display: 2 test_iter: 1 test_interval: 3 lr_policy: 'exp' gamma: 0.01 snapshot_after_train: false"


@pytest.fixture
def run(capsys):
    """The parsed log of a run, and what the solver told its listeners."""
    solver, told = SGDSolver(dummy_solver(FIELDS)), {}
    solver.listeners.append(lambda iteration, values: told.setdefault(iteration, {}).update(values))
    solver.solve()
    return parse(capsys.readouterr().err.splitlines()), told


def test_there_is_a_row_for_each_iteration_that_shows_and_each_that_tests(run):
    rows, _ = run
    assert [row["NumIters"] for row in rows["train"]] == [0, 2, 4, 6, 8]
    assert [row["NumIters"] for row in rows["test"]] == [0, 3, 6, 9]


@pytest.mark.parametrize("phase, names", [("train", {"loss"}), ("test", {"loss", "accuracy"})])
def test_the_rows_hold_the_nets_outputs(run, phase, names):
    rows, told = run
    for row in rows[phase]:
        assert row.keys() - {"NumIters", "Seconds", "LearningRate"} == names
        for name in names:
            assert row[name] == pytest.approx(told[row["NumIters"]][f"{phase}/{name}"], rel=1e-5)


def test_rates_are_read_down_to_the_smallest(run):
    rows, told = run
    # as with Caffe's logs, the rate is told after the outputs: a row sees the rate of the one before it
    for before, row in zip(rows["train"], rows["train"][1:], strict=False):
        assert row["LearningRate"] == pytest.approx(told[before["NumIters"]]["lr"], rel=1e-5)
    assert rows["train"][-1]["LearningRate"] == pytest.approx(5e-14, rel=1e-5)


def test_times_run_on_from_the_beginning_of_the_optimization(run):
    rows, _ = run
    for table in rows.values():
        seconds = [row["Seconds"] for row in table]
        assert seconds == sorted(seconds) and 0 <= seconds[0] and seconds[-1] < 60
