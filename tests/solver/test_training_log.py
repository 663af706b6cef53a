"""The training log in Caffe's form, as parsers written for Caffe's logs read it, and the progress bar."""

import io
import re
import sys

import pytest
from tiny_training import dummy_solver

from deconvnet.core.solver import SGDSolver, logger
from deconvnet.core.solver.log import Progress

PREFIX = r"^I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \w+\.py:\d+\] "
NUMBER = r"[-+]?[0-9.]+(e[-+]?\d+)?"


@pytest.fixture
def lines(capsys):
    """The log of a run of five iterations that shows every second one."""
    fields = "max_iter: 5 display: 2 test_iter: 1 test_interval: 4 snapshot_after_train: false"
    SGDSolver(dummy_solver(fields)).solve()
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_every_line_has_glogs_prefix(lines):
    assert len(lines) > 10
    assert [line for line in lines if not re.match(PREFIX, line)] == []


@pytest.mark.parametrize(
    "pattern, times",
    [
        (rf"Iteration [024] \({NUMBER} iter/s, {NUMBER}s/2 iters\), loss = {NUMBER}$", 3),
        (rf"    Train net output #0: loss = {NUMBER} \(\* 1 = {NUMBER} loss\)$", 3),
        (r"Iteration [024], lr = 0.05$", 3),
        (r"Iteration [04], Testing net \(#0\)$", 2),
        (rf"    Test net output #0: accuracy = {NUMBER}$", 2),
        (rf"    Test net output #1: loss = {NUMBER} \(\* 1 = {NUMBER} loss\)$", 2),
        (r"Solving dummy$", 1),
        (r"Optimization Done\.$", 1),
    ],
)
def test_the_run_is_told_in_caffes_words(lines, pattern, times):
    assert sum(bool(re.match(PREFIX + pattern, line)) for line in lines) == times


def test_the_end_of_a_shown_interval_gets_a_last_loss(capsys):
    SGDSolver(dummy_solver("max_iter: 4 display: 2 snapshot_after_train: false")).solve()
    assert re.search(rf"\] Iteration 4, loss = {NUMBER}\n", capsys.readouterr().err)


def test_a_snapshot_is_told_with_its_files(capsys, tmp_path):
    solver = SGDSolver(dummy_solver(f'snapshot_prefix: "{tmp_path}/x"'))
    solver.snapshot()
    said = capsys.readouterr().err
    assert f"Snapshotting to binary proto file {tmp_path}/x_iter_0.caffemodel\n" in said
    assert f"Snapshotting solver state to binary proto file {tmp_path}/x_iter_0.solverstate\n" in said


class Terminal(io.StringIO):
    """A stdout that says it is a terminal."""

    def isatty(self):
        return True


def test_no_bar_is_drawn_where_stdout_is_no_terminal(capsys):
    with Progress(10, 0, 8) as progress:
        progress.advance(0.5)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_a_bar_shows_iteration_loss_and_examples_per_second(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    with Progress(4, 0, 8) as progress:
        for _ in range(4):
            progress.advance(0.5)
    assert "iteration 4/4, loss 0.5" in terminal.getvalue()
    assert "32.0/32.0" in terminal.getvalue()
    assert "examples/s" in terminal.getvalue()


def test_log_lines_are_whole_lines_above_the_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(4, 0, 8) as progress:
        progress.advance(0.5)
        logger.info("Iteration %d, lr = %g", 1, 0.25)
        progress.advance(0.5)
    written = [line.rpartition("\r")[2] for line in terminal.getvalue().split("\n")]
    assert [line for line in written if re.match(PREFIX + r"Iteration 1, lr = 0\.25$", line)]


def test_a_log_that_nobody_reads_any_more_does_not_end_the_training(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    solver = SGDSolver(dummy_solver("display: 1"))
    solver.step(2)
    assert solver.iter == 2
