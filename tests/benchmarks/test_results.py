"""The figures in the README are those of the committed results files."""

import json
import runpy
from pathlib import Path

from deconvnet.core.proto import read_solver

ROOT = Path(__file__).resolve().parents[2]
compare_cpu = runpy.run_path(str(ROOT / "benchmarks" / "compare_cpu.py"))


def test_the_readmes_table_is_that_of_the_results_file():
    result = json.loads((ROOT / "benchmarks" / "results" / "cpu.json").read_text())
    assert "<!-- cpu table -->" in (ROOT / "README.md").read_text()
    assert compare_cpu["render"](result) == (ROOT / "README.md").read_text()


def rows(ratio, processor="X"):
    row = {"work": "forward", "batch": 1, "threads": 2, "ours": [], "peer": [], "ratio": ratio}
    return {"processor": processor, "rows": [row]}


def test_a_slowdown_of_more_than_a_tenth_against_the_peer_is_told():
    assert compare_cpu["slower_rows"](rows(0.30), rows(0.34)) == [
        "forward, batch 1, 2 threads: 0.30 -> 0.34 of the peer"
    ]


def test_less_than_that_or_another_processor_is_not_told():
    assert compare_cpu["slower_rows"](rows(0.30), rows(0.32)) == []
    assert compare_cpu["slower_rows"](rows(0.30, "Y"), rows(0.60)) == []


def test_the_kept_curve_is_of_the_demos_stage_1_as_its_solver_file_stands():
    solver = read_solver(ROOT / "solver" / "demo_stage1.prototxt")
    curve = json.loads((ROOT / "benchmarks" / "results" / "demo_stage1.json").read_text())["loss"]
    assert [iteration for iteration, _ in curve] == list(range(0, solver.max_iter + 1, solver.display))
    assert curve[-1][1] < 0.3 * curve[0][1]
