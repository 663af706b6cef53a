import numpy as np
import pytest

from deconvnet.core.segmentation import report
from deconvnet.core.solver import read_log

LOG = """\
I0102 10:00:00.000000  4321 solver.cpp:330] Iteration 0, Testing net (#0)
I0102 10:00:00.100000  4321 solver.cpp:397]     Test net output #0: seg-accuracy = 0.125
I0102 10:00:01.000000  4321 solver.cpp:218] Iteration 0 (-1.1 iter/s, 0s/20 iters), loss = 1.95
I0102 10:00:02.000000  4321 solver.cpp:218] Iteration 20 (4.1 iter/s, 4.9s/20 iters), loss = 6.1e-01
"""


@pytest.mark.parametrize("count", [1, 3])
def test_the_report_is_a_picture_on_disk(tmp_path, count):
    (tmp_path / "log").write_text(LOG)
    label = np.full((12, 16), 255, np.uint8)
    shown = [(np.zeros((12, 16, 3), np.uint8), label, np.zeros((12, 16), np.uint8))] * count
    curves = {"stage 1": read_log(tmp_path / "log"), "stage 2": {}}
    report.draw_report(tmp_path / "out" / "report.png", shown, ["background", "disc"], curves, title="a title")
    assert (tmp_path / "out" / "report.png").read_bytes().startswith(b"\x89PNG")
