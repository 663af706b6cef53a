"""tools/plot_log.py as users call it."""

import sys

import pytest
from tiny_training import write_dummy_solver
from tool_call import call, only_line

TOOL = "plot_log"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with the log and the table of a run."""
    folder = tmp_path_factory.mktemp("run")
    solver = write_dummy_solver(folder, "display: 2 test_iter: 1 test_interval: 4")
    (folder / "train.log").write_text(call("train_net", folder, "--solver", solver, "--csv", "run.csv").stderr)
    return folder


@pytest.fixture
def drawn(monkeypatch):
    """The figures that a call draws, kept open for a look."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figures = []
    monkeypatch.setattr(pyplot, "close", figures.append)
    yield figures
    monkeypatch.undo()
    pyplot.close("all")


def test_several_runs_in_one_picture(runs, drawn):
    finished = call(TOOL, runs, "train.log", "run.csv", "--output", "curves.png")
    assert finished.returncode == 0, finished.stderr
    assert (runs / "curves.png").read_bytes().startswith(b"\x89PNG")
    loss, accuracy, rate = drawn[0].axes
    assert [axis.get_title() for axis in drawn[0].axes] == ["loss", "accuracy", "learning rate"]
    assert [line.get_label() for line in loss.lines] == [
        "train.log", "train.log: test/loss", "run.csv", "run.csv: test/loss",
    ]  # fmt: skip
    assert [line.get_label() for line in accuracy.lines] == ["train.log: test/accuracy", "run.csv: test/accuracy"]
    assert list(rate.lines[0].get_xdata()) == [0, 2, 4, 6]
    assert list(rate.lines[0].get_ydata()) == pytest.approx([0.05] * 4)


def test_a_picture_shows_only_what_the_log_tells(tmp_path, drawn):
    (tmp_path / "log").write_text("Iteration 0, loss = 2\nIteration 20, loss = 1\n")
    assert call(TOOL, tmp_path, "log", "--output", "curves.svg").returncode == 0
    assert [axis.get_title() for axis in drawn[0].axes] == ["loss"]
    assert "<svg" in (tmp_path / "curves.svg").read_text()


def test_bad_input_ends_in_one_line(tmp_path):
    (tmp_path / "empty").touch()
    assert "empty: holds no training" in only_line(call(TOOL, tmp_path, "empty", "--output", "x.png"), TOOL)
    assert "gone: No such file" in only_line(call(TOOL, tmp_path, "gone", "--output", "x.png"), TOOL)


@pytest.mark.parametrize("name", ["x.xyz", "x"])
def test_a_suffix_of_no_picture_is_told_with_those_that_are(runs, name):
    pytest.importorskip("matplotlib")
    said = only_line(call(TOOL, runs, "run.csv", "--output", name), TOOL)
    assert f"{name}: no form of picture that matplotlib writes; give one of ." in said
    assert ".pdf, " in said and ".png, " in said and ".svg" in said


def test_a_picture_that_cannot_be_written_to_its_end_is_named_and_the_earlier_one_stays(runs, monkeypatch):
    figures = pytest.importorskip("matplotlib.figure")

    def cut_off(figure, file, **options):
        (file.write if hasattr(file, "write") else (runs / file).write_bytes)(b"half")
        raise OSError(28, "No space left on device")

    (runs / "full.png").write_bytes(b"earlier")
    monkeypatch.setattr(figures.Figure, "savefig", cut_off)
    said = only_line(call(TOOL, runs, "run.csv", "--output", "full.png"), TOOL)
    assert said.endswith("full.png: cannot be written (No space left on device)")
    assert [path.read_bytes() for path in runs.glob("full*")] == [b"earlier"]


def test_without_matplotlib_the_line_says_how_to_install_it(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert only_line(call(TOOL, runs, "run.csv", "--output", "x.png"), TOOL).endswith("pip install 'deconvnet[plot]'")
