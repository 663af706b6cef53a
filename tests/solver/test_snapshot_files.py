"""The files of snapshots: no kill or full disk breaks the newest pair, and the newest whole one is found again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_training import dummy_solver

from deconvnet.core.proto import caffe_pb2
from deconvnet.core.solver import SGDSolver, SolverError, find_snapshot, read_state
from deconvnet.core.solver.snapshot_files import check_pair

FORMS = ["BINARYPROTO", "HDF5"]


def solver_in(folder, fields="", name="x"):
    return SGDSolver(dummy_solver(f'snapshot_prefix: "{folder}/{name}" random_seed: 1 {fields}'))


def train(folder, *iterations, fields="", name="x"):
    """Snapshots at these iterations; returns the solver."""
    solver = solver_in(folder, fields, name)
    for iteration in iterations:
        solver.step(iteration - solver.iter)
        solver.snapshot()
    return solver


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def pairs(*iterations, name="x", end=""):
    kinds = ("caffemodel", "solverstate")
    return sorted(f"{name}_iter_{iteration}.{kind}{end}" for iteration in iterations for kind in kinds)


def end_of(form):
    return ".h5" if form == "HDF5" else ""


# --------------------------------------------------------------------------------------------------------- writing


def test_both_files_are_on_disk_before_either_takes_its_place_and_the_model_comes_first(tmp_path, monkeypatch):
    done = []
    flush, replace = os.fsync, os.replace

    def recorded_flush(descriptor):
        done.append(("flush", os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))))
        flush(descriptor)

    def recorded_replace(source, target):
        done.append(("rename", os.path.basename(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_flush)
    monkeypatch.setattr(os, "replace", recorded_replace)
    train(tmp_path, 0)
    folder, model, state = ("flush", tmp_path.name), "x_iter_0.caffemodel", "x_iter_0.solverstate"
    assert done == [
        *(("flush", f"{file}.{os.getpid()}.part") for file in (model, state)),
        *(("rename", model), folder),
        *(("rename", state), folder),
    ]


class Failing:
    """A function that raises at its call of that number and works before and after."""

    def __init__(self, function, number, error):
        self.function, self.left, self.error = function, number, error

    def __call__(self, *arguments):
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.function(*arguments)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("number, file", [(1, "caffemodel"), (2, "solverstate")])
def test_a_file_that_cannot_be_written_is_one_line_and_all_files_are_as_before(
    tmp_path, monkeypatch, form, number, file
):
    solver = train(tmp_path, 1, 2, fields=f"snapshot_format: {form}")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    # over the pair that is there, and beside it
    for iteration in (2, 3):
        solver.step(iteration - solver.iter)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", Failing(os.fsync, number, OSError(28, "No space left on device")))
            with pytest.raises(SolverError) as said:
                solver.snapshot()
        path = tmp_path / f"x_iter_{iteration}.{file}{end_of(form)}"
        assert str(said.value) == (
            f"the snapshot {path} cannot be written: No space left on device; the snapshots before it are whole"
        )
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    solver.snapshot()
    assert find_snapshot(str(tmp_path / "x")) == str(tmp_path / f"x_iter_3.solverstate{end_of(form)}")


# in a process of its own: kills itself before step STEP of writing a second snapshot of iteration 1
KILLED = """
import os, signal, sys
from test_snapshot_files import solver_in

folder, step = sys.argv[1], int(sys.argv[2])
solver = solver_in(folder)
solver.step(1)
left = step

def counted(function):
    def call(*arguments):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return call

for name in ("fsync", "replace", "remove"):
    setattr(os, name, counted(getattr(os, name)))
