"""tools/time_net.py as users call it: the lines of `caffe time`."""

import re

import pytest
from tiny_training import DUMMY_NET
from tool_call import ROOT, call, only_line

TOOL = "time_net"
PREFIX = r"^I\d{4} \S+ +\d+ \w+\.py:\d+\] "
LAYERS = ["data", "conv", "relu", "drop", "ip", "loss"]


def said(folder, *arguments):
    """What a call on DUMMY_NET logs, without the prefixes."""
    (folder / "net.prototxt").write_text(DUMMY_NET)
    finished = call(TOOL, folder, "--model", "net.prototxt", *arguments)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == ""
    return "\n".join(re.sub(PREFIX, "", line) for line in finished.stderr.splitlines())


def milliseconds(text, what):
    """The numbers before `ms.` behind a word."""
    return [float(number) for number in re.findall(rf"{what}: ([\d.e+-]+) ms\.", text)]


def test_every_layer_is_timed_forward_and_backward(tmp_path):
    log = said(tmp_path, "--iterations", 3)
    assert re.findall(r" *(\w+)\tforward: ", log) == re.findall(r" *(\w+)\tbackward: ", log) == LAYERS
    assert re.findall(r"Iteration: (\d+) forward-backward time: [\d.e+-]+ ms\.", log) == ["1", "2", "3"]
    assert log.startswith("*** Benchmark begins ***\nTesting for 3 iterations.\n")
    assert log.endswith("*** Benchmark ends ***")


def test_the_means_are_those_of_the_layers_and_the_total_that_of_the_iterations(tmp_path):
    log = said(tmp_path, "--iterations", 3)
    forward, backward = (sum(milliseconds(log, f"\t{pass_}")) for pass_ in ("forward", "backward"))
    assert milliseconds(log, "Average Forward pass") == pytest.approx([forward], rel=1e-4)
    assert milliseconds(log, "Average Backward pass") == pytest.approx([backward], rel=1e-4)
    assert milliseconds(log, "Average Forward-Backward") == pytest.approx([forward + backward], rel=1e-4)
    assert milliseconds(log, "Total Time") == pytest.approx([3 * (forward + backward)], rel=1e-4)


def test_in_the_test_phase_only_forward_passes_are_timed(tmp_path):
    log = said(tmp_path, "--iterations", 1, "--phase", "TEST")
    assert "accuracy\tforward" in log
    assert "ackward" not in log


def test_a_net_without_a_loss_is_run_backward_all_the_same(tmp_path):
    shape = ("--shape", "data=1,3,64,64", "--iterations", 1)
    finished = call(TOOL, tmp_path, "--model", ROOT / "prototxt/demo/deploy.prototxt", *shape)
    assert milliseconds(finished.stderr, "conv1_1\tbackward")[0] > 0.01


def test_bad_input_ends_in_one_line(tmp_path):
    assert "gone" in only_line(call(TOOL, tmp_path, "--model", "gone"), TOOL)


def test_no_iteration_at_all_is_refused(tmp_path):
    finished = call(TOOL, tmp_path, "--model", "net.prototxt", "--iterations", 0)
    assert finished.returncode == 2 and "--iterations: '0' is no whole number from 1 on" in finished.stderr
