"""The figures in the README are those of the committed results files."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import reference
from arrays import numbers

from deconvnet.core.proto import read_solver

ROOT = Path(__file__).resolve().parents[2]
compare_cpu = runpy.run_path(str(ROOT / "benchmarks" / "compare_cpu.py"))
render_gpu = runpy.run_path(str(ROOT / "benchmarks" / "render_gpu.py"))
MARKS = "before\n<!-- gpu table -->\nold\n<!-- end -->\nafter"


@pytest.fixture(scope="module")
def accuracy():
    """benchmarks/accuracy_of_layers.py, which imports what lies beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield runpy.run_path(str(ROOT / "benchmarks" / "accuracy_of_layers.py"))


@pytest.mark.parametrize("suite", compare_cpu["RESULTS"])
def test_the_readmes_tables_are_those_of_the_results_files(suite):
    result = json.loads(compare_cpu["RESULTS"][suite].read_text())
    assert compare_cpu["render"](suite, result) == (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "name, column, words",
    [
        ("cpu_xeon", "ratio", "DeconvNet took {} of PyTorch's time"),
        ("cpu_nets_xeon", "ratio", "well-known nets {},"),
        ("cpu_nets_xeon", "caffe_ratio", "{} of Caffe's"),
        ("cpu_avx2", "ratio", "without AVX-512, DeconvNet took {} of PyTorch's time"),
        ("cpu_nets_avx2", "ratio", "the well-known nets {},"),
        ("cpu_nets_avx2", "caffe_ratio", "{} of Caffe's"),
    ],
)
def test_what_the_readme_says_of_another_processor_is_what_its_results_files_hold(name, column, words):
    text = " ".join((ROOT / "README.md").read_text().split())
    result = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    ratios = [row[column] for row in result["rows"]]
    assert words.format(f"{min(ratios):.2f} to {max(ratios):.2f}") in text
    commit = result["commit"].removesuffix("-dirty")  # by the results of the suite before it, which lay there
    assert f"`{name}.json`" in text.replace("benchmarks/results/", "") and f"commit {commit}" in text


def test_the_gpu_tables_of_the_pages_are_those_of_the_results_files():
    found = render_gpu["results"]()
    for page, table in (("README.md", render_gpu["summary"]), ("docs/gpu.md", render_gpu["page_table"])):
        text = (ROOT / page).read_text()
        assert text.count("<!-- gpu table -->") == 1
        assert render_gpu["render"](text, found, table) == text


def test_without_a_results_file_no_figure_of_a_gpu_is_shown():
    assert render_gpu["render"](MARKS, []) == MARKS.replace("old", render_gpu["NONE_YET"])


def rows(ratio, processor="X", rounds=3, work="forward"):
    run = {"best_s": 3.0, "peak_gb": 1.5}
    row = {"work": work, "batch": 1, "threads": 2, "ours": [run] * rounds, "peer": [run] * rounds, "ratio": ratio}
    return {"processor": processor, "rows": [row]}


def test_a_slowdown_of_more_than_a_tenth_against_the_peer_is_told():
    assert compare_cpu["slower_rows"](rows(0.30), rows(0.34)) == [
        "forward, batch 1, 2 threads: 0.30 -> 0.34 of the peer"
    ]


def test_less_than_that_or_another_processor_is_not_told():
    assert compare_cpu["slower_rows"](rows(0.30), rows(0.32)) == []
    assert compare_cpu["slower_rows"](rows(0.30, "Y"), rows(0.60)) == []


def test_nor_is_a_row_of_one_round():
    assert compare_cpu["slower_rows"](rows(0.30), rows(0.60, rounds=1)) == []


def test_the_speed_on_images_is_told_as_images_a_minute():
    assert compare_cpu["cells"](rows(0.3, work="image")["rows"][0])[2] == "20.0 a minute, 1.50 GB"