solver.snapshot()
"""
# remove the probe, flush both, remove the old state, rename and flush the folder twice
STEPS = 8


def kill_at(folder, step):
    """The status of such a process."""
    tests = Path(__file__).resolve().parents[1]
    places = os.pathsep.join(map(str, (tests.parent, tests, tests / "solver")))
    command = [sys.executable, "-c", KILLED, str(folder), str(step)]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": places}, capture_output=True, check=False)


@pytest.mark.parametrize("step", range(STEPS))
def test_a_kill_at_any_step_of_writing_leaves_a_newest_pair_that_is_whole(tmp_path, step):
    train(tmp_path, 0, 1)
    killed = kill_at(tmp_path, step)
    assert killed.returncode == -9, killed.stderr
    found = find_snapshot(str(tmp_path / "x"))
    check_pair(found)
    # only between the old state's removal and the new state's renaming is the older pair the newest
    assert read_state(found).message.iter == (0 if step in (4, 5, 6) else 1)
    solver = solver_in(tmp_path)
    solver.restore(found)
    solver.step(1)
    solver.snapshot()
    assert not [name for name in files(tmp_path) if name.endswith(".part")]


def test_those_are_all_the_steps(tmp_path):
    train(tmp_path, 0, 1)
    finished = kill_at(tmp_path, STEPS)
    assert finished.returncode == 0, finished.stderr


def test_a_kill_while_the_state_is_written_leaves_the_old_pair(tmp_path, monkeypatch):
    solver = train(tmp_path, 0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    solver.step(1)
    solver.iter = 0

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("deconvnet.core.solver.snapshot._write_state", killed)
    with pytest.raises(KeyboardInterrupt):
        solver.snapshot()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_a_killed_run_left_unfinished_is_removed_by_the_next_snapshot_and_nothing_else(tmp_path):
    others = ["x_iter_5.caffemodel", "y_iter_5.caffemodel.part", "x_iter_5.part", "other_x_iter_5.solverstate.part"]
    others.append(f"x_iter_4.caffemodel.{os.getppid()}.part")  # of a run that goes on
    ended = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout.strip()
    parts = [f"x_iter_7.caffemodel.{number}.part" for number in (ended, os.getpid())]
    for name in (*others, *parts, "x_iter_5.solverstate.part", "x_iter_6.caffemodel.h5.part"):
        (tmp_path / name).touch()
    train(tmp_path, 0)
    assert files(tmp_path) == sorted([*pairs(0), *others])


# --------------------------------------------------------------------------------------------------------- keeping


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("keep, left", [(0, (1, 2, 3, 10)), (1, (10,)), (2, (3, 10)), (9, (1, 2, 3, 10))])
def test_snapshot_keep_leaves_so_many_of_the_newest_pairs(tmp_path, form, keep, left):
    train(tmp_path, 1, 2, 3, 10, fields=f"snapshot_format: {form} snapshot_keep: {keep}")
    assert files(tmp_path) == pairs(*left, end=end_of(form))


def test_an_older_pair_is_removed_only_after_the_new_one_is_whole(tmp_path, monkeypatch):
    solver = train(tmp_path, 1, fields="snapshot_keep: 1")
    solver.step(1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", Failing(os.fsync, 2, OSError(28, "No space left on device")))
        with pytest.raises(SolverError):
            solver.snapshot()
    assert files(tmp_path) == pairs(1)
    solver.snapshot()
    assert files(tmp_path) == pairs(2)


def test_snapshots_of_other_runs_later_iterations_and_single_models_are_not_removed(tmp_path):
    train(tmp_path, 1, name="y")
    train(tmp_path, 7)
    (tmp_path / "x_iter_1.caffemodel").touch()
    train(tmp_path, 2, 3, fields="snapshot_keep: 1")
    assert files(tmp_path) == sorted([*pairs(1, name="y"), *pairs(3, 7), "x_iter_1.caffemodel"])


def test_an_old_pair_that_cannot_be_removed_is_a_warning(tmp_path, monkeypatch, capsys):
    solver = train(tmp_path, 1, fields="snapshot_keep: 1")
    solver.step(1)
    # the first file removed is the probe of the folder
    monkeypatch.setattr(os, "remove", Failing(os.remove, 2, PermissionError(13, "Permission denied")))
    solver.snapshot()
    assert f"the old snapshot {tmp_path}/x_iter_1.solverstate cannot be removed: Permission denied" in (
        capsys.readouterr().err
    )
    assert files(tmp_path) == pairs(1, 2)


# --------------------------------------------------------------------------------------------------------- finding


@pytest.mark.parametrize("form", FORMS)
def test_the_newest_is_found_by_prefix_folder_and_name(tmp_path, form, monkeypatch, capsys):
    train(tmp_path, 8, 9, 10, fields=f"snapshot_format: {form}")
    newest = f"x_iter_10.solverstate{end_of(form)}"
    for place in (tmp_path / "x", tmp_path, tmp_path / newest):
        assert find_snapshot(str(place)) == str(tmp_path / newest)
    monkeypatch.chdir(tmp_path)
    assert find_snapshot("x") == newest
    assert find_snapshot(".") == f"./{newest}"
    assert "skipped" not in capsys.readouterr().err


def test_in_a_folder_of_several_runs_the_solvers_own_is_taken_or_one_must_be_named(tmp_path):
    train(tmp_path, 1, name="x")
    train(tmp_path, 2, name="x_iter_3")
    assert find_snapshot(str(tmp_path), "elsewhere/x") == f"{tmp_path}/x_iter_1.solverstate"
    assert find_snapshot(str(tmp_path / "x_iter_3")) == f"{tmp_path}/x_iter_3_iter_2.solverstate"
    with pytest.raises(SolverError, match=f"snapshots of several runs; name one of {tmp_path}/x, {tmp_path}/x_iter_3"):
        find_snapshot(str(tmp_path))


def test_another_runs_snapshots_in_a_folder_are_not_taken_for_the_solvers_own(tmp_path):
    train(tmp_path, 1, name="stage1")
    with pytest.raises(
        SolverError, match=f"no snapshots of this solver's snapshot_prefix 'y/stage2', but of {tmp_path}/stage1; name"
    ):
        find_snapshot(str(tmp_path), "y/stage2")
    assert find_snapshot(str(tmp_path / "stage1"), "y/stage2") == f"{tmp_path}/stage1_iter_1.solverstate"


def test_a_new_run_that_will_overwrite_an_earlier_ones_snapshots_says_so(tmp_path, capsys):
    solver = SGDSolver(dummy_solver(f'snapshot_prefix: "{tmp_path}/x" max_iter: 2'))
    solver.solve()
    assert "earlier run" not in capsys.readouterr().err
    SGDSolver(solver.param).solve()
    said = capsys.readouterr().err
    assert f"{tmp_path}/x_iter_2.solverstate is of an earlier run, whose snapshots this one will overwrite" in said
    assert f"resume from {tmp_path}/x" in said
    SGDSolver(solver.param).solve(f"{tmp_path}/x_iter_2.solverstate")
    assert "earlier run" not in capsys.readouterr().err


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(len(path.read_bytes()) * share)])


DAMAGES = {
    "state cut off": lambda model, state: cut(state, 0.7),
    "state empty": lambda model, state: cut(state, 0),
    "state foreign": lambda model, state: state.write_bytes(b"nonsense"),
    "model cut off": lambda model, state: cut(model, 0.7),
    "model empty": lambda model, state: cut(model, 0),
    "model foreign": lambda model, state: model.write_bytes(os.urandom(model.stat().st_size)),
    "no model": lambda model, state: model.unlink(),
    "no state": lambda model, state: state.unlink(),
    "unfinished": lambda model, state: (model.rename(f"{model}.part"), state.rename(f"{state}.part")),
    "state unfinished": lambda model, state: state.rename(f"{state}.part"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_newer_files_that_are_not_whole_are_skipped_with_one_line_naming_them(tmp_path, form, damage, capsys):
    train(tmp_path, 1, 2, 3, fields=f"snapshot_format: {form}")
    end = end_of(form)
    for iteration in (2, 3):
        DAMAGES[damage](*(tmp_path / name for name in pairs(iteration, end=end)))
    damaged = [name for name in files(tmp_path) if "_iter_1." not in name]
    capsys.readouterr()
    assert find_snapshot(str(tmp_path / "x")) == f"{tmp_path}/x_iter_1.solverstate{end}"
    (line,) = capsys.readouterr().err.splitlines()
    assert f"Resuming from {tmp_path}/x_iter_1.solverstate{end}; newer files are skipped: " in line
    assert all(name in line for name in damaged)


@pytest.mark.parametrize("kind", ["caffemodel", "solverstate"])
def test_a_file_cut_off_anywhere_is_not_whole(tmp_path, kind):
    train(tmp_path, 1, 2)
    path = tmp_path / f"x_iter_2.{kind}"
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert find_snapshot(str(tmp_path / "x")).endswith("x_iter_1.solverstate"), f"{size} of {len(whole)} bytes"


def test_where_no_snapshot_is_whole_every_reason_is_told(tmp_path):
    train(tmp_path, 1, 2)
    (tmp_path / "x_iter_1.caffemodel").unlink()
    cut(tmp_path / "x_iter_2.solverstate", 0.5)
    with pytest.raises(
        SolverError, match="is whole: .*x_iter_2.solverstate: not a whole.*; no such file: .*x_iter_1.caff"
    ):
        find_snapshot(str(tmp_path / "x"))


@pytest.mark.parametrize("place, said", [("x", "no such snapshot: .*/x "), ("", "the folder .* holds no .solverstate")])
def test_where_there_is_no_snapshot_that_is_said(tmp_path, place, said):
    (tmp_path / "x_iter_1.caffemodel").touch()
    with pytest.raises(FileNotFoundError, match=said):
        find_snapshot(str(tmp_path / place))


def test_caffes_own_files_are_found(tmp_path):
    golden = Path(__file__).resolve().parents[1] / "golden/solver"
    assert find_snapshot(str(golden / "solver_sgd_step")).endswith("solver_sgd_step_iter_4.solverstate")
    assert find_snapshot(str(golden / "solver_sgd_step_hdf5")).endswith("_iter_4.solverstate.h5")


def test_a_state_tells_how_much_there_must_be(tmp_path):
    solver = train(tmp_path, 1)
    state = caffe_pb2.SolverState.FromString((tmp_path / "x_iter_1.solverstate").read_bytes())
    assert state.history_count == len(solver.history)
    assert state.learned_net_bytes == (tmp_path / "x_iter_1.caffemodel").stat().st_size


@pytest.fixture
def not_root():
    """A user whom permissions stop."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_a_folder_that_became_read_only_is_one_line_and_its_snapshots_stay(tmp_path, request):
    solver = train(tmp_path, 1)
    solver.step(1)
    tmp_path.chmod(0o555)
    request.getfixturevalue("not_root")
    with pytest.raises(SolverError, match=f"cannot be written to snapshot_prefix '{tmp_path}/x': Permission denied"):
        solver.snapshot()
    if os.getuid() == 0:
        os.seteuid(0)
    assert files(tmp_path) == pairs(1)
