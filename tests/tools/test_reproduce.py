"""The reproduction's plan, book-keeping and tables; its trainings themselves are `make reproduce`."""

import json
from pathlib import Path

import pytest
import reproduce
import reproduce_table
import reproduce_training
from reproduce_training import Run, train_all

from deconvnet.core.proto import read_net, read_solver
from deconvnet.core.solver import SolverError

ROOT = Path(__file__).resolve().parents[2]
# what score_seed measures of one seed's pair of nets
SCORED_TOGETHER = {
    *reproduce_table.ROWS.values(), "DeconvNet, 50 proposals, sum", "DeconvNet+CRF, distances scaled",
    "DeconvNet, windows at all scales, max", "DeconvNet, windows at all scales, sum", "EDeconvNet as released",
    "EDeconvNet as released+CRF", "DeconvNet, plain bilinear resizing", "statistics of the proposals at hand",
    "variance as the release folds it",
}  # fmt: skip
LISTS = ("train.txt", "val.txt")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with example lists; trainings are recorded and leave the files that real ones would."""
    monkeypatch.chdir(ROOT)
    for name in LISTS:
        (tmp_path / name).write_text("/a.jpg /a.png\n")
    calls = []

    def call(tool, arguments, log):
        arguments = [str(a) for a in arguments]
        calls.append((tool, arguments))
        if tool == "train_net.py":
            solver = read_solver(arguments[arguments.index("--solver") + 1])
            Path(f"{solver.snapshot_prefix}_iter_{solver.max_iter}.caffemodel").write_text("trained")
        else:
            Path(arguments[arguments.index("--output") + 1]).write_text("folded")
        return 1.5

    monkeypatch.setattr(reproduce_training, "call", call)
    return tmp_path, calls


def stage(number, **changes):
    return Run(f"net_{number}", f"solver/demo_stage{number}.prototxt", LISTS, **changes)


def trained(calls):
    return [Path(a[a.index("--solver") + 1]).parent.name for tool, a in calls if tool == "train_net.py"]


def test_a_runs_files_are_the_committed_ones_with_its_changes(place):
    out, _ = place
    stage(2, seed=7, batch=4, solver_changes={"max_iter": 50, "iter_size": 2}).write(out, out)
    solver = read_solver(out / "runs/net_2/solver.prototxt")
    committed = read_solver("solver/demo_stage2.prototxt")
    assert (solver.random_seed, solver.max_iter, solver.iter_size) == (7, 50, 2)
    assert (solver.base_lr, solver.momentum, solver.lr_policy) == (
        committed.base_lr, committed.momentum, committed.lr_policy,
    )  # fmt: skip
    train, val = read_net(solver.net).layer[:2]
    assert train.image_data_param.source == str(out / "train.txt") and train.image_data_param.batch_size == 4
    assert val.image_data_param.source == str(out / "val.txt") and val.image_data_param.batch_size == 20


def test_a_list_of_windows_is_read_as_windows_and_one_of_images_as_images(place):
    out, _ = place
    (out / "train.txt").write_text("/a.jpg /a.png 0 0 9 9\n")
    stage(1).write(out, out)
    train, val = read_net(out / "runs/net_1/net.prototxt").layer[:2]
    assert (train.type, val.type) == ("WindowSegData", "ImageSegData")


def test_without_batch_norm_every_other_layer_stays(place):
    out, _ = place
    stage(2, batch_norm=False).write(out, out)
    before = [layer.name for layer in read_net("prototxt/demo/stage2_train_val.prototxt").layer if layer.type != "BN"]
    assert [layer.name for layer in read_net(out / "runs/net_2/net.prototxt").layer] == before


def test_a_run_starts_from_the_weights_as_trained_not_as_folded(place):
    out, calls = place
    first = stage(1)
    train_all([first, stage(2, start="net_1")], out, out, jobs=2, said=lambda line: None)
    assert trained(calls) == ["net_1", "net_2"]
    (second,) = [a for tool, a in calls if tool == "train_net.py" and "net_2" in a[1]]
    assert second[second.index("--weights") + 1] == str(first.snapshot(out))


def test_what_is_trained_is_kept_and_a_changed_start_or_list_is_trained_again(place):
    out, calls = place
    runs = [stage(1), stage(2, start="net_1")]
    first = train_all(runs, out, out, jobs=1, said=lambda line: None)
    calls.clear()
    assert train_all(runs, out, out, jobs=1, said=lambda line: None) == first and not calls
    train_all([stage(1, seed=5), stage(2, start="net_1")], out, out, jobs=1, said=lambda line: None)
    assert trained(calls) == ["net_1", "net_2"]
    calls.clear()
    (out / "val.txt").write_text("/b.jpg /b.png\n")
    train_all([stage(1, seed=5)], out, out, jobs=1, said=lambda line: None)
    assert trained(calls) == ["net_1"]


@pytest.mark.parametrize("left", ["", "[1]", '{"dig'])
def test_a_run_that_was_killed_is_not_done(tmp_path, left):
    (tmp_path / "done.json").write_text(left)
    assert reproduce_training.read_done(tmp_path / "done.json") == {}
    assert reproduce_training.read_done(tmp_path / "absent.json") == {}


def test_every_line_of_the_pages_has_a_net_or_a_variant_that_scores_it():
    runs = {run.name: run for run in reproduce.plan(seeds=3)}
    trained_apart = reproduce.variants(runs)
    for what, variant, against in (*reproduce.ABLATIONS, *reproduce.SWITCHES):
        assert variant in trained_apart or variant in SCORED_TOGETHER, what
        assert against is None or against in trained_apart or against in SCORED_TOGETHER, what
    drawn = {variant for _, variant, _ in (*reproduce.ABLATIONS, *reproduce.SWITCHES)}
    assert set(trained_apart) - drawn <= {"short"}


def test_a_run_comes_after_the_one_it_starts_from():
    names = [run.name for run in reproduce.plan(seeds=2)]
    for run in reproduce.plan(seeds=2):
        assert run.start is None or names.index(run.start) < names.index(run.name)


def test_a_failed_run_ends_it_all_and_keeps_what_was_done(place, monkeypatch):
    out, calls = place
    working = reproduce_training.call

    def failing(tool, arguments, log):
        if "net_2" in str(arguments):
            raise SolverError("tools/train_net.py ended with status 1")
        return working(tool, arguments, log)

    monkeypatch.setattr(reproduce_training, "call", failing)
    with pytest.raises(SolverError, match="ended with status 1"):
        train_all([stage(1), stage(2, start="net_1")], out, out, jobs=2, said=lambda line: None)
    assert json.loads((out / "runs/net_1/done.json").read_text())["seconds"] == 3
    assert not (out / "runs/net_2/done.json").exists()


def test_a_tool_that_fails_is_told_by_its_last_line_and_its_log(tmp_path):
    log = tmp_path / "train.log"
    with pytest.raises(SolverError, match=r"train_net.py ended with status 1: .*none.prototxt.* \(its log: .*\)"):
        reproduce_training.call("train_net.py", ["--solver", "none.prototxt"], log)


def results(**mean_ious):
    """A results file's scores; keys with _ for + as Python names need it."""
    scores = {name: {"mean_iou": values, "pixel_accuracy": [0.9] * len(values)} for name, values in mean_ious.items()}
    return {"scores": scores}