def test_where_caffe_was_measured_too_it_has_columns_of_its_own():
    result = rows(0.5, work="AlexNet forward")
    assert "Caffe" not in compare_cpu["tables"](result)
    (row,) = result["rows"]
    row |= {"caffe": [{"best_s": 12.0, "peak_gb": 2.0}], "caffe_ratio": 0.25}
    assert compare_cpu["cells"](row)[2:] == ["3.00 s, 1.50 GB", "3.00 s, 1.50 GB", "12.00 s, 2.00 GB", "0.50", "0.25"]
    assert "PyTorch | Caffe 1.0 | ours / PyTorch, time | ours / Caffe |" in compare_cpu["tables"](result)


def test_numbers_of_threads_that_the_machine_lacks_are_told():
    assert "Not measured, for want of processors: 1, 4 threads." in compare_cpu["tables"](rows(0.3))


def test_the_kept_curve_is_of_the_demos_stage_1_as_its_solver_file_stands():
    solver = read_solver(ROOT / "solver" / "demo_stage1.prototxt")
    curve = json.loads((ROOT / "benchmarks" / "results" / "demo_stage1.json").read_text())["loss"]
    assert [iteration for iteration, _ in curve] == list(range(0, solver.max_iter + 1, solver.display))
    assert curve[-1][1] < 0.3 * curve[0][1]


@pytest.mark.parametrize("ratio, status", [(0.32, 0), (0.34, 1)])
def test_check_ends_with_status_1_after_a_slowdown_and_writes_the_results_all_the_same(
    monkeypatch, capsys, tmp_path, ratio, status
):
    main, written = compare_cpu["main"], tmp_path / "cpu.json"
    monkeypatch.setitem(main.__globals__, "committed", lambda suite, file: rows(0.30))
    monkeypatch.setitem(main.__globals__, "measure_all", lambda suite, peer, caffe: rows(ratio))
    monkeypatch.setattr("sys.argv", ["compare_cpu.py", "deconvnet", "--check", "--out", str(written)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == status
    assert ("SLOWER" in capsys.readouterr().out) == bool(status)
    assert json.loads(written.read_text()) == rows(ratio)


def test_the_accuracy_in_the_docs_is_that_of_the_results_file_and_within_the_limits(accuracy):
    result = json.loads((ROOT / "benchmarks" / "results" / "accuracy.json").read_text())
    assert accuracy["render"](result) == (ROOT / "docs" / "winograd.md").read_text()
    assert accuracy["crossed"](result) == []
    assert len(result["layers"]) == 30


@pytest.mark.parametrize("transposed", [False, True])
def test_the_definition_that_accuracy_is_measured_against_is_the_plain_loops(accuracy, transposed):
    x, weights, dy = numbers(2, 5, 6), numbers(2, 3, 3, 3) if transposed else numbers(3, 2, 3, 3), numbers(3, 5, 6)
    layer = SimpleNamespace(
        transposed=transposed,
        blobs=[SimpleNamespace(data=weights), SimpleNamespace(data=numbers(3))],
        geometry=SimpleNamespace(pad=(1, 1)),
    )
    y, dx, dweights = accuracy["expected"](layer, x, dy)
    run = reference.deconv if transposed else reference.conv
    np.testing.assert_allclose(y, run(x[None], weights, numbers(3), pad=(1, 1))[0], atol=1e-12)
    # both gradients are those of the sum of y * dy, which is linear in x and in the weights
    for found, change in ((dx, 0), (dweights, 1)):
        step = numbers(*found.shape, seed=1)
        moved = run(step[None], weights, pad=(1, 1)) if change == 0 else run(x[None], step, pad=(1, 1))
        np.testing.assert_allclose((found * step).sum(), (moved[0] * dy).sum(), atol=1e-11)


def test_an_error_beyond_its_limit_is_told(accuracy):
    row = {"layer": "conv9", "forward": 2e-5, "dx": 1e-6, "dweights": float("nan")}
    result = {"layers": [row], "score": {"same_switches": [1e-6, 2e-3]}}
    assert accuracy["crossed"](result) == ["conv9: forward 2.0e-05", "conv9: dweights nan", "score 2.0e-03"]
