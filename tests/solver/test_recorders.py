"""Files that follow a run: the table of --csv."""

import csv

import pytest
from tiny_training import dummy_solver

from deconvnet.core.proto import caffe_pb2, parse
from deconvnet.core.solver import CsvRecorder, SGDSolver, SolverError, names_of

FIELDS = "max_iter: 8 display: 2 test_iter: 2 test_interval: 3 random_seed: 1"


def record(path, solver, state=None, resumed=False):
    recorder = CsvRecorder(str(path), resumed)
    recorder.begin(names_of(solver))
    solver.listeners.append(recorder)
    solver.solve(state)
    recorder.close()
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture
def fields(tmp_path):
    return f'{FIELDS} snapshot_prefix: "{tmp_path}/x"'


def test_a_row_for_each_iteration_that_shows_or_tests(tmp_path, fields):
    rows = record(tmp_path / "run.csv", SGDSolver(dummy_solver(fields)))
    assert list(rows[0]) == ["iteration", "seconds", "lr", "loss", "train/loss", "test/accuracy", "test/loss"]
    assert [row["iteration"] for row in rows] == ["0", "2", "3", "4", "6", "8"]
    assert [row["iteration"] for row in rows if row["test/accuracy"]] == ["0", "3", "6"]
    assert [row["iteration"] for row in rows if row["train/loss"]] == ["0", "2", "4", "6"]
    assert {row["lr"] for row in rows if row["lr"]} == {"0.05"}
    assert sorted(rows, key=lambda row: float(row["seconds"])) == rows


def test_the_values_are_those_that_the_solver_had(tmp_path, fields):
    solver, told = SGDSolver(dummy_solver(fields)), {}
    solver.listeners.append(lambda iteration, values: told.setdefault(iteration, {}).update(values))
    for row in record(tmp_path / "run.csv", solver):
        values = {name: float(row[name]) for name in list(row)[2:] if row[name]}
        assert values == pytest.approx(told[int(row["iteration"])], rel=1e-6)


def test_a_row_is_on_the_disk_as_soon_as_its_values_are_told(tmp_path):
    recorder = CsvRecorder(str(tmp_path / "run.csv"))
    recorder.begin(["a", "b"])
    for iteration, values, last in [(0, {"a": 1}, "1,"), (0, {"b": 2.5}, "1,2.5"), (20, {"b": 3}, ",3")]:
        recorder(iteration, values)
        assert (tmp_path / "run.csv").read_text().endswith(f",{last}\n")


def test_a_resumed_run_continues_the_table_of_the_undisturbed_one(tmp_path, fields):
    whole = record(tmp_path / "run.csv", SGDSolver(dummy_solver(f"{fields} snapshot: 4")))
    solver = SGDSolver(dummy_solver(fields))
    rows = record(tmp_path / "run.csv", solver, tmp_path / "x_iter_4.solverstate", resumed=True)
    assert [{**row, "seconds": 0} for row in rows] == [{**row, "seconds": 0} for row in whole]
    assert rows[:3] == whole[:3]
    assert all(float(row["seconds"]) >= float(whole[2]["seconds"]) for row in rows[3:])


@pytest.mark.parametrize("rest", ["4,1.0", "4,1.0,", "x,1,2\n", "5,1.0,7\n6,1.0,", "\0" * 200_000])
def test_what_is_left_of_a_killed_runs_last_row_is_dropped(tmp_path, rest):
    path = tmp_path / "run.csv"
    path.write_text(f"iteration,seconds,a\n2,0.5,6\n{rest}")
    recorder = CsvRecorder(str(path), resumed=True)
    recorder.begin(["a"])
    recorder(4, {"a": 9})
    rows = path.read_text().splitlines()
    assert rows[:2] == ["iteration,seconds,a", "2,0.5,6"]
    assert len(rows) == 3 and rows[2].startswith("4,") and rows[2].endswith(",9")


def test_a_blob_of_several_values_has_a_column_for_each(tmp_path):
    per_class = 'layer { name: "a" type: "Accuracy" bottom: "ip" bottom: "label" top: "all" top: "class" }'
    solver = SGDSolver(dummy_solver("max_iter: 1 display: 1 snapshot_after_train: false"))
    solver.param.net_param.layer.add().CopyFrom(_layer(per_class))
    solver = SGDSolver(solver.param)
    (row, _) = record(tmp_path / "run.csv", solver)
    assert [name for name in row if "class" in name] == ["train/class", "train/class[1]", "train/class[2]"]
    assert all(row[name] for name in row)


def _layer(text):
    return parse(text, caffe_pb2.NetParameter()).layer[0]


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    (tmp_path / "run.csv").write_text("kept")
    with pytest.raises(SolverError, match=r"run\.csv: is there already; name another file"):
        CsvRecorder(str(tmp_path / "run.csv"))
    recorder = CsvRecorder(str(tmp_path / "run.csv"), resumed=True)
    with pytest.raises(SolverError, match="its columns are not those of this run"):
        recorder.begin(["a"])
    assert (tmp_path / "run.csv").read_text() == "kept"


def test_a_disk_that_is_full_from_the_start_is_named(tmp_path):
    recorder = CsvRecorder(str(tmp_path / "run.csv"))
    recorder._file = open("/dev/full", "wb+", buffering=0)
    with pytest.raises(SolverError, match=r"run\.csv: cannot be written \(No space left on device\)"):
        recorder.begin(["a"])


def test_a_disk_that_is_full_is_said_once_and_does_not_end_the_training(tmp_path, fields, capsys):
    solver, recorder = SGDSolver(dummy_solver(fields)), CsvRecorder(str(tmp_path / "run.csv"))
    recorder.begin(names_of(solver))
    solver.listeners.append(recorder)
    recorder._file = open("/dev/full", "wb+", buffering=0)
    solver.step(5)
    assert solver.iter == 5
    assert capsys.readouterr().err.count("run.csv: No space left on device; the training goes on without") == 1