def table_of(fcn, ours, crf, both, both_crf):
    found = results(FCN=fcn, DeconvNet=ours, EDeconvNet=both)
    more = {"DeconvNet+CRF": crf, "EDeconvNet+CRF": both_crf}
    found["scores"].update({k: {"mean_iou": v, "pixel_accuracy": [0.9] * len(v)} for k, v in more.items()})
    return found


def test_the_table_has_the_papers_rows_with_mean_and_spread():
    table = reproduce_table.main_table(table_of([0.5, 0.6], [0.7, 0.7], [0.71, 0.73], [0.7, 0.8], [0.8, 0.8]))
    assert "| FCN-8s | 55.0 ± 7.1 | 90.0 ± 0.0 | 2 | 62.2 |" in table
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [
        f"| {row}" for row in reproduce_table.PUBLISHED
    ]


def test_an_order_unlike_the_papers_is_said_with_whether_it_exceeds_the_spread():
    text = reproduce_table.order_against_paper(
        table_of([0.8, 0.8], [0.7, 0.7], [0.71, 0.71], [0.7, 0.74], [0.72, 0.72])
    )
    lines = text.splitlines()
    assert "DeconvNet lies 10.0 points below FCN-8s, unlike the paper (+7.4 there); more than the spread" in lines[0]
    assert "above DeconvNet, as in the paper" in lines[1]
    assert "EDeconvNet lies 1.0 points above DeconvNet+CRF" in lines[2] and "not more than the spread" in lines[2]


def test_an_ablation_is_compared_seed_by_seed_with_its_own_baseline():
    found = results(DeconvNet=[0.7, 0.8, 0.9], base=[0.5], other=[0.4])
    table = reproduce_table.ablation_table(found, [("a change", "other", "base"), ("another", "other", None)])
    assert "| a change | 40.0 | -10.0 | 1 |" in table and "| another | 40.0 | -30.0 | 1 |" in table


def test_the_pages_show_the_results_file(tmp_path):
    (tmp_path / "docs").mkdir()
    pages = ("README.md", "docs/reproduction.md")
    for page in pages:
        (tmp_path / page).write_text((ROOT / page).read_text())
    reproduce.render(json.loads(reproduce.RESULTS.read_text()), tmp_path)
    for page in pages:
        assert (tmp_path / page).read_text() == (ROOT / page).read_text()
