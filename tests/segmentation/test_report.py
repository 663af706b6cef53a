import numpy as np
import pytest

from deconvnet.core.segmentation import report

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
I0102 10:00:02.000000  4321 solver.cpp:218] Iteration 20 (4.1 iter/s, 4.9s/20 iters), loss = 6.1e-01
I0102 10:00:03.000000  4321 solver.cpp:330] Iteration 40, Testing net (#0)
I0102 10:00:03.100000  4321 solver.cpp:397]     Test net output #0: seg-accuracy = 0.75
I0102 10:00:04.000000  4321 solver.cpp:310] Iteration 40, loss = nan
"""


def test_a_log_in_caffes_form_gives_loss_and_the_first_test_nets_outputs(tmp_path):
    (tmp_path / "log").write_text(LOG)
    curves = report.read_log(tmp_path / "log")
    assert curves.loss[:2] == [(0, 1.95), (20, 0.61)]
    assert curves.loss[2][0] == 40 and np.isnan(curves.loss[2][1])
    assert curves.test == {"seg-accuracy": [(0, 0.125), (40, 0.75)], "seg-loss": [(0, 1.9)]}


def test_only_loss_lines_report_progress():
    found = [report.loss_line(line) for line in LOG.splitlines()]
    assert [f for f in found if f][:2] == [(0, 1.95), (20, 0.61)]
    assert sum(f is not None for f in found) == 3


@pytest.mark.parametrize("count", [1, 3])
def test_the_report_is_a_picture_on_disk(tmp_path, count):
    (tmp_path / "log").write_text(LOG)
    label = np.full((12, 16), 255, np.uint8)
    shown = [(np.zeros((12, 16, 3), np.uint8), label, np.zeros((12, 16), np.uint8))] * count
    curves = {"stage 1": report.read_log(tmp_path / "log"), "stage 2": report.Curves()}
    report.draw_report(tmp_path / "out" / "report.png", shown, ["background", "disc"], curves, title="a title")
    assert (tmp_path / "out" / "report.png").read_bytes().startswith(b"\x89PNG")
