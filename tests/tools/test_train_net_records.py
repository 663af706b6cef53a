"""tools/train_net.py with files that follow the run."""

from tiny_training import write_dummy_solver
from tool_call import call, only_line

TOOL = "train_net"
FIELDS = "max_iter: 8 display: 2 test_iter: 2 test_interval: 3 snapshot: 4"


def test_a_run_writes_a_table_and_a_resumed_one_continues_it(tmp_path):
    path = write_dummy_solver(tmp_path, FIELDS)
    assert call(TOOL, tmp_path, "--solver", path, "--csv", "run.csv").returncode == 0
    whole = columns(tmp_path / "run.csv")
    assert [row[0] for row in whole] == ["iteration", "0", "2", "3", "4", "6", "8"]
    resumed = ("--snapshot", "snapshots/run_iter_4.solverstate", "--csv", "run.csv")
    assert call(TOOL, tmp_path, "--solver", path, *resumed).returncode == 0
    assert columns(tmp_path / "run.csv") == whole


def columns(path):
    """The cells of each row but its seconds."""
    return [[cell for i, cell in enumerate(line.split(",")) if i != 1] for line in path.read_text().splitlines()]


def test_a_table_that_is_there_or_cannot_be_made_ends_in_one_line_before_anything_is_built(tmp_path):
    path = write_dummy_solver(tmp_path, FIELDS)
    (tmp_path / "run.csv").write_text("kept")
    said = only_line(call(TOOL, tmp_path, "--solver", path, "--csv", "run.csv"), TOOL)
    assert "run.csv: is there already; name another file for this run, or remove it" in said
    assert (tmp_path / "run.csv").read_text() == "kept"
    said = only_line(call(TOOL, tmp_path, "--solver", path, "--csv", "gone/run.csv"), TOOL)
    assert said.endswith("gone/run.csv: No such file or directory")


def test_a_run_writes_events_for_tensorboard(tmp_path):
    path = write_dummy_solver(tmp_path, FIELDS)
    assert call(TOOL, tmp_path, "--solver", path, "--tensorboard", "events").returncode == 0
    (events,) = (tmp_path / "events").iterdir()
    assert b"test/accuracy" in events.read_bytes()
